"""Exact nearest neighbours by cosine similarity: `Tensor [N, D] -> similarity [N, k], index [N, k]`."""

import torch
from torch import Tensor

BLOCK_ELEMENTS = 2**24
"""Similarities held at once (128 MB): rows are taken in blocks, so that N × N is never in memory."""

TIE = 2.0**-40
"""Similarities are rounded to multiples of this (1e-12), so that equal pairs of rows tie whatever the rounding."""


def nearest_neighbors(
    x: Tensor, k: int, *, self_similarity: float = -torch.inf, layer: str | None = None
) -> tuple[Tensor, Tensor]:
    """Finds for each row the k rows with the largest cosine similarity.

    Products are taken in float64, in blocks of rows; the result does not depend on the blocks, on the number of
    threads or on the device, but for similarities that differ by less than 1e-12, which count as equal.
    Equal similarities are ordered by index, the smaller first. A row of zeros has similarity 0 to every row.

    Args:
        x: Features `[N, D]` of a floating type, on any device.
        k: Neighbours of each row, 1 to N − 1.
        self_similarity: What a row's similarity to itself counts as; −inf keeps it from being its own neighbour.
        layer: The layer's name, for messages.

    Returns:
        Similarities in [−1, 1], float64 `[N, k]`, each row falling; and row numbers, int64 `[N, k]`.

    Raises:
        TypeError: If `x` is not a floating tensor.
        ValueError: If `x` is not `[N, D]`, holds NaN or Inf, is zero everywhere or the same in every row; if k is not
            in 1 … N − 1.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
        >>> nearest_neighbors(x, 1)[1].flatten()
        tensor([1, 0, 1])
    """
    _check(x, k, f"layer {layer!r}" if layer is not None else "x")
    num_rows = len(x)
    unit = x.detach().to(torch.float64, copy=True)
    unit.div_(torch.linalg.vector_norm(unit, dim=1, keepdim=True).clamp_(min=torch.finfo(torch.float64).tiny))
    similarity = unit.new_empty(num_rows, k)
    index = torch.empty(num_rows, k, dtype=torch.int64, device=x.device)
    block = max(1, BLOCK_ELEMENTS // num_rows)
    for start in range(0, num_rows, block):
        rows = slice(start, min(start + block, num_rows))
        product = (unit[rows] @ unit.T).clamp_(-1, 1)
        product.div_(TIE).round_().mul_(TIE)
        product.diagonal(start).fill_(self_similarity)
        similarity[rows], index[rows] = _largest(product, k)
    return similarity, index


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row by (−value, index); `torch.topk` alone promises no order among equals."""
    num_columns = values.shape[1]
    top, index = values.topk(min(k + 1, num_columns), dim=1)
    if num_columns > k:
        tied = (top[:, k - 1] == top[:, k]).nonzero().flatten()  # equals on both sides of the cut: sort the whole row
        index[tied] = values[tied].sort(dim=1, descending=True, stable=True).indices[:, : k + 1]
    index = index[:, :k].sort(dim=1).values
    top = values.gather(1, index)
    top, order = top.sort(dim=1, descending=True, stable=True)
    return top, index.gather(1, order)


def _check(x: Tensor, k: int, what: str) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"{what} must be a tensor of floating type; got {getattr(x, 'dtype', type(x).__name__)}")
    if x.dim() != 2:
        raise ValueError(f"{what} must have shape [N, D]; got {list(x.shape)}: flatten it first")
    if not 1 <= k < len(x):
        raise ValueError(f"k must be at least 1 and smaller than the number of samples; got k={k} for {len(x)} samples")
    finite = x.isfinite().all(dim=1)
    if not finite.all():
        raise ValueError(f"{what} holds NaN or Inf in {int((~finite).sum())} of {len(x)} samples")
    if not x.any():
        raise ValueError(f"{what} is zero for every sample: a dead layer has no neighbours")
    if (x == x[0]).all():
        raise ValueError(f"{what} is the same for every sample: a constant layer has no neighbours")
