"""Projected gradient descent: many small steps that stay near the image."""

from typing import Literal

import torch
from torch import Tensor, nn

from ._inputs import Compat, Model, by_batch, check_eps, generators, norms, uphill, widened, within
from ._prepared import replayed


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float = 8 / 255,
    step_size: float | None = None,
    steps: int = 10,
    norm: Literal["linf", "l2"] = "linf",
    random_start: bool = True,
    batch_size: int = 100,
    compat: Compat = None,
    seed: int = 0,
    progress: bool = True,
) -> Tensor:
    """Climbs the loss in steps, each put back into the ball of radius eps around the image and into [0, 1].

        x ← clip(x₀ + project(x + α g − x₀), 0, 1),  g = sign ∇ or ∇ / ‖∇‖₂,  ∇ = ∇ₓ cross_entropy(model(x), y)

    The loss is taken in the type of the images; on `images.double()` see `fgsm`.

    Args:
        model: A classifier of images in [0, 1]; it is left as it was.
        images: Floating `[N, C, H, W]` in [0, 1].
        labels: Integers `[N]`, the true classes.
        eps: Radius of the ball: the largest change of a pixel, in (0, 1], or the L2 norm of the change.
        step_size: α; 2.5 eps / steps if None.
        steps: Number of steps.
        norm: Norm of the ball.
        random_start: Starts at a point drawn in the ball: uniform in each pixel, or in direction and radius.
        batch_size: Images at a time.
        compat: `"lu2022"` as published: linf, ε = 0.3 of the normalised images, which are clipped to [0, 1], 40 steps
            of 0.01 from a random start.
        seed: Seed of the start; an image's own does not depend on the other images.
        progress: Shows a progress bar on a terminal.

    Returns:
        Images `[N, C, H, W]` in [0, 1], in the ball: with `"linf"` to the last bit, with `"l2"` as float64 sums it.

    Raises:
        TypeError: If images are not floating, or labels not integers.
        ValueError: If images are outside [0, 1], labels do not fit, or a setting is out of range.

    Example:
        >>> x = torch.full((1, 1, 1, 2), 0.5)
        >>> pgd(nn.Flatten(), x, torch.tensor([0]), eps=0.25)
        tensor([[[[0.2500, 0.7500]]]])

    Reference:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, section 2.1.
    """
    if norm not in ("linf", "l2"):
        raise ValueError(f"norm must be 'linf' or 'l2'; got {norm!r}")
    check_eps(eps, norm)
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}")
    if step_size is not None and not 0 < step_size < float("inf"):
        raise ValueError(f"step_size must be above 0 and finite; got {step_size}")
    if compat:
        eps, step_size, steps, norm, random_start = 0.3, 0.01, 40, "linf", True
    step = 2.5 * eps / steps if step_size is None else step_size

    def attack(model: Model, given: Tensor, y: Tensor) -> Tensor:
        x = widened(given)
        found = (x + _start(x, eps, norm, seed)).clamp(0, 1) if random_start else x
        run = replayed(model, x, steps)
        for _ in range(steps):
            slope = uphill(run, found, y)
            ahead = slope.sign() if norm == "linf" else slope / norms(slope).clamp(min=1e-12)
            found = (x + _project(found + step * ahead - x, eps, norm)).clamp(0, 1)
        found = found.to(given.dtype)
        return found if compat else within(found, given, eps, norm)

    return by_batch("pgd", attack, model, images, labels, batch_size=batch_size, compat=compat, progress=progress)


def _project(change: Tensor, eps: float, norm: str) -> Tensor:
    if norm == "linf":
        return change.clamp(-eps, eps)
    return change * (eps / norms(change).clamp(min=1e-12)).clamp(max=1)


def _start(x: Tensor, eps: float, norm: str, seed: int) -> Tensor:
    sources = generators(x, seed)
    if norm == "linf":
        return torch.stack([2 * torch.rand(x.shape[1:], generator=one) - 1 for one in sources]).to(x) * eps
    ahead = torch.stack([torch.randn(x.shape[1:], generator=one) for one in sources]).to(x)
    radius = torch.stack([torch.rand((1, 1, 1), generator=one) for one in sources]).to(x)
    return ahead / norms(ahead) * radius * eps
