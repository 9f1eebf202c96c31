"""Participation ratio: how many directions the samples use."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from ._inputs import check_nodes, over_features


def participation_ratio(graph: Data) -> Tensor:
    """Returns the dimension of the features by the participation ratio of their covariance.

        PR = (Σ λ)² / Σ λ² = tr(G)² / ‖G‖²

    with λ the eigenvalues of the covariance matrix and G the N × N matrix of inner products of the centred samples,
    which has the same ones. Labels are not read.

    Args:
        graph: A `Data` with features `x` (`keep_x=True`), or a `Batch` of them; edges are not read.

    Returns:
        Float64 in [1, min(N − 1, D)], `[]` or `[B]`; NaN if all samples are one point.

    Raises:
        ValueError: If there are no features.

    Example:
        >>> corners = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> float(participation_ratio(Data(x=corners, edge_index=torch.empty(2, 0).long())))
        2.0

    Reference:
        Gao et al., "A theory of multineuronal dimensionality, dynamics and measurement", bioRxiv 214262, 2017.
    """
    return over_features(graph, torch.zeros(check_nodes(graph), dtype=torch.int64), _participation_ratio)


def _participation_ratio(x: Tensor, _: Tensor) -> Tensor:
    centred = torch.where((x == x[0]).all(), 0.0, x - x.mean(dim=0))
    centred = centred / centred.abs().max()  # so that fourth powers stay in range; 0 / 0 is NaN, as it should be
    inner = centred @ centred.T if len(x) <= x.shape[1] else centred.T @ centred
    return inner.trace().square() / inner.square().sum()
