"""The k-nearest-neighbour graph by Euclidean distance."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from ._build import neighbor_graph
from ._topk import nearest_neighbors


def euclidean_knn_graph(
    x: Tensor, k: int = 3, *, y: Tensor | None = None, layer: str | None = None, keep_x: bool = False
) -> Data:
    """Joins each sample to the k samples that are nearest to it.

    A neighbour weighs exp(−d_ij² / σ_i σ_j), with σ_i the distance of sample i to its k-th neighbour: the kernel adapts
    to dense and sparse regions, and the scale of the features does not matter. A = (D + Dᵀ) / 2 as in `knn_graph`.
    Squared distances count as equal within 1e-12 of the largest one from the mean: take out samples that are a hundred
    thousand times as far away as the others. All features are held in float64 meanwhile.

    Args:
        x: Features `[N, D]` of a floating type, on any device.
        k: Neighbours of each sample, 1 to N − 1.
        y: Labels `[N]`, kept in the graph.
        layer: The layer's name, kept in the graph and used in messages.
        keep_x: Keeps `x` in the graph too.

    Returns:
        An undirected `Data` as from `knn_graph`; weights in [0, 1].

    Raises:
        TypeError: If `x` is not a floating tensor.
        ValueError: If `x` is not `[N, D]`, holds NaN or Inf, or is constant; if k is not in 1 … N − 1.

    Example:
        >>> euclidean_knn_graph(torch.tensor([[0.0], [1.0], [3.0]]), k=1).edge_index
        tensor([[0, 1, 1, 2],
                [1, 0, 2, 1]])

    Reference:
        The kernel: Zelnik-Manor and Perona, "Self-tuning spectral clustering", NeurIPS 2004.
    """
    similarity, index = nearest_neighbors(x, k, metric="euclidean", layer=layer)
    return neighbor_graph(index, self_tuning(similarity.abs(), index), x=x if keep_x else None, y=y, layer=layer)


def self_tuning(distance: Tensor, index: Tensor) -> Tensor:
    """Returns exp(−d_ij² / σ_i σ_j), σ_i = d_ik, for the distances `[N, k]` of neighbours `index` `[N, k]`.

    Copies of one sample weigh 1, and a sample whose k neighbours are all copies of it weighs 0 for any other.
    """
    scale = distance[:, -1:] * distance[:, -1][index]
    return torch.where(distance > 0, torch.exp(-distance.square() / scale), 1.0)
