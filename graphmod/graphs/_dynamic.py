"""The graphs of all layers together: a dynamic graph, whose time is the depth of the network."""

import json
from collections.abc import Iterator, Mapping
from copy import copy
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch_geometric.data import Data

from .._files import atomic_file, existing_file, readable
from ._build import make_graph

EDGES = ("edge_index", "edge_weight", "edge_chosen")
SAVED = {*EDGES, "y", "layer", "compat", "num_nodes"}
"""What a graph has before and after it was saved."""


class DynamicGraph(Mapping[str, Data]):
    """The graphs of a network's layers over the same samples, from the first layer to the last.

    It is a mapping from a layer's name to its `Data`, in order.

    Args:
        graphs: Graphs by layer, in order, all with the same nodes and the same labels `y`.

    Raises:
        TypeError: If it is no mapping from names to graphs.
        ValueError: If there are no graphs, or their nodes or labels differ.

    Example:
        >>> from graphmod import knn_graph
        >>> graphs = DynamicGraph({"conv1": knn_graph(torch.eye(4), y=torch.tensor([0, 0, 1, 1]))})
        >>> list(graphs), graphs["conv1"].num_nodes
        (['conv1'], 4)
    """

    def __init__(self, graphs: Mapping[str, Data]) -> None:
        if not isinstance(graphs, Mapping):
            raise TypeError(f"graphs must be a mapping from layers to graphs; got {type(graphs).__name__}")
        self._graphs = dict(graphs)
        if not self._graphs:
            raise ValueError("a dynamic graph needs at least one layer; got none")
        first = next(iter(self._graphs.values()))
        for layer, graph in self._graphs.items():
            if not isinstance(layer, str) or not isinstance(graph, Data):
                kind = type(graph).__name__
                raise TypeError(f"graphs must be torch_geometric Data by names of layers; got {kind} by {layer!r}")
            if graph.get("y") is None:
                raise ValueError(f"the graph of layer {layer!r} has no labels y; build it with y")
            y = graph.y
            whole = isinstance(y, Tensor) and y.dim() == 1 and not y.is_floating_point() and not y.is_complex()
            if not whole or len(y) != graph.num_nodes or not torch.equal(y, first.y):
                raise ValueError(
                    f"the graph of layer {layer!r} must have the same labels y as the first layer's, integers [N]"
                )

    def __getitem__(self, layer: str) -> Data:
        return self._graphs[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._graphs)

    def __len__(self) -> int:
        return len(self._graphs)

    def __repr__(self) -> str:
        layers = list(self)
        return f"DynamicGraph({len(self)} layers, {len(self.y)} samples, {layers[0]} … {layers[-1]})"

    @property
    def y(self) -> Tensor:
        """Labels of the samples, int64 `[N]`."""
        labels: Tensor = next(iter(self._graphs.values())).y
        return labels

    def shuffled(self, seed: int = 0) -> "DynamicGraph":
        """Returns the same graphs with their labels shuffled, the same way in every layer: what Q is by chance.

        Args:
            seed: Seed of the shuffle.
        """
        order = torch.randperm(len(self.y), generator=torch.Generator().manual_seed(seed))
        y = self.y[order.to(self.y.device)]
        graphs = {layer: copy(graph) for layer, graph in self.items()}
        for graph in graphs.values():
            graph.y = y
        return DynamicGraph(graphs)

    def save(self, path: str | Path) -> None:
        """Writes all graphs to one safetensors file; edges, weights and labels, not the features `x`.

        Edges without weights are written with a weight of 1.

        Raises:
            OSError: If the file cannot be written; nothing half-written stays.
            TypeError, ValueError: If edges are not as `knn_graph` makes them, such as directed ones.
        """
        tensors, names = {"y": self.y}, []
        for i, (layer, graph) in enumerate(self.items()):
            edges = {name: graph[name].cpu() for name in EDGES if name in graph}
            edges, compat = {"edge_weight": torch.ones(graph.num_edges), **edges}, graph.get("compat")
            try:
                make_graph(num_nodes=len(self.y), compat=compat, **edges)
            except (TypeError, ValueError) as error:
                raise type(error)(f"the graph of layer {layer!r} cannot be saved: {error}") from error
            tensors |= {f"{i}.{name}": edge for name, edge in edges.items()}
            names.append({"layer": layer, "compat": compat})
        with atomic_file(path) as temporary:
            alone = {key: value.cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
            save_file(alone, temporary, metadata={"graphs": json.dumps(names)})

    @classmethod
    def load(cls, path: str | Path) -> "DynamicGraph":
        """Reads what `save` wrote, and checks every graph.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file holds anything else.
        """
        existing_file(path, " of graphs")
        with readable(path, "a saved dynamic graph"), safe_open(path, framework="pt") as file:
            stored: set[str] = set(file.keys())
            if not {"y"} <= stored or "graphs" not in (file.metadata() or {}):
                raise ValueError("it holds no graphs")
            y, graphs = file.get_tensor("y"), {}
            for i, names in enumerate(json.loads(file.metadata()["graphs"])):
                layer, compat = names["layer"], names.get("compat")
                if not isinstance(layer, str) or layer in graphs or not isinstance(compat, str | None):
                    raise ValueError(f"it holds layer {layer!r} with compat {compat!r}, which cannot be")
                edges = {name: file.get_tensor(f"{i}.{name}") for name in EDGES if f"{i}.{name}" in stored}
                if not edges.keys() >= {"edge_index", "edge_weight"}:
                    raise ValueError(f"it holds no edges of layer {layer!r}")
                graphs[layer] = make_graph(num_nodes=len(y), y=y, layer=layer, compat=compat, **edges)
            return cls(graphs)
