"""Class-distance-normalised variance: the spread of two classes, measured by the distance of their means."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from ._inputs import class_means, over_features


def class_distance_variance(graph: Data, labels: Tensor | None = None) -> Tensor:
    """Returns the class-distance-normalised variance (CDNV), averaged over the pairs of classes.

        V = mean over c ≠ d of (v_c + v_d) / (2 ‖μ_c − μ_d‖²),   v_c = mean over i in c of ‖x_i − μ_c‖²

    It falls towards 0 as the classes separate, and unlike NC1 needs no inverse.

    Args:
        graph: A `Data` with features `x` (`keep_x=True`), or a `Batch` of them; edges are not read.
        labels: Integers `[N]`; `graph.y` if None.

    Returns:
        Float64, at least 0, `[]` or `[B]`; Inf if two classes with any spread have one mean, NaN if there is one
        class, or two collapse to one point.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If features or labels are missing, or labels negative or of another length.

    Example:
        >>> x = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
        >>> float(class_distance_variance(Data(x=x, edge_index=torch.empty(2, 0).long()), torch.tensor([0, 0, 1, 1])))
        0.01

    Reference:
        Galanti, György and Hutter, "On the role of neural collapse in transfer learning", ICLR 2022, definition 1.
    """
    return over_features(graph, labels, _cdnv)


def _cdnv(x: Tensor, labels: Tensor) -> Tensor:
    exponent = x.abs().max().frexp().exponent.clamp(-1000, 1000)
    x = x / exponent.double().exp2()  # V does not change, to the last bit, and no square over- or underflows
    means, row = class_means(x, labels)
    variance = torch.zeros(len(means), dtype=x.dtype, device=x.device)
    variance = variance.index_add(0, row, (x - means[row]).square().sum(dim=1)) / row.bincount()
    first, second = torch.triu_indices(len(means), len(means), offset=1, device=x.device)
    distance = torch.nn.functional.pdist(means).square()  # of the same pairs
    return ((variance[first] + variance[second]) / (2 * distance)).mean()
