"""The way of the samples through the layers: which communities they pass, and from where on they are settled."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import Data

from .metrics._inputs import layer_graphs, node_labels
from .metrics._neighbors import vote


def prediction_depth(graphs: Mapping[str, Data] | Iterable[Data], labels: Tensor | None = None) -> Tensor:
    """Returns the layer from which on a sample's neighbours guess its class, and go on doing so to the end.

    Samples that are settled early are easy; those that are settled late, or never, are hard, ambiguous or mislabelled.

    Args:
        graphs: The layers' graphs over the same samples, in order, such as a `DynamicGraph`.
        labels: Integers `[N]`; `graph.y` if None.

    Returns:
        Depth of each sample, int64 `[N]`: 1 if the majority of its neighbours (see `knn_accuracy`) is right in all L
        layers, L + 1 if it is wrong in the last one.

    Raises:
        TypeError: If labels are not integers, or there is one graph instead of several.
        ValueError: If there are no graphs, or their nodes differ; as `knn_accuracy`.

    Example:
        >>> from graphmod import knn_graph
        >>> mixed = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [0.1, 1.0]])
        >>> apart = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> prediction_depth([knn_graph(x, k=1) for x in (mixed, apart)], torch.tensor([0, 0, 1, 1]))
        tensor([2, 2, 2, 2])

    Reference:
        Baldock, Maennel and Neyshabur, "Deep learning through the lens of example difficulty", NeurIPS 2021. They
        compare neighbours among the training samples with the network's own prediction; here they are compared with the
        label, and neighbours are the other samples of the graph.
    """
    layers = []
    for graph in layer_graphs(graphs, "pass a dynamic graph"):
        y = node_labels(graph, labels)
        layers.append(vote(graph, y) != y)
    wrong = torch.stack([layer.to(layers[0].device) for layer in layers])
    depth = torch.arange(1, len(wrong) + 1, device=wrong.device)[:, None]
    return (wrong * depth).amax(dim=0) + 1


def community_flows(found: Tensor, labels: Tensor) -> pd.DataFrame:
    """Counts the samples that go from each community of a layer to each of the next, by class.

    Args:
        found: Community of each sample in each layer, int64 `[L, N]`, with numbers that mean the same in all layers,
            such as `temporal_leiden` gives.
        labels: Class of each sample, integers `[N]`.

    Returns:
        A row for each kind of sample that there is: `depth` (1 … L − 1), `community`, `next_community`, `label`,
        `num_samples`.

    Raises:
        TypeError: If `found` is no tensor.
        ValueError: If the shapes do not fit, or there are fewer than two layers.

    Example:
        >>> community_flows(torch.tensor([[0, 0, 1], [0, 1, 1]]), torch.tensor([5, 6, 6])).to_numpy().tolist()
        [[1, 0, 0, 5, 1], [1, 0, 1, 6, 1], [1, 1, 1, 6, 1]]
    """
    _check(found, labels)
    names = ["depth", "community", "next_community", "label"]
    depth = torch.arange(1, len(found)).repeat_interleave(found.shape[1])
    columns = [depth, found[:-1].flatten(), found[1:].flatten(), labels.repeat(len(found) - 1)]
    table = pd.DataFrame({name: column.cpu().numpy() for name, column in zip(names, columns, strict=True)})
    return table.groupby(names).size().rename("num_samples").reset_index()


def community_events(found: Tensor, *, share: float = 0.2) -> pd.DataFrame:
    """Counts what happens to the communities from layer to layer.

    Args:
        found: As in `community_flows`.
        share: The least part of a community that counts as a part, in (0, 0.5].

    Returns:
        One row a layer: `depth` (from 1), `num_communities`, and against the layer before (NaN in the first)
        `switching`, the share of the samples that changed their community; `births` and `deaths`, communities that
        appear and vanish; `splits`, communities of which two or more each receive at least `share`; `merges`,
        communities that have at least `share` of their members from each of two or more.

    Raises:
        TypeError: If `found` is no tensor.
        ValueError: If the shape does not fit, there are fewer than two layers, or the share is not in (0, 0.5].

    Example:
        >>> found = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]])
        >>> community_events(found)[["switching", "births", "deaths", "splits", "merges"]].to_numpy().tolist()
        [[nan, nan, nan, nan, nan], [0.5, 1.0, 0.0, 1.0, 0.0], [0.5, 0.0, 1.0, 0.0, 1.0]]

    Reference:
        Palla, Barabási and Vicsek, "Quantifying social group evolution", Nature 446, 2007, figure 1.
    """
    _check(found)
    if not 0 < share <= 0.5:
        raise ValueError(f"share must be in (0, 0.5]; got {share}")
    names, numbers = found.cpu().unique(return_inverse=True)
    size = len(names)
    rows: list[dict[str, float]] = [{"depth": 1, "num_communities": len(numbers[0].unique())}]
    for depth, (before, after) in enumerate(pairwise(numbers), start=2):
        left, joined = before.bincount(minlength=size), after.bincount(minlength=size)
        pairs, flow = (before * size + after).unique(return_counts=True)
        source, target = pairs // size, pairs % size
        parts = source[flow >= share * left[source].double() - 1e-12].bincount(minlength=size)
        origins = target[flow >= share * joined[target].double() - 1e-12].bincount(minlength=size)
        rows.append(
            {
                "depth": depth,
                "num_communities": int((joined > 0).sum()),
                "switching": float((before != after).double().mean()),
                "births": int(((left == 0) & (joined > 0)).sum()),
                "deaths": int(((left > 0) & (joined == 0)).sum()),
                "splits": int((parts > 1).sum()),
                "merges": int((origins > 1).sum()),
            }
        )
    return pd.DataFrame(rows)


def _check(found: Tensor, labels: Tensor | None = None) -> None:
    if not isinstance(found, Tensor):
        raise TypeError(f"found must be a tensor of integers [L, N]; got {type(found).__name__}")
    if found.dim() != 2 or len(found) < 2 or found.is_floating_point():
        raise ValueError(f"found must be integers [L, N] of at least two layers; got {found.dtype} {list(found.shape)}")
    if labels is not None and not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a tensor of integers; got {type(labels).__name__}")
    if labels is not None and labels.shape != found.shape[1:]:
        raise ValueError(f"labels must have shape [{found.shape[1]}], one for each sample; got {list(labels.shape)}")
