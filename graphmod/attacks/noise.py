"""A control: noise of the same size as an attack."""

from typing import Literal

import torch
from torch import Tensor, nn

from ._inputs import Model, by_batch, generators, norms, within


def noise(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    eps: float | Tensor = 8 / 255,
    distribution: Literal["uniform", "gaussian"] = "uniform",
    batch_size: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> Tensor:
    """Changes images at random, as far as an attack does.

        uniform:  x' = clip(x + u, 0, 1),   u uniform in [−ε, ε]
        gaussian: x' = clip(x + t n, 0, 1), n normal, t such that ‖x' − x‖₂ = ε

    Only what an attack does beyond noise of the same size is due to the attack.

    Args:
        model: A classifier of images in [0, 1]; only its device is used.
        images: Floating `[N, C, H, W]` in [0, 1].
        labels: Integers `[N]`, the true classes.
        eps: ε, one number or one for each image `[N]`: the largest change of a pixel (uniform), or the L2 norm of the
            change after clipping (gaussian); an image that cannot go so far in [0, 1] goes as far as it can.
        distribution: Of the noise.
        batch_size: Images at a time.
        seed: Seed of the noise; an image's own does not depend on the other images.
        progress: Shows a progress bar on a terminal.

    Returns:
        Images `[N, C, H, W]` in [0, 1].

    Raises:
        TypeError: If images are not floating, or labels not integers.
        ValueError: If images are outside [0, 1], labels do not fit, or eps is out of range.

    Example:
        >>> x = torch.full((1, 3, 4, 4), 0.5)
        >>> found = noise(nn.Identity(), x, torch.tensor([0]), eps=0.3, distribution="gaussian")
        >>> round(float((found - x).norm()), 4)
        0.3
    """
    if distribution not in ("uniform", "gaussian"):
        raise ValueError(f"distribution must be 'uniform' or 'gaussian'; got {distribution!r}")
    sizes = torch.as_tensor(eps).double().cpu().expand(len(images))
    limit = 1.0 if distribution == "uniform" else float(images[0].numel()) ** 0.5
    if not bool(((sizes >= 0) & (sizes <= limit)).all()):
        raise ValueError(f"eps must be from 0 to {limit:.3g} for {distribution} noise; got {eps}")

    def attack(_model: Model, x: Tensor, _y: Tensor, radius: Tensor) -> Tensor:
        radius = radius.view(-1, 1, 1, 1)
        sources = generators(x, seed)
        if distribution == "uniform":
            u = torch.stack([2 * torch.rand(x.shape[1:], generator=one) - 1 for one in sources]).to(x)
            found = (x + radius.to(x) * u).clamp(0, 1)
            return within(found, x, radius, "linf")
        n = torch.stack([torch.randn(x.shape[1:], generator=one) for one in sources]).to(x)
        return _reach(x, n, radius.to(x))

    return by_batch("noise", attack, model, images, labels, sizes, batch_size=batch_size, progress=progress)


def _reach(x: Tensor, n: Tensor, radius: Tensor) -> Tensor:
    """Goes along n until the clipped change has the norm, by bisection: the norm rises with the way."""
    radius = torch.minimum(radius, 0.999 * norms(torch.where(n > 0, 1 - x, x)))  # as far as [0, 1] lets it go
    low, high = torch.zeros_like(radius), radius / norms(n)
    while bool((short := norms((x + high * n).clamp(0, 1) - x) < radius).any()):
        high = torch.where(short, 2 * high, high)
    for _ in range(50):
        middle = (low + high) / 2
        short = norms((x + middle * n).clamp(0, 1) - x) < radius
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return (x + low * n).clamp(0, 1)
