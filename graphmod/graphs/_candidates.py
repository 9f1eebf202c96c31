"""Pairs of rows that may be nearest neighbours, found with 16-bit products and a bound on their error."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..distributed import maximum_of_all, world

TILE, LARGE_TILE, LARGE = 512, 1024, 10_000
"""Rows and columns of one 16-bit product: small ones keep to the triangle, from so many rows large ones cost less."""

STRIP = 32
"""Neighbouring columns of which only the largest score is looked at first."""

MAX_CANDIDATES = 256
"""Pairs to be taken in float64 for each row, on average; where the bound leaves more, the plain form is as good."""

KEEP = 2**29
"""16-bit scores that are kept for the second look (1 GB); beyond that they are computed again."""

PIECE = 2**20
"""Elements that are changed to float64 at once elsewhere (8 MB): they stay in the cache, in memory already theirs."""


def candidates(x: Tensor, norm: Tensor, k: int) -> tuple[Tensor, Tensor] | None:
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
    strips = maximum_of_all(strips)
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
    if maximum_of_all(torch.tensor(int(too_many))):
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
