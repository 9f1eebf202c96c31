"""Greedy local search: a few pixels, found without gradients near those that mattered before."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._inputs import Compat, Model, by_batch, fooled, generators
from ._prepared import at_a_time, rough

SAFE = 6  # standard deviations of the error of rough odds within which candidates are looked at again


def local_search(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    p: float = 1.0,
    r: float = 1.5,
    d: int = 5,
    t: int = 5,
    rounds: int = 10,
    seeds: int = 128,
    batch_size: int = 100,
    compat: Compat = None,
    seed: int = 0,
    progress: bool = True,
) -> Tensor:
    """Changes in each round the t pixels to which the network is most sensitive, and looks for the next ones near them.

    A round tries every candidate pixel at an extreme, ½ + p sign(value − ½), clipped to [0, 1]; the t that leave the
    true class the least probability are changed for good, value − ½ becoming r times as large and wrapped around into
    [−½, ½]; the squares of 2 d + 1 pixels around them hold the next candidates. The first are drawn from all pixels.

    Args:
        model: A classifier of images in [0, 1]; it is left as it was.
        images: Floating `[N, C, H, W]` in [0, 1].
        labels: Integers `[N]`, the true classes.
        p: How far a candidate goes, above 0; from 1 on to 0 or 1.
        r: How far a pixel goes that is changed for good, in (0, 2].
        d: Half the side of the squares, in pixels, at least 0.
        t: Pixels changed in a round.
        rounds: Number of rounds.
        seeds: Candidates of a round; a tenth of the pixels in the first, if that is less.
        batch_size: Images at a time.
        compat: `"lu2022"` as published: these defaults, on normalised images that are clipped to [0, 1], and a round
            does not keep what the rounds before it changed.
        seed: Seed of the candidates; an image's own do not depend on the other images.
        progress: Shows a progress bar on a terminal.

    Returns:
        Images `[N, C, H, W]` in [0, 1]. The search for an image ends with the round in which a candidate or the changed
        image fools the network; of these the nearest in the L2 norm is returned. One that was not made to fool it is as
        it was (as it is clipped, with compat).

    Raises:
        TypeError: If images are not floating, or labels not integers.
        ValueError: If images are outside [0, 1], labels do not fit, or a setting is out of range.

    Example:
        >>> x = torch.full((1, 1, 2, 2), 0.6)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> model[1].weight.data, model[1].bias.data = torch.eye(2, 4), torch.tensor([0.0, 0.3])
        >>> found = local_search(model, x, torch.tensor([1]), t=1)
        >>> model(x).argmax(1), model(found).argmax(1)
        (tensor([1]), tensor([0]))

    Reference:
        Narodytska and Kasiviswanathan, "Simple Black-Box Adversarial Attacks on Deep Neural Networks", CVPR workshops
        2017, algorithm 3; it looks at the changed image only, not at the candidates.
    """
    if p <= 0 or not 0 < r <= 2 or d < 0 or min(t, rounds, seeds) < 1:
        raise ValueError(
            "p must be above 0, r in (0, 2], d at least 0, and t, rounds and seeds at least 1; "
            f"got {p}, {r}, {d}, {t}, {rounds} and {seeds}"
        )
    if compat:
        p, r, d, t, rounds, seeds = 1.0, 1.5, 5, 5, 10, 128

    def attack(model: Model, x: Tensor, y: Tensor) -> Tensor:
        height, width = x.shape[2:]
        clean = start = x.flatten(2)  # [n, C, H W]
        result, sources = clean.clamp(0, 1), generators(x, seed)
        rows, number = torch.arange(len(x), device=x.device), max(1, min(height * width // 10, seeds))
        screen = rough(model, x[:2])
        near = torch.ones(len(x), height * width, dtype=torch.bool, device=x.device)
        for _ in range(rounds):
            luck = torch.stack([torch.rand(height * width, generator=sources[i]) for i in rows.tolist()])
            luck, place = luck.to(x.device).where(near, -1.0).topk(min(number, height * width), dim=1)
            extreme = (0.5 + p * (start - 0.5).sign()).clamp(0, 1)
            inside = start.clamp(0, 1)
            tried = partial(_tried, x.shape, y, clean, inside, extreme, rows, place)
            there = luck >= 0
            damage, distance = tried(model, there) if screen is None else _screened(tried, model, screen, there, t)
            least, first = distance.min(1)  # one candidate an image, though several may be as near
            won = least.isfinite()
            result[rows[won]] = _with_pixel(inside, extreme, rows[won], place[won, first[won]])

            best = damage.topk(min(t, damage.shape[1]), dim=1, largest=False)
            chosen = torch.zeros_like(near).scatter(1, place.gather(1, best.indices), there.gather(1, best.indices))
            moved = r * (start[rows] - 0.5)
            moved = 0.5 + torch.where(moved > 0.5, moved - 1, torch.where(moved < -0.5, moved + 1, moved))
            start = start.index_copy(0, rows, torch.where(chosen[:, None], moved, start[rows]))
            changed = start[rows].clamp(0, 1)
            ends = fooled(model, changed.view(-1, *x.shape[1:]), y[rows])
            nearer = ends & ((changed - clean[rows]).square().sum((1, 2)) < least)
            result[rows[nearer]] = changed[nearer]

            goes_on = ~(won | ends)
            square = F.max_pool2d(chosen.to(x.dtype).view(-1, 1, height, width), 2 * d + 1, stride=1, padding=d)
            rows, near, number = rows[goes_on], square.flatten(1)[goes_on] > 0, seeds
            start = clean if compat else start
            if not len(rows):
                break
        return result.view_as(x)

    return by_batch(
        "local_search", attack, model, images, labels, batch_size=batch_size, compat=compat, progress=progress
    )


def _tried(
    shape: torch.Size,
    y: Tensor,
    clean: Tensor,
    start: Tensor,
    extreme: Tensor,
    rows: Tensor,
    place: Tensor,
    model: Model,
    there: Tensor,
) -> tuple[Tensor, Tensor]:
    """Of images with one pixel changed the logarithm of the true class's odds, and the squared distance if they fool.

    The odds have the order of the probabilities, which in float32 are all 1 from odds of 2²⁴ on. Both results are
    infinite where no candidate is `there`, a bool `[n, candidates]`.
    """
    slot = there.nonzero(as_tuple=True)
    odds, far = (torch.full(there.shape, torch.inf, dtype=clean.dtype, device=clean.device) for _ in range(2))
    step = at_a_time(clean)
    with torch.no_grad():
        for i, j in zip(slot[0].split(step), slot[1].split(step), strict=True):
            if not len(i):
                continue
            which = rows[i]
            images, true = _with_pixel(start, extreme, which, place[i, j]), y[which, None]
            logits = model(images.view(-1, *shape[1:])).to(clean.dtype)
            odds[i, j] = logits.gather(1, true).squeeze(1) - logits.scatter(1, true, -torch.inf).logsumexp(1)
            fools = (logits.argmax(1) != y[which]).nonzero().squeeze(1)
            far[i[fools], j[fools]] = (images[fools] - clean[which[fools]]).square().sum((1, 2))
    return odds, far


def _screened(
    tried: Callable[[Model, Tensor], tuple[Tensor, Tensor]], model: Model, screen: Model, there: Tensor, t: int
) -> tuple[Tensor, Tensor]:
    """What `tried` gives of the candidates that can be among the t best or fool the network; infinite for the others.

    All are looked at roughly; the t that seem best and every sixteenth exactly, which tells the error of rough odds;
    then all that are not worse by `SAFE` of its standard deviations. What fools the network has odds below 1.
    """
    guess, t = tried(screen, there)[0], min(t, there.shape[1])
    known = torch.zeros_like(there).scatter(1, guess.topk(t, largest=False).indices, True)
    known[:, ::16] = True
    known &= there
    odds, far = tried(model, known)
    error = (odds - guess).where(known, torch.nan)
    shift = error.nanmean(1, keepdim=True)
    spread = (error - shift).square().nanmean(1, keepdim=True).sqrt()
    bar = odds.topk(t, largest=False).values[:, -1:].clamp(min=0)
    more = there & ~known & (guess + shift - SAFE * spread <= bar)
    later = tried(model, more)
    return torch.where(more, later[0], odds), torch.where(more, later[1], far)


def _with_pixel(start: Tensor, extreme: Tensor, which: Tensor, pixel: Tensor) -> Tensor:
    """Images `[M, C, H W]`, in each of which one pixel is at its extreme."""
    found = start[which]
    order = torch.arange(len(which), device=which.device)
    found[order, :, pixel] = extreme[which, :, pixel]
    return found
