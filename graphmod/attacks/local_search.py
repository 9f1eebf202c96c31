"""Greedy local search: a few pixels, found without gradients near those that mattered before."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._inputs import Compat, Model, by_batch, fooled, generators

CHUNK = 128  # images in one forward pass: the fastest on a CPU for 32 x 32 images


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
        near = torch.ones(len(x), height * width, dtype=torch.bool, device=x.device)
        for _ in range(rounds):
            luck = torch.stack([torch.rand(height * width, generator=sources[i]) for i in rows.tolist()])
            luck, place = luck.to(x.device).where(near, -1.0).topk(min(number, height * width), dim=1)
            slot = (luck >= 0).nonzero(as_tuple=True)
            which, pixel = rows[slot[0]], place[slot]
            extreme = (0.5 + p * (start - 0.5).sign()).clamp(0, 1)
            score, wins, far = _tried(model, clean, start, extreme, which, pixel, y, x.shape)
            damage, distance = (torch.full(luck.shape, torch.inf, dtype=x.dtype, device=x.device) for _ in range(2))
            damage[slot], distance[slot] = score, far.where(wins, torch.inf)
            least, first = distance.min(1)  # one candidate an image, though several may be as near
            won = least.isfinite()
            result[rows[won]] = _with_pixel(start, extreme, rows[won], place[won, first[won]])

            best = damage.topk(min(t, damage.shape[1]), dim=1, largest=False)
            chosen = torch.zeros_like(near).scatter(1, place.gather(1, best.indices), best.values.isfinite())
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

    return by_batch("local_search", attack, model, images, labels, batch_size, compat, progress)


def _tried(
    model: Model,
    clean: Tensor,
    start: Tensor,
    extreme: Tensor,
    which: Tensor,
    pixel: Tensor,
    y: Tensor,
    shape: torch.Size,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of images with one pixel changed: the true class's probability, whether they fool, the squared distance."""
    scores, wins, far = [], [], []
    with torch.no_grad():
        for i, j in zip(which.split(CHUNK), pixel.split(CHUNK), strict=True):
            images = _with_pixel(start, extreme, i, j)
            logits = model(images.view(-1, *shape[1:]))
            scores.append(logits.softmax(1).gather(1, y[i, None]).squeeze(1))
            wins.append(logits.argmax(1) != y[i])
            far.append((images - clean[i]).square().sum((1, 2)))
    return torch.cat(scores), torch.cat(wins), torch.cat(far)


def _with_pixel(start: Tensor, extreme: Tensor, which: Tensor, pixel: Tensor) -> Tensor:
    """Images `[M, C, H W]` in [0, 1], in each of which one pixel is at its extreme."""
    found = start[which]
    order = torch.arange(len(which), device=which.device)
    found[order, :, pixel] = extreme[which, :, pixel]
    return found.clamp(0, 1)
