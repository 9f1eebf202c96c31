"""The k-nearest-neighbour graph of Lu et al. 2022."""

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from ._build import neighbor_graph
from ._topk import nearest_neighbors


def knn_graph(
    x: Tensor,
    k: int = 3,
    *,
    compat: Literal["lu2022"] | None = None,
    y: Tensor | None = None,
    layer: str | None = None,
    keep_x: bool = False,
) -> Data:
    """Joins each sample to the k samples whose features point most nearly the same way.

    Every sample has exactly k neighbours, never itself, the largest cosine similarities first and ties (to 1e-12) by
    index; a neighbour weighs max(cosine, 0). With D the N × N matrix of these weights, the graph is A = (D + Dᵀ) / 2.

    Args:
        x: Features `[N, D]` of a floating type, on any device.
        k: Neighbours of each sample, 1 to N − 1.
        compat: `"lu2022"` follows the published code where it differs: a sample's similarity to itself counts as 0,
            so that a sample with fewer than k positive similarities loses an edge, and negative weights stay.
        y: Labels `[N]`, kept in the graph.
        layer: The layer's name, kept in the graph and used in messages.
        keep_x: Keeps `x` in the graph too.

    Returns:
        An undirected `Data` with `edge_index` `[2, E]`, float32 `edge_weight` `[E]` in [0, 1] and `num_nodes`, on the
        device of `x`; and with `y`, `layer`, `x` where asked. Bool `edge_chosen` `[E]` says of an edge (i, j) whether j
        is one of the k neighbours of i, or only i one of those of j.

    Raises:
        TypeError: If `x` is not a floating tensor.
        ValueError: If `x` is not `[N, D]`, holds NaN or Inf, or is constant; if k is not in 1 … N − 1.

    Example:
        >>> graph = knn_graph(torch.eye(4) + 0.1, k=2)
        >>> graph
        Data(edge_index=[2, 10], edge_weight=[10], num_nodes=4, edge_chosen=[10])

    Reference:
        Lu et al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022, section 3.1.
    """
    if compat not in (None, "lu2022"):
        raise ValueError(f"compat must be None or 'lu2022'; got {compat!r}")
    similarity, index = nearest_neighbors(x, k, self_similarity=0.0 if compat else -torch.inf, layer=layer)
    weight = similarity if compat else similarity.clamp(min=0)
    return neighbor_graph(index, weight, x=x if keep_x else None, y=y, layer=layer, compat=compat)
