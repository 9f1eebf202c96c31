"""The Jacobian saliency map attack: two features at a time, those that speak most for another class."""

import torch
from torch import Tensor, nn

from ._inputs import Compat, Model, by_batch, check_images, check_targets
from ._prepared import is_to_shrink, replayed


def jsma(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    theta: float = 1.0,
    gamma: float = 0.1,
    batch_size: int = 100,
    compat: Compat = None,
    progress: bool = True,
) -> Tensor:
    """Changes as few features as it can until the network takes an image for another class.

    In each step the pair p, q of features (a pixel in a channel) that maximises the saliency

        S = (α_p + α_q) |β_p + β_q|,  α = ∂Z_t/∂x,  β = Σ_{j≠t} ∂Z_j/∂x,  α_p + α_q > 0 > β_p + β_q

    is moved by θ (for θ < 0 both signs turn round) and changed no more. Two backward passes a step give α and β for any
    number of classes, and the best of all pairs is found among few features, see `best_pair`.

    Args:
        model: A classifier of images in [0, 1] that returns logits Z; it is left as it was.
        images: Floating `[N, C, H, W]` in [0, 1].
        labels: Integers `[N]`, the true classes.
        targets: Integers `[N]`, the class t that each image is to be taken for; the likeliest wrong one if None.
        theta: θ, in [−1, 1], not 0.
        gamma: Largest share of the features that may change, in (0, 1].
        batch_size: Images at a time.
        compat: `"lu2022"` as published: the target was the true class, so that nothing was done but the clip of the
            normalised images to [0, 1].
        progress: Shows a progress bar on a terminal.

    Returns:
        Images `[N, C, H, W]` in [0, 1]; one that does not reach its target is returned as far as it came.

    Raises:
        TypeError: If images are not floating, or labels not integers.
        ValueError: If images are outside [0, 1], labels do not fit, a target is the true class, or a setting is out of
            range.

    Example:
        >>> x = torch.full((1, 1, 2, 2), 0.5)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
        >>> model[1].weight.data = torch.tensor([[0.0, 0.0, 1.0, 1.0], [3.0, 3.0, -1.0, -1.0]])
        >>> jsma(model, x, torch.tensor([1]), gamma=1).flatten()
        tensor([0.5000, 0.5000, 1.0000, 1.0000])

    Reference:
        Papernot et al., "The Limitations of Deep Learning in Adversarial Settings", EuroS&P 2016, algorithm 2 and
        equations 8 to 10; saliency of pairs as in section IV.B.
    """
    if not 0 < abs(theta) <= 1 or not 0 < gamma <= 1:
        raise ValueError(f"theta must be in [-1, 1] and not 0, gamma in (0, 1]; got {theta} and {gamma}")
    aims = () if targets is None else (check_targets(targets, check_images(images, labels)),)

    def attack(model: Model, x: Tensor, y: Tensor, t: Tensor | None = None) -> Tensor:
        if compat:
            return x.clamp(0, 1)
        if t is None:
            with torch.no_grad():
                t = model(x).scatter(1, y[:, None], -torch.inf).argmax(1)
        else:
            with torch.no_grad():
                number = model(x[:1]).shape[1]
            if t.min() < 0 or t.max() >= number:
                raise ValueError(f"targets must be in 0 … {number - 1}; got {int(t.min())} to {int(t.max())}")
        return _towards(model, x, t, theta, int(x[0].numel() * gamma / 2 + 1e-9))

    return by_batch(
        "jsma", attack, model, images, labels, *aims, batch_size=batch_size, compat=compat, progress=progress
    )


def best_pair(u: Tensor, v: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Finds two features that maximise (u_p + u_q) (v_p + v_q) where both sums are above 0.

    A feature that two others equal or exceed in both u and v can be left out: one of them can take its place in any
    pair. Sorted by falling u, a feature is kept if its v exceeds the second largest v before it: of thousands, a few
    dozen; of features that are all alike, two.

    Args:
        u: Floating `[N, D]`.
        v: Floating `[N, D]`.
        free: Bool `[N, D]`, the features to choose from.

    Returns:
        The pair of each row, int64 `[N, 2]`, and whether there is one, bool `[N]`.

    Example:
        >>> u, v = torch.tensor([[3.0, 2.0, 1.0, -1.0]]), torch.tensor([[-1.0, 1.0, 2.0, -1.0]])
        >>> best_pair(u, v, torch.ones(1, 4, dtype=torch.bool))
        (tensor([[1, 2]]), tensor([True]))
    """
    low = torch.finfo(u.dtype).min
    order = u.where(free, low).argsort(dim=1, descending=True, stable=True)
    along = v.where(free, low).gather(1, order)
    largest = along.cummax(dim=1).values
    before = torch.cat([torch.full_like(along[:, :1], low), largest[:, :-1]], dim=1)
    second = torch.minimum(along, before).cummax(dim=1).values
    second = torch.cat([torch.full_like(along[:, :1], low), second[:, :-1]], dim=1)
    stays = (along > second) & free.gather(1, order)
    number = max(int(stays.sum(1).max()), 2)
    place = stays.to(torch.uint8).topk(min(number, stays.shape[1]), dim=1).indices
    few, some = order.gather(1, place), stays.gather(1, place)
    u, v = u.gather(1, few), v.gather(1, few)
    sums = (u[:, :, None] + u[:, None], v[:, :, None] + v[:, None])
    apart = ~torch.eye(few.shape[1], dtype=torch.bool, device=u.device)
    fits = some[:, :, None] & some[:, None] & apart & (sums[0] > 0) & (sums[1] > 0)
    score = (sums[0] * sums[1]).where(fits, -1.0).flatten(1)
    best = score.argmax(1)
    pair = torch.stack([best // few.shape[1], best % few.shape[1]], dim=1)
    return few.gather(1, pair), score.amax(1) >= 0


def _towards(model: Model, x: Tensor, t: Tensor, theta: float, steps: int) -> Tensor:
    """Images moved towards their targets, two features a step."""
    found, rows, sign = x.clone(), torch.arange(len(x), device=x.device), 1 if theta > 0 else -1
    now, free = x, (x < 0.99 if theta > 0 else x > 0.01).flatten(1)
    goes_on, run = torch.ones_like(t, dtype=torch.bool), replayed(model, x, steps)
    for step in range(1, steps + 1):
        now = now.detach().requires_grad_()
        logits = run(now)  # one forward pass says who has arrived, and gives both gradients
        goes_on = goes_on & (logits.argmax(1) != t)
        (alpha,) = torch.autograd.grad(logits.gather(1, t[:, None]).sum(), now, retain_graph=True)
        (total,) = torch.autograd.grad(logits.sum(), now)
        pair, there = best_pair(sign * alpha.flatten(1), sign * (alpha - total).flatten(1), free)
        goes_on = goes_on & there
        before = now.detach().flatten(1)
        after = before.scatter(1, pair, (before.gather(1, pair) + theta).clamp(0, 1))
        now, free = after.where(goes_on[:, None], before).view_as(now), free.scatter(1, pair, False)
        left = int(goes_on.sum())
        if not left:
            break
        if is_to_shrink(x, left, len(now)):
            found[rows] = now
            now, rows, t, free = (one[goes_on] for one in (now, rows, t, free))
            goes_on, run = torch.ones_like(t, dtype=torch.bool), replayed(model, now, steps - step)
    found[rows] = now.detach()
    return found
