"""Silhouette: is a sample nearer to its own class than to the next? As scikit-learn counts it."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from .._tensors import unit_rows
from ._inputs import over_features


def silhouette(graph: Data, labels: Tensor | None = None) -> Tensor:
    """Returns the mean silhouette coefficient of the classes, by cosine distance.

        s_i = (b_i − a_i) / max(a_i, b_i)

    where a_i is the mean distance 1 − cos of sample i to the others of its class, b_i that to the nearest other class.

    Args:
        graph: A `Data` with features `x` (`keep_x=True`), or a `Batch` of them; edges are not read.
        labels: Integers `[N]`; `graph.y` if None.

    Returns:
        Float64 in [−1, 1], `[]` or `[B]`; NaN where it is undefined: one class, or no two samples of any.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If features or labels are missing, or labels negative or of another length.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> float(silhouette(Data(x=x, edge_index=torch.empty(2, 0).long()), torch.tensor([0, 0, 1, 1])))
        1.0

    Reference:
        Rousseeuw, "Silhouettes", Journal of Computational and Applied Mathematics 20, 1987.
    """
    return over_features(graph, labels, _silhouette)


def _silhouette(x: Tensor, labels: Tensor) -> Tensor:
    from sklearn.metrics import silhouette_score

    value = torch.nan
    if 1 < len(labels.unique()) < len(labels):
        value = silhouette_score(unit_rows(x).cpu().numpy(), labels.cpu().numpy(), metric="cosine")
    return torch.tensor(value, dtype=torch.float64, device=x.device)
