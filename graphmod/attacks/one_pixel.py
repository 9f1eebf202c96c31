"""The one-pixel attack: next to nothing changes, and that is found without gradients."""

from typing import Literal

import torch
from torch import Tensor, nn

from ._inputs import Compat, Model, by_batch, generators
from ._prepared import at_a_time


def one_pixel(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    method: Literal["evolution", "random"] = "evolution",
    pixels: int = 1,
    population: int = 400,
    generations: int = 100,
    max_pixels: int = 100,
    batch_size: int = 100,
    compat: Compat = None,
    seed: int = 0,
    progress: bool = True,
) -> Tensor:
    """Changes one pixel, or a few, in all its channels.

    `"evolution"` is the published attack. A candidate is row, column and colour of each pixel; at first places are
    uniform and colours normal around ½. In each generation a child, a + ½ (b − c) of three other candidates, takes the
    place of its parent if it leaves the true class less probability. `"random"` sets up to `max_pixels` random pixels,
    one at a time, to 0 and to 1, until one fools the network.

    Args:
        model: A classifier of images in [0, 1]; it is left as it was.
        images: Floating `[N, C, H, W]` in [0, 1].
        labels: Integers `[N]`, the true classes.
        method: How the pixels are found.
        pixels: How many change (evolution).
        population: Candidates, at least 4 (evolution).
        generations: Generations of children (evolution).
        max_pixels: How many are tried (random).
        batch_size: Images at a time.
        compat: `"lu2022"` as published: random, 100 pixels, of the normalised images, which it does not clip elsewhere.
        seed: Seed of what is drawn; an image's own does not depend on the other images.
        progress: Shows a progress bar on a terminal.

    Returns:
        Images `[N, C, H, W]` in [0, 1]. The search for an image ends with the first generation that fools the network.
        One that does not fool it is the candidate that leaves the true class the least probability (evolution), or the
        image as it was (random).

    Raises:
        TypeError: If images are not floating, or labels not integers.
        ValueError: If images are outside [0, 1], labels do not fit, or a setting is out of range.

    Example:
        >>> x = torch.full((1, 1, 2, 2), 0.4)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> model[1].weight.data, model[1].bias.data = torch.eye(2, 4), torch.tensor([0.0, 0.5])
        >>> one_pixel(model, x, torch.tensor([1]), method="random").flatten()
        tensor([1.0000, 0.4000, 0.4000, 0.4000])

    Reference:
        Su, Vargas and Sakurai, "One Pixel Attack for Fooling Deep Neural Networks", IEEE Transactions on Evolutionary
        Computation 23, 2019, section III. Random: Narodytska and Kasiviswanathan, "Simple Black-Box Adversarial Attacks
        on Deep Neural Networks", CVPR workshops 2017, algorithm 1, which is what Lu et al. 2022 ran.
    """
    if method not in ("evolution", "random"):
        raise ValueError(f"method must be 'evolution' or 'random'; got {method!r}")
    if min(pixels, generations, max_pixels) < 1 or population < 4:
        raise ValueError(
            "pixels, generations and max_pixels must be at least 1 and population at least 4; "
            f"got {pixels}, {generations}, {max_pixels} and {population}"
        )
    if compat:
        method, max_pixels = "random", 100

    def attack(model: Model, x: Tensor, y: Tensor) -> Tensor:
        if method == "random":
            return _randomly(model, x, y, max_pixels, seed)
        return _by_evolution(model, x, y, pixels, population, generations, seed)

    return by_batch("one_pixel", attack, model, images, labels, batch_size=batch_size, compat=compat, progress=progress)


def _by_evolution(
    model: Model, x: Tensor, y: Tensor, pixels: int, population: int, generations: int, seed: int
) -> Tensor:
    n, c, height, width = x.shape
    sources, rows = generators(x, seed), torch.arange(n, device=x.device)
    size = torch.tensor([height, width], device=x.device)

    def drawn(kind: str, *shape: int) -> Tensor:
        draw = torch.rand if kind == "uniform" else torch.randn
        return torch.stack([draw(shape, generator=sources[i]) for i in rows.tolist()]).to(x.device)

    def inside(candidates: Tensor) -> Tensor:
        place = torch.minimum(candidates[..., :2].clamp(min=0), size - 0.5)
        return torch.cat([place, candidates[..., 2:].clamp(0, 1)], dim=-1)

    place = drawn("uniform", population, pixels, 2) * size
    people = inside(torch.cat([place, 0.5 + 0.5 * drawn("normal", population, pixels, c)], dim=-1))
    score, wins = _judged(model, x, y, rows, people)
    result = x.clone()
    for generation in range(generations + 1):
        best = score.where(wins | ~wins.any(1, keepdim=True), torch.inf).argmin(1)
        chosen = people[torch.arange(len(rows), device=x.device), best]
        result[rows] = _changed(x[rows], chosen)
        goes_on = ~wins.any(1)
        rows, people, score = rows[goes_on], people[goes_on], score[goes_on]
        if not len(rows) or generation == generations:
            break
        a, b, d = (_candidates(people, others) for others in _three_others(drawn("uniform", population, 3)))
        children = inside(a + 0.5 * (b - d))
        theirs, wins = _judged(model, x, y, rows, children)
        better = (theirs < score) | wins
        people = torch.where(better[..., None, None], children, people)
        score = torch.where(better, theirs, score)
    return result


def _three_others(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each of P candidates three others, all different, from uniform numbers `[N, P, 3]`; each int64 `[N, P]`."""
    number = u.shape[1]
    first, second, third = ((u[..., i] * (number - 1 - i)).long() for i in range(3))
    second = second + (second >= first)
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    third = third + (third >= low)
    third = third + (third >= high)
    own = torch.arange(number, device=u.device)
    return (own + 1 + first) % number, (own + 1 + second) % number, (own + 1 + third) % number


def _candidates(people: Tensor, index: Tensor) -> Tensor:
    return people.gather(1, index[..., None, None].expand(-1, -1, *people.shape[2:]))


def _changed(x: Tensor, candidates: Tensor) -> Tensor:
    """Images `[M, C, H, W]`, each with its pixels `[M, pixels, 2 + C]` (row, column, colour) set."""
    found, order = x.clone(), torch.arange(len(x), device=x.device)
    for pixel in candidates.unbind(1):
        row, column = pixel[:, 0].long(), pixel[:, 1].long()
        found[order, :, row, column] = pixel[:, 2:].to(x.dtype)
    return found


def _judged(model: Model, x: Tensor, y: Tensor, rows: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    """The probability of the true class of each candidate `[N, P]`, and whether it fools the network."""
    number = people.shape[1]
    which, flat = rows.repeat_interleave(number), people.flatten(0, 1)
    scores, wins, step = [], [], at_a_time(x)
    with torch.no_grad():
        for i, candidates in zip(which.split(step), flat.split(step), strict=True):
            logits = model(_changed(x[i], candidates))
            scores.append(logits.softmax(1).gather(1, y[i, None]).squeeze(1))
            wins.append(logits.argmax(1) != y[i])
    return torch.cat(scores).view(-1, number), torch.cat(wins).view(-1, number)


def _randomly(model: Model, x: Tensor, y: Tensor, max_pixels: int, seed: int) -> Tensor:
    n, c, height, width = x.shape
    places = torch.stack([torch.randperm(height * width, generator=one)[:max_pixels] for one in generators(x, seed)])
    rows, result = torch.arange(n, device=x.device), x.clone()
    for some in places.to(x.device).split(8, dim=1):  # so many places of all images at a time; the first one counts
        place = some[rows].repeat_interleave(2, dim=1)
        where = torch.stack([place // width, place % width], dim=-1).float()  # sixteen bits do not hold every place
        colour = torch.arange(place.shape[1], device=x.device).remainder(2).float()
        people = torch.cat([where, colour[:, None].expand(len(rows), -1, c)], dim=-1)[:, :, None]
        wins = _judged(model, x, y, rows, people)[1]
        over, first = wins.any(1), wins.to(torch.uint8).argmax(1)
        result[rows[over]] = _changed(x[rows[over]], people[over, first[over]])
        rows = rows[~over]
        if not len(rows):
            break
    return result
