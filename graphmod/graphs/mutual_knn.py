"""The mutual k-nearest-neighbour graph: only pairs that chose each other."""

from torch import Tensor
from torch_geometric.data import Data

from ._build import neighbor_graph
from ._topk import nearest_neighbors


def mutual_knn_graph(
    x: Tensor, k: int = 3, *, y: Tensor | None = None, layer: str | None = None, keep_x: bool = False
) -> Data:
    """Joins two samples if each is among the other's k nearest, by cosine similarity.

    The rule is stricter than that of `knn_graph`: a sample that is nobody's neighbour, an outlier or one between
    classes, has no edge, and no sample has more than k.

    Args:
        x: Features `[N, D]` of a floating type, on any device.
        k: Neighbours that each sample may choose, 1 to N − 1.
        y: Labels `[N]`, kept in the graph.
        layer: The layer's name, kept in the graph and used in messages.
        keep_x: Keeps `x` in the graph too.

    Returns:
        An undirected `Data` as from `knn_graph`; an edge weighs max(cosine, 0).

    Raises:
        TypeError: If `x` is not a floating tensor.
        ValueError: If `x` is not `[N, D]`, holds NaN or Inf, or is constant; if k is not in 1 … N − 1.

    Example:
        >>> import torch
        >>> mutual_knn_graph(torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 1.0]]), k=1).edge_index
        tensor([[0, 1],
                [1, 0]])

    Reference:
        Brito et al., "Connectivity of the mutual k-nearest-neighbor graph in clustering and outlier detection",
        Statistics & Probability Letters 35, 1997.
    """
    similarity, index = nearest_neighbors(x, k, layer=layer)
    weight = similarity.clamp(min=0)
    return neighbor_graph(index, weight, symmetrize="mutual", x=x if keep_x else None, y=y, layer=layer)
