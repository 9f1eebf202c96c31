"""Neural collapse, NC1: how much samples vary inside their classes, measured by how the classes vary."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from ._inputs import class_means, over_features


def neural_collapse(graph: Data, labels: Tensor | None = None) -> Tensor:
    """Returns the within-class variability NC1, which falls to 0 as every class collapses to its mean.

        NC1 = tr(Σ_W Σ_B⁺) / C,   Σ_W = 1/N Σ_i (x_i − μ_{c_i})(x_i − μ_{c_i})ᵀ,   Σ_B = 1/C Σ_c (μ_c − μ)(μ_c − μ)ᵀ

    with μ_c the means of the C classes, μ the mean of those, and ⁺ the pseudo-inverse. Σ_B has rank C − 1 at most, so
    that only the C × D matrix of the means is decomposed, never a D × D one.

    Args:
        graph: A `Data` with features `x` (`keep_x=True`), or a `Batch` of them; edges are not read.
        labels: Integers `[N]`; `graph.y` if None.

    Returns:
        Float64, at least 0, `[]` or `[B]`; NaN if all class means are one point.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If features or labels are missing, or labels negative or of another length.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> float(neural_collapse(Data(x=x, edge_index=torch.empty(2, 0).long()), torch.tensor([0, 0, 1, 1])))
        0.0

    Reference:
        Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep learning training",
        PNAS 117, 2020.
    """
    return over_features(graph, labels, _nc1)


def _nc1(x: Tensor, labels: Tensor) -> Tensor:
    means, row = class_means(x, labels)
    _, scale, directions = torch.linalg.svd(means - means.mean(dim=0), full_matrices=False)
    kept = scale > scale.max() * max(means.shape) * torch.finfo(x.dtype).eps
    kept &= scale > means.abs().max() * max(means.shape) * torch.finfo(x.dtype).eps  # rounding of the means alone
    if not kept.any():
        return torch.tensor(torch.nan, dtype=x.dtype, device=x.device)
    spread = (x - means[row]) @ (directions[kept] / scale[kept, None]).T
    return spread.square().sum() / len(x)  # Σ_B⁺ carries a factor C, which 1 / C takes away
