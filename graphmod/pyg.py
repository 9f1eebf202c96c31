"""The other side: the graphs of a network's layers in the pipelines of torch_geometric."""

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

from torch import Tensor
from torch_geometric.data import Batch, Data, Dataset
from torch_geometric.transforms import BaseTransform

from .graphs import find_graph
from .graphs._dynamic import EDGES, DynamicGraph


class DynamicGraphDataset(Dataset):
    """The layers of a dynamic graph as a data set of torch_geometric: one `Data` a layer, in order.

    It works with `DataLoader`, with the transforms of torch_geometric, and with `NeighborLoader` and
    `LinkNeighborLoader`, which torch_geometric offers where pyg-lib or torch-sparse is installed. Each `Data` has the
    edges of its graph with all that is known of them, `y`, `layer` (its name), `depth` (from 1), and `x` if the graphs
    keep their features or some are given. Layers of unlike width come in one batch only if x is given.

    Args:
        graphs: A `DynamicGraph`, the file it was saved to, or the folder of `analyses.modularity_curve`.
        x: Features `[N, F]` of the samples, the same in every layer; those that the graphs keep if None.
        repeat: Which of the draws of a study's folder.
        transform: Called with each `Data` when it is read.

    Raises:
        FileNotFoundError: If there is no such file, folder or repeat.
        ValueError: If the file is not a dynamic graph, or x has another number of samples.

    Example:
        >>> import torch
        >>> from graphmod import knn_graph
        >>> graphs = DynamicGraph({"fc": knn_graph(torch.eye(6), y=torch.arange(6) % 2)})
        >>> dataset = DynamicGraphDataset(graphs, x=torch.eye(6))
        >>> dataset[0].layer, dataset.num_classes, dataset.num_node_features
        ('fc', 2, 6)
    """

    def __init__(
        self,
        graphs: DynamicGraph | str | Path,
        *,
        x: Tensor | None = None,
        repeat: int = 0,
        transform: Callable[[Data], Data] | None = None,
    ) -> None:
        super().__init__(None, transform)
        if not isinstance(graphs, DynamicGraph):
            path = Path(graphs)
            graphs = DynamicGraph.load(path / f"graphs/repeat{repeat}.safetensors" if path.is_dir() else path)
        if x is not None and len(x) != len(graphs.y):
            raise ValueError(f"x must have a row for each of the {len(graphs.y)} samples; got {list(x.shape)}")
        self._layers = []
        for depth, (name, graph) in enumerate(graphs.items(), start=1):
            features = graph.get("x") if x is None else x
            own = {key: graph[key] for key in (*EDGES, "y", "compat") if key in graph}
            own |= {} if features is None else {"x": features}
            self._layers.append(Data(**own, num_nodes=graph.num_nodes, layer=name, depth=depth))

    def len(self) -> int:
        """The number of layers."""
        return len(self._layers)

    def get(self, idx: int) -> Data:
        """The graph of one layer, a copy that shares its tensors."""
        return copy(self._layers[idx])


class ModularityGraph(BaseTransform):
    """A transform of torch_geometric that gives a `Data` the neighbour graph of its features `x`.

    Args:
        k: Neighbours of each node.
        graph: A file of `graphmod/graphs`, such as `"mutual_knn"`, or a function `(x, k, ...) -> Data`.
        **options: Passed on to `graph`.

    Raises:
        ValueError: When it is called with a `Data` without `x`; as the graph.

    Example:
        >>> import torch
        >>> data = ModularityGraph(k=2)(Data(x=torch.rand(8, 3), y=torch.arange(8) % 2))
        >>> data.num_nodes, data.is_undirected(), data.y.tolist()
        (8, True, [0, 1, 0, 1, 0, 1, 0, 1])
    """

    def __init__(self, k: int = 3, graph: str | Callable[..., Data] = "knn", **options: Any) -> None:
        self.k, self.graph, self.options = k, find_graph(graph), options

    def forward(self, data: Data) -> Data:
        """Returns the `Data` with other edges, and without what belonged to those that it had; all else stays."""
        if isinstance(data, Batch):
            raise TypeError(f"expected one graph; got a Batch of {data.num_graphs}: take them one by one")
        if data.x is None:
            raise ValueError("the graph is made of the features x, and the Data has none; set its x")
        found = self.graph(data.x.flatten(1), self.k, **self.options)
        for name in {*data.edge_attrs(), "adj_t", "compat"} & set(data.keys()):
            del data[name]
        for name in (*EDGES, "compat"):
            if name in found:
                data[name] = found[name]
        return data

    def __repr__(self) -> str:
        return f"ModularityGraph(k={self.k}, graph={getattr(self.graph, '__name__', self.graph)})"
