"""The attack of Carlini and Wagner: the nearest image that fools the network, in the L2 norm."""

from functools import partial

import torch
from torch import Tensor, nn

from ._inputs import Compat, Model, by_batch
from ._prepared import is_to_shrink, replayed

ENOUGH = 1e9  # a factor c as large as that was never enough: there is no upper end yet
PATIENCE = 3  # tenths of the steps without a fall of the loss
DOUBT = 0.6  # the way back is rarely longer than this share of what the present pull promises


def cw(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    confidence: float = 0.0,
    steps: int = 100,
    search_steps: int = 5,
    initial_c: float = 1.0,
    lr: float = 0.01,
    batch_size: int = 100,
    compat: Compat = None,
    progress: bool = True,
) -> Tensor:
    """Makes the change as small as it can be while the network is fooled.

        minimise ‖x' − x‖₂² + c max(Z_y(x') − max_{i≠y} Z_i(x') + κ, 0),  x' = (tanh w + 1) / 2

    by Adam over w; c is found for each image by bisection, after it has grown tenfold until it sufficed once. Adam
    overshoots the boundary and returns; an image too far beyond it to come closer than its best in the steps that are
    left, or whose loss has not fallen for three tenths of the steps, leaves the batch until the next c.

    Args:
        model: A classifier of images in [0, 1] that returns logits Z; it is left as it was.
        images: Floating `[N, C, H, W]` in [0, 1].
        labels: Integers `[N]`, the true classes.
        confidence: κ, by how much the wrong logit is to be above the true one, at least 0.
        steps: Steps of Adam for each c.
        search_steps: Number of c that are tried.
        initial_c: The first of them.
        lr: Learning rate of Adam.
        batch_size: Images at a time.
        compat: `"lu2022"` as published: 200 steps, nine c from 0.001 on, on normalised images clipped to [0, 1].
        progress: Shows a progress bar on a terminal.

    Returns:
        Images `[N, C, H, W]` in [0, 1]; one that could not be made to fool the network is as it was (as it is clipped,
        with compat).

    Raises:
        TypeError: If images are not floating, or labels not integers.
        ValueError: If images are outside [0, 1], labels do not fit, or a setting is out of range.

    Example:
        >>> x = torch.tensor([0.6, 0.4]).view(1, 1, 1, 2)
        >>> found = cw(nn.Flatten(), x, torch.tensor([0]))
        >>> round(float((found - x).norm()), 2)  # half of the gap in each of the two pixels
        0.14

    Reference:
        Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", IEEE S&P 2017, section VI.A.
    """
    if min(steps, search_steps) < 1 or min(initial_c, lr) <= 0 or confidence < 0:
        raise ValueError(
            "steps and search_steps must be at least 1, initial_c and lr above 0, confidence at least 0; "
            f"got {steps}, {search_steps}, {initial_c}, {lr} and {confidence}"
        )
    if compat:
        confidence, steps, search_steps, initial_c, lr = 0.0, 200, 9, 1e-3, 0.01

    def attack(model: Model, x: Tensor, y: Tensor) -> Tensor:
        if x.dtype.itemsize < 4:  # sixteen bits are enough for the model, not for the steps
            return attack(partial(_in_type, model, x.dtype), x.float(), y)
        x = x.clamp(0, 1)
        with torch.no_grad():
            fools = _fools(_gap(model(x), y[:, None]), confidence)
        best, nearest = x.clone(), torch.where(fools, 0.0, torch.inf).to(x.dtype)
        c = torch.full_like(nearest, initial_c)
        low, high = torch.zeros_like(c), torch.full_like(c, 10 * ENOUGH)
        for _ in range(search_steps):
            found, distance = _nearest(model, x, y, c, confidence, steps, lr)
            better = distance < nearest
            nearest = torch.where(better, distance, nearest)
            best[better] = found[better]
            enough = distance.isfinite()
            low, high = torch.where(enough, low, c), torch.where(enough, c, high)
            c = torch.where(high < ENOUGH, (low + high) / 2, 10 * c)
        return best

    return by_batch("cw", attack, model, images, labels, batch_size=batch_size, compat=compat, progress=progress)


def _in_type(model: Model, dtype: torch.dtype, x: Tensor) -> Tensor:
    return model(x.to(dtype)).float()


def _gap(logits: Tensor, true: Tensor) -> Tensor:
    """By how much the true class's logit is above the largest other one, `[N]`."""
    return logits.gather(1, true).squeeze(1) - logits.scatter(1, true, -torch.inf).amax(1)


def _fools(gap: Tensor, confidence: float) -> Tensor:
    return (gap < 0) & (gap <= -confidence)


def _nearest(
    model: Model, x: Tensor, y: Tensor, c: Tensor, confidence: float, steps: int, lr: float
) -> tuple[Tensor, Tensor]:
    """The nearest images that fool the network with one c each, and their squared distance; infinite if none does."""
    best, nearest, rows = x.clone(), torch.full_like(c, torch.inf), torch.arange(len(x), device=x.device)
    last, idle, true, goes_on = nearest.clone(), torch.zeros_like(y), y[:, None], torch.ones_like(y, dtype=torch.bool)
    run = replayed(model, x, steps)
    w = torch.atanh((2 * x - 1) * (1 - 1e-6))
    mean, square = torch.zeros_like(w), torch.zeros_like(w)
    for step in range(1, steps + 1):
        w = w.detach().requires_grad_()
        image = (w.tanh() + 1) / 2
        gap = _gap(run(image), true)
        distance = (image - x).flatten(1).square().sum(1)
        loss = distance + c * (gap + confidence).clamp(min=0)
        (slope,) = torch.autograd.grad(loss.sum(), w)
        image, gap, distance, loss = (one.detach() for one in (image, gap, distance, loss))
        better = goes_on & _fools(gap, confidence) & (distance < nearest[rows])
        nearest[rows] = distance.where(better, nearest[rows])
        best[rows] = image.where(better[:, None, None, None], best[rows])

        mean.lerp_(slope, 0.1)
        square.mul_(0.999).addcmul_(slope, slope, value=0.001)
        size = (square / (1 - 0.999**step)).sqrt_().add_(1e-8)
        w = torch.addcdiv(w.detach(), mean, size, value=-lr / (1 - 0.9**step))
        if step % max(steps // 10, 1) == 0:
            idle, last = torch.where(loss < 0.9999 * last, 0, idle + 1), loss
            pull = lr * (slope.square() / size).flatten(1).sum(1) / loss  # by which a step shrinks the loss, as a share
            back = DOUBT * (steps - step) * (steps / step) ** 0.5 * pull  # as the mean of the squares fades, it grows
            lost = _fools(gap, confidence) & ((distance / nearest[rows]).log() > back)
            goes_on &= (idle < PATIENCE) & ~lost
            left = int(goes_on.sum())
            if not left:
                break
            if is_to_shrink(x, left, len(x)):
                x, c, true, w, mean, square, last, idle, rows, goes_on = (
                    one[goes_on] for one in (x, c, true, w, mean, square, last, idle, rows, goes_on)
                )
                run = replayed(model, x, steps - step)
    return best, nearest
