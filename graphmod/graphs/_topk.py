"""Exact nearest neighbours: `Tensor [N, D] -> similarity [N, k], index [N, k]`.

The result is that of float64 products throughout. By cosine, on a CPU with 16-bit instructions, most of them are never
taken: a 16-bit product over one triangle, with a bound on its error, leaves a few pairs that may be neighbours, and
only these are taken in float64. `make bench` compares it with its peers; on 2 threads with AVX-512 and bfloat16 it took
0.42 to 0.48 of the time of `torch.mm(x, x.T)` alone (`benchmarks/results/neighbors.md`).
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..distributed import all_parts, all_rows, largest, own_rows, world
from ..samples import is_dense

Metric = Literal["cosine", "euclidean"]

MULTIPLES = 2**40
TIE = 1 / MULTIPLES
"""Similarities are rounded to multiples of this (1e-12), so that equal pairs of rows tie whatever the rounding."""

SMALL = 1024
"""Up to so many rows all similarities are taken in float64 at once; candidates do not pay."""

TILE, LARGE_TILE, LARGE = 512, 1024, 10_000
"""Rows and columns of one 16-bit product: small ones keep to the triangle, from so many rows large ones cost less."""

STRIP = 32
"""Neighbouring columns of which only the largest score is looked at first."""

MAX_CANDIDATES = 256
"""Pairs to be taken in float64 for each row, on average; where the bound leaves more, the plain form is as good."""

CHUNK = 2**24
"""Elements of a temporary float64 matrix (128 MB) of the plain form: rows and features are taken in chunks."""

PIECE = 2**20
"""Elements that are changed to float64 at once elsewhere (8 MB): they stay in the cache, in memory already theirs."""

MAX_ROWS = 2**17
"""With more rows the largest score of each row and strip, N² / 32 of them, would take more than 2 GB."""

LARGEST = 1e150
"""Features up to this size have finite squares in float64."""

KEEP = 2**29
"""16-bit scores that are kept for the second look (1 GB); beyond that they are computed again."""


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
            in 1 … N − 1; if the metric is unknown.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
        >>> nearest_neighbors(x, 1)[1].flatten()
        tensor([1, 0, 1])
    """
    _check(x, k, f"layer {layer!r}" if layer is not None else "x")
    x = x.detach()
    if metric == "euclidean":
        centred = x.double() - x.double().mean(dim=0)
        square = centred.square().sum(dim=1)
        similarity, index = _search_all(centred, k, self_similarity, partial(_negative_square, square))
        return -(-similarity).sqrt(), index
    if metric != "cosine":
        raise ValueError(f"metric must be one of {', '.join(get_args(Metric))}; got {metric!r}")
    norm = _norms(x)
    if SMALL < len(x) <= MAX_ROWS and not x.is_cuda and self_similarity == -torch.inf and _has_bfloat16():
        pairs = _candidates(x, norm, k)
        if pairs is not None:
            return _search_pairs(x, norm, k, *pairs)
    return _search_cosine(x, norm, k, self_similarity)


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
    return _search_all(x, k, self_similarity, lambda product, rows: _cosine(product, norm[rows, None], norm))


def _search_all(
    x: Tensor, k: int, self_similarity: float, score: Callable[[Tensor, slice], Tensor]
) -> tuple[Tensor, Tensor]:
    """The plain form: the inner products of some rows with all, in float64 and in chunks, made scores and sorted."""
    own, found = own_rows(len(x)), []
    block = max(1, CHUNK // len(x))
    for start in range(own.start, own.stop, block):
        rows = slice(start, min(start + block, own.stop))
        product = torch.zeros(len(x[rows]), len(x), dtype=torch.float64, device=x.device)
        for features in x.split(block, dim=1):
            features = features.double()
            product.addmm_(features[rows], features.T)
        product = score(product, rows)
        product.diagonal(start).fill_(self_similarity)
        found.append(_largest(product, k))
    similarity, index = (all_rows(torch.cat(parts), len(x)) for parts in zip(*found, strict=True))
    return similarity, index


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
    value = _cosine(layout.values(), norm[source], norm[target])
    source, target, value = all_parts(source), all_parts(target), all_parts(value)

    row, column = torch.cat([source, target]), torch.cat([target, source])
    order = column.argsort()
    row_and_value = row * (4 * MULTIPLES) - (value.repeat(2) / TIE).long()  # integers sort ten times as fast
    order = order[row_and_value[order].argsort(stable=True)]  # by row, then −value, then column
    first = torch.bincount(row, minlength=len(x)).cumsum(0).roll(1)
    first[0] = 0
    best = order[first[:, None] + torch.arange(k)]
    return value[best % len(value)], column[best]


def _candidates(x: Tensor, norm: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
    """The pairs i < j of which one may be among the k nearest of the other, sorted; None if the bound fails.

    Several processes share the tiles: each gives the pairs of its own.

    With u the unit rows, m their mean, z = u − m and b = ⟨m, z⟩, the cosine is ⟨z_i, z_j⟩ + b_i + b_j + ⟨m, m⟩. Where
    all samples point much the same way z is short, and so is the error. Let ẑ be z rounded to 16 bits and r = z − ẑ:
    |⟨z_i, z_j⟩ − ⟨ẑ_i, ẑ_j⟩| ≤ ‖r_i‖ ‖z_j‖ + ‖ẑ_i‖ ‖r_j‖ by Cauchy and Schwarz, beside which stand the rounding of the
    sum, at most D · 2⁻²⁴ of ‖ẑ_i‖ ‖ẑ_j‖, of the result, at most 2⁻⁸ of itself, and of the steps in float32, below 2⁻²⁰.

    The k strips of columns with the largest maxima hold k neighbours, so that the smallest of these maxima, less the
    error, is a lower bound of the k-th similarity. Only what reaches it, give or take the error, can be a neighbour.
    """
    if ((norm > 0) & ((norm < 1e-15) | (norm > 1e15))).any():
        return None  # what follows is in float32
    z, bias, length, rest = _centred(x, norm)
    longest, widest = float((length + rest).max()), float(rest.max())
    error = rest * longest + (length + rest) * (widest + (x.shape[1] * 2.0**-24 + 2.0**-20) * longest)
    error = 1.01 * error + 2.0**-20
    tile = TILE if len(x) < LARGE else LARGE_TILE
    keep: dict[tuple[int, int], Tensor] = {}

    def cells(i: int, j: int) -> tuple[slice, slice]:  # of a tile in a matrix [row, strip]
        return slice(i, i + tile), slice(j // STRIP, (j + tile) // STRIP)

    def product(i: int, j: int) -> Tensor:  # of whole strips, −inf beyond the last row and on the diagonal
        found = keep.get((i, j))
        if found is None:
            found = z[i : i + tile] @ z[j : j + tile].T
            found = found.fill_diagonal_(-torch.inf) if i == j else found
            ragged = (0, -found.shape[1] % STRIP, 0, -len(found) % STRIP)
            found = pad(found, ragged, value=-torch.inf) if any(ragged) else found
            if len(x) ** 2 // 2 <= KEEP:
                keep[i, j] = found
        return found

    rank, size = world()
    tiles = [(i, j) for i in range(0, len(x), tile) for j in range(i, len(x), tile)][rank::size]
    ragged = (0, -len(x) % STRIP)
    offset = pad(bias, ragged)
    strips = torch.full((len(offset), len(offset) // STRIP), -torch.inf)  # the largest score of each row and strip
    for i, j in tiles:
        score = product(i, j).float()
        score.add_(offset[i : i + tile, None]).add_(offset[j : j + tile])
        strips[cells(i, j)] = score.unflatten(1, (-1, STRIP)).amax(2)
        strips[cells(j, i)] = score.unflatten(0, (-1, STRIP)).amax(1).T
    strips = largest(strips)
    reached = strips.topk(k, dim=1).values[: len(x), -1] if k <= strips.shape[1] else torch.full_like(bias, -torch.inf)
    reach = bias.abs() + bias.abs().max()
    lowest = reached - error - 2.0**-8 * (reached.abs() + reach)
    needed = lowest - error - 1.02 * 2.0**-8 * (lowest.abs() + error + reach)
    needed = pad(needed, ragged, value=torch.inf)
    of_strip, offset_of_strip = needed.view(-1, STRIP), offset.view(-1, STRIP)
    least = of_strip.amin(1)

    pairs, count, too_many = [], 0, False
    for i, j in tiles:
        rows, columns = cells(i, j)
        worth = strips[rows, columns] >= torch.minimum(needed[rows, None], least[columns])
        row, strip = worth.nonzero().T
        score = product(i, j).reshape(-1, STRIP).index_select(0, row * worth.shape[1] + strip)
        row, strip = row + i, strip + columns.start
        score = score.float().add_(offset[row, None]).add_(offset_of_strip[strip])
        which, column = (score >= torch.minimum(needed[row, None], of_strip[strip])).nonzero().T
        source, target = row[which], strip[which] * STRIP + column
        pairs.append(torch.stack([source, target])[:, (source < target) & (target < len(x))])
        count += pairs[-1].shape[1]
        if too_many := count * size > MAX_CANDIDATES * len(x):
            break
    if largest(torch.tensor(int(too_many))):
        return None
    source, target = torch.cat([torch.empty(2, 0, dtype=torch.int64), *pairs], dim=1)
    order = (source * len(x) + target).argsort()
    return source[order], target[order]


def _centred(x: Tensor, norm: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ẑ, bfloat16 `[N, D]`; and for each row ⟨m, z⟩, ‖z‖ and a bound of ‖z − ẑ‖, float32 `[N]`."""
    block = max(1, PIECE // x.shape[1])
    scale = torch.where(norm > 0, 1 / norm, 0.0).float()[:, None]
    summed = torch.zeros(x.shape[1], 1)
    for part, factor in zip(x.split(block), scale.split(block), strict=True):
        summed += part.float().T @ factor
    below = -summed.flatten() / len(x)  # −m
    z = torch.empty(x.shape, dtype=torch.bfloat16)
    bias, length, rest = torch.empty(3, len(x))
    for start in range(0, len(x), block):
        rows = slice(start, start + block)
        exact = torch.addcmul(below, x[rows].float(), scale[rows])
        z[rows] = exact
        bias[rows], length[rows] = -(exact.double() @ below.double()), exact.norm(dim=1)
        rest[rows] = exact.sub_(z[rows]).norm(dim=1) + 2.0**-21
    return z, bias, length, rest


def _cosine(product: Tensor, norm: Tensor, other: Tensor) -> Tensor:
    product.div_((norm * other).clamp_(min=torch.finfo(torch.float64).tiny))
    return product.clamp_(-1, 1).div_(TIE).round_().mul_(TIE)


def _negative_square(square: Tensor, product: Tensor, rows: slice) -> Tensor:
    """−‖x_i − x_j‖² of centred rows with the squares ‖x_i‖², rounded so that equal rows have distance 0."""
    tie = TIE * square.max()
    return product.mul_(2).sub_(square[rows, None]).sub_(square).div_(tie).round_().mul_(tie).clamp_(max=0)


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row by (−value, index); `torch.topk` alone promises no order among equals."""
    num_columns = values.shape[1]
    top, index = values.topk(min(k + 1, num_columns), dim=1)
    if num_columns > k:
        tied = (top[:, k - 1] == top[:, k]).nonzero().flatten()  # equals on both sides of the cut: sort the whole row
        index[tied] = values[tied].sort(dim=1, descending=True, stable=True).indices[:, : k + 1]
    index = index[:, :k].sort(dim=1).values
    top, order = values.gather(1, index).sort(dim=1, descending=True, stable=True)
    return top, index.gather(1, order)


def _has_bfloat16() -> bool:
    """Whether this CPU multiplies 16-bit numbers faster than 32-bit ones."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def check_k(k: int, num_samples: int) -> None:
    """Raises TypeError or ValueError unless k is a number of neighbours that so many samples can have."""
    if not isinstance(k, int) or isinstance(k, bool):
        raise TypeError(f"k must be an integer; got {k!r}")
    if not 1 <= k < num_samples:
        raise ValueError(
            f"k must be at least 1 and smaller than the number of samples; got k={k} for {num_samples} samples"
        )


def is_plain(x: object) -> bool:
    """Whether this is a dense tensor of floating numbers that can be compared, those of 16 bits or more."""
    return is_dense(x) and x.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def kind(x: object) -> str:
    """What to call a thing that is no plain tensor."""
    if not isinstance(x, Tensor):
        return type(x).__name__
    return str(x.dtype) if is_dense(x) else f"{x.dtype}, not dense"


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
    if torch.equal(x[0], x[1]) and (x == x[0]).all():
        raise ValueError(f"{what} is the same for every sample: a constant layer has no neighbours")
