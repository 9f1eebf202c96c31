"""Exact nearest neighbours: `Tensor [N, D] -> similarity [N, k], index [N, k]`.

The result is that of float64 products throughout. By cosine, on a CPU with 16-bit instructions, most of them are never
taken: a 16-bit product over one triangle, with a bound on its error, leaves a few pairs that may be neighbours, and
only these are taken in float64. `make bench` compares it with its peers; on 2 threads with AVX-512 and bfloat16 it took
0.42 to 0.48 of the time of `torch.mm(x, x.T)` alone (`benchmarks/results/neighbors.md`).
"""

import warnings
from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Literal, get_args

import torch
from torch import Tensor

from .._tensors import has_bfloat16, is_plain, kind, unit_rows
from ..distributed import all_parts, all_rows, own_rows
from ._candidates import PIECE, candidates

Metric = Literal["cosine", "euclidean"]

MULTIPLES = 2**40
TIE = 1 / MULTIPLES
"""Similarities are rounded to multiples of this (1e-12), so that equal pairs of rows tie whatever the rounding."""

SMALL = 1024
"""Up to so many rows all similarities are taken in float64 at once; candidates do not pay."""

CHUNK = 2**24
"""Elements of a temporary float64 matrix (128 MB; on a GPU four times that) of the plain form, taken in chunks."""

MAX_ROWS = 2**17
"""With more rows the largest score of each row and strip, N² / 32 of them, would take more than 2 GB."""

LARGEST = 1e150
"""Features up to this size have finite squares in float64, and those from its inverse on squares above 0."""


def nearest_neighbors(
    x: Tensor,
    k: int,
    *,
    metric: Metric = "cosine",
    self_similarity: float = -torch.inf,
    layer: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Finds for each row the k rows with the largest cosine similarity, or the smallest Euclidean distance.

    The result is that of float64 products: it does not depend on chunks, number of threads or device, but for
    similarities that differ by less than 1e-12, which count as equal (squared distances: 1e-12 of the largest one from
    the mean). Equal similarities are ordered by index, the smaller first. A row of zeros has cosine 0 to every row.

    Args:
        x: Features `[N, D]` of a floating type, on any device.
        k: Neighbours of each row, 1 to N − 1. The first columns of the result are those for any smaller k.
        metric: `"cosine"` or `"euclidean"`.
        self_similarity: What a row's similarity to itself counts as; −inf keeps it from being its own neighbour.
        layer: The layer's name, for messages.

    Returns:
        Similarities, float64 `[N, k]`, each row falling: cosines in [−1, 1], or distances with the sign turned, at most
        0; and row numbers, int64 `[N, k]`.

    Several processes (`graphmod.distributed`) that are given the same x share the products, and all get the result.

    Raises:
        TypeError: If `x` is not a floating tensor, or k not an integer.
        ValueError: If `x` is not `[N, D]`, holds NaN or Inf, is zero everywhere or the same in every row; if k is not
            in 1 … N − 1; if the metric is unknown. A warning says if all rows point the same way.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
        >>> nearest_neighbors(x, 1)[1].flatten()
        tensor([1, 0, 1])
    """
    x, what = x.detach() if isinstance(x, Tensor) else x, f"layer {layer!r}" if layer is not None else "x"
    _check(x, k, what)
    if metric == "euclidean":
        centred = x.double() - x.double().mean(dim=0)
        square = centred.square().sum(dim=1)
        similarity, index = _search_all(
            centred, k, self_similarity, partial(_negative_square, square), partial(_to_tie, TIE * square.max(), 0)
        )
        return -(-similarity).sqrt(), index
    if metric != "cosine":
        raise ValueError(f"metric must be one of {', '.join(get_args(Metric))}; got {metric!r}")
    norm = _norms(x)
    if _all_one_way(x, norm):
        warnings.warn(
            f"all samples of {what} point the same way to eleven digits, so that their neighbours are little more than "
            "ties by index; subtract the mean, or take euclidean_knn_graph",
            stacklevel=3,
        )
    if SMALL < len(x) <= MAX_ROWS and not x.is_cuda and self_similarity == -torch.inf and has_bfloat16():
        pairs = candidates(x, norm, k)
        if pairs is not None:
            return _search_pairs(x, norm, k, *pairs)
    return _search_cosine(x, norm, k, self_similarity)


def nearest_in(x: Tensor, bank: Tensor, k: int, *, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Finds for each row the k rows of another set with the largest cosine similarity, as in `nearest_neighbors`.

    Args:
        x: Features `[N, D]`.
        bank: Features `[M, D]`, M at least k.
        k: Neighbours of each row.
        own: For each row of the bank which row of x it is, int64 `[M]`: a row is not its own neighbour.

    Returns:
        Similarities, float64 `[N, k]`, each row falling, and row numbers in the bank, int64 `[N, k]`.

    Example:
        >>> nearest_in(torch.eye(2), torch.tensor([[1.0, 0.0], [2.0, 2.0]]), 1)[1].flatten()
        tensor([0, 1])
    """
    bank, found = unit_rows(bank), []
    for rows in torch.arange(len(x), device=x.device).split(_rows_at_once(bank)):
        similarity = unit_rows(x[rows]) @ bank.T
        if own is not None:
            similarity[rows[:, None] == own.to(x.device)] = -torch.inf
        found.append(_top_k(similarity, k, partial(_to_tie, TIE, 1)))
    values, index = (torch.cat(parts) for parts in zip(*found, strict=True))
    return values, index


def _all_one_way(x: Tensor, norm: Tensor) -> bool:
    """Whether cosines are too near to 1 to be told apart, as of numbers with a large offset; a few rows show it."""
    rows = torch.linspace(0, len(x) - 1, min(len(x), 64)).long().to(x.device)
    few = x[rows].double()
    return bool(((few @ few[0]) / (norm[rows] * norm[rows[0]]) > 1 - 10 * TIE).all())


def _norms(x: Tensor) -> Tensor:
    """‖x_i‖, float64 `[N]`."""
    block = max(1, PIECE // x.shape[1])
    norm = torch.empty(len(x), dtype=torch.float64, device=x.device)
    exact = torch.empty(min(block, len(x)), x.shape[1], dtype=torch.float64, device=x.device)  # one for all pieces
    for part, out in zip(x.split(block), norm.split(block), strict=True):
        torch.linalg.vector_norm(exact[: len(part)].copy_(part), dim=1, out=out)
    return norm


def _search_cosine(x: Tensor, norm: Tensor, k: int, self_similarity: float = -torch.inf) -> tuple[Tensor, Tensor]:
    """By cosine, float64 throughout."""

    def cosine(product: Tensor, rows: slice) -> Tensor:
        return _cosine(product, norm[rows, None], norm)

    return _search_all(x, k, self_similarity, cosine, partial(_to_tie, TIE, 1))


def _search_all(
    x: Tensor,
    k: int,
    self_similarity: float,
    score: Callable[[Tensor, slice], Tensor],
    rounded: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """The plain form: the inner products of some rows with all, in float64 and in chunks, made scores and sorted."""
    own, found, block = own_rows(len(x)), [], _rows_at_once(x)
    for start in range(own.start, own.stop, block):
        rows = slice(start, min(start + block, own.stop))
        product = torch.zeros(len(x[rows]), len(x), dtype=torch.float64, device=x.device)
        for features in x.split(block, dim=1):
            features = features.double()
            product.addmm_(features[rows], features.T)
        product = score(product, rows)
        product.diagonal(start).fill_(self_similarity)
        found.append(_top_k(product, k, rounded))
    similarity, index = (all_rows(torch.cat(parts), len(x)) for parts in zip(*found, strict=True))
    return similarity, index


def _rows_at_once(x: Tensor) -> int:
    """How many rows of products with all of x go into one chunk."""
    return max(1, (4 * CHUNK if x.is_cuda else CHUNK) // len(x))


def _search_pairs(x: Tensor, norm: Tensor, k: int, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Takes some pairs i < j, sorted, in float64: among those of all processes are every row and its k nearest."""
    counts = torch.bincount(source, minlength=len(x))
    pointer = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        layout = torch.sparse_csr_tensor(
            pointer, target, torch.zeros(len(target), dtype=torch.float64), (len(x), len(x)), check_invariants=False
        )
    for features in x.split(max(64, PIECE // len(x)), dim=1):
        features = features.double()
        layout = torch.sparse.sampled_addmm(layout, features, features.T)
    value = _to_tie(TIE, 1, _cosine(layout.values(), norm[source], norm[target]))
    source, target, value = all_parts(source), all_parts(target), all_parts(value)

    row, column = torch.cat([source, target]), torch.cat([target, source])
    order = column.argsort()
    row_and_value = row * (4 * MULTIPLES) - (value.repeat(2) / TIE).long()  # integers sort ten times as fast
    order = order[row_and_value[order].argsort(stable=True)]  # by row, then −value, then column
    first = torch.bincount(row, minlength=len(x)).cumsum(0).roll(1)
    first[0] = 0
    best = order[first[:, None] + torch.arange(k)]
    return value[best % len(value)], column[best]


def _cosine(product: Tensor, norm: Tensor, other: Tensor) -> Tensor:
    """⟨x_i, x_j⟩ / (‖x_i‖ ‖x_j‖), in place; 0 for rows of zeros."""
    return product.div_((norm * other).clamp_(min=torch.finfo(torch.float64).tiny))


def _negative_square(square: Tensor, product: Tensor, rows: slice) -> Tensor:
    """−‖x_i − x_j‖² of centred rows with the squares ‖x_i‖², in place; equal rows differ by the rounding."""
    return product.mul_(2).sub_(square[rows, None]).sub_(square)


def _to_tie(tie: float | Tensor, most: float, values: Tensor) -> Tensor:
    """Multiples of `tie`, so that values tie that are equal but for their rounding; none above `most`."""
    return (values / tie).round_().mul_(tie).clamp_(max=most)


def _top_k(values: Tensor, k: int, rounded: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """The k largest of each row, rounded, by (−value, index).

    Rounding keeps their order, so that only the largest k + 1 are rounded, and the whole row if the last two are equal:
    `torch.topk` alone promises no order among equals.
    """
    num_columns = values.shape[1]
    top, index = values.topk(min(k + 1, num_columns), dim=1)
    top = rounded(top)
    if num_columns > k:
        tied = (top[:, k - 1] == top[:, k]).nonzero().flatten()
        top[tied], index[tied] = (
            found[:, : k + 1] for found in rounded(values[tied]).sort(dim=1, descending=True, stable=True)
        )
    index, order = index[:, :k].sort(dim=1)
    top, order = top.gather(1, order).sort(dim=1, descending=True, stable=True)
    return top, index.gather(1, order)


def check_k(k: int, num_samples: int) -> None:
    """Raises TypeError or ValueError unless k is a number of neighbours that so many samples can have."""
    if not isinstance(k, Integral) or isinstance(k, bool):
        raise TypeError(f"k must be an integer; got {k!r}")
    if not 1 <= k < num_samples:
        raise ValueError(
            f"k must be at least 1 and smaller than the number of samples; got k={k} for {num_samples} samples"
        )


def _check(x: Tensor, k: int, what: str) -> None:
    if not is_plain(x):
        raise TypeError(f"{what} must be a tensor of floating type; got {kind(x)}")
    if x.dim() != 2:
        raise ValueError(f"{what} must have shape [N, D]; got {list(x.shape)}: flatten it first")
    check_k(k, len(x))
    if not x.shape[1]:
        raise ValueError(f"{what} must have shape [N, D] with D of at least 1; got {list(x.shape)}")
    smallest, largest = x.aminmax()
    if not (smallest.isfinite() and largest.isfinite()):
        raise ValueError(f"{what} holds NaN or Inf in {int((~x.isfinite()).any(1).sum())} of {len(x)} samples")
    if max(-float(smallest), float(largest)) > LARGEST:
        raise ValueError(f"{what} holds numbers beyond {LARGEST:g}, whose squares overflow; scale it down")
    if smallest == largest == 0:
        raise ValueError(f"{what} is zero for every sample: a dead layer has no neighbours")
    if max(-float(smallest), float(largest)) < 1 / LARGEST:
        raise ValueError(f"{what} holds no number above {1 / LARGEST:g}, and smaller squares vanish; scale it up")
    if torch.equal(x[0], x[1]) and (x == x[0]).all():
        raise ValueError(f"{what} is the same for every sample: a constant layer has no neighbours")
