"""The door of every attack: it checks what comes in, splits it into batches, and keeps the model as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal
from zlib import crc32

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from .._passes import evaluation
from .._tensors import INTEGERS, class_numbers
from ..models._normalize import Normalize
from ._prepared import Model as Model
from ._prepared import prepared

Compat = Literal["lu2022"] | None


def by_batch(
    title: str,
    attack: Callable[..., Tensor],
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *each: Tensor,
    batch_size: int,
    compat: Compat = None,
    progress: bool,
) -> Tensor:
    """Attacks labelled images batch by batch.

    Args:
        title: What the progress bar begins with.
        attack: Takes logits as a function of images, a batch of images, their labels and their part of `each`, all on
            the model's device, and returns images.
        model: A classifier of images in [0, 1]; it runs in evaluation mode and is left as it was.
        images: Floating `[N, C, H, W]` in [0, 1].
        labels: Integers `[N]`, the true classes.
        *each: What else the attack takes, a row for each image, `[N, ...]`.
        batch_size: Images at a time.
        compat: `"lu2022"` gives the attack normalised images and the model without its normalisation.
        progress: Shows a progress bar on a terminal.

    Returns:
        Images in [0, 1] of the shape, dtype and device of `images`.

    Raises:
        TypeError: If images are not floating or labels not integers.
        ValueError: If images are outside [0, 1] or not `[N, C, H, W]`, labels do not fit, or compat is unknown.
    """
    labels = check_images(images, labels)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    if compat not in (None, "lu2022"):
        raise ValueError(f"compat must be None or 'lu2022'; got {compat!r}")
    home, done = next(model.parameters(), images).device, []
    low, high = torch.stack(labels.aminmax()).tolist()
    batches = list(zip(*(rows.split(batch_size) for rows in (images, labels, *each)), strict=True))
    with (
        torch.inference_mode(False), torch.enable_grad(), evaluation(model), _normalised(model, compat) as normalize,
        prepared(model, [len(x) for x, *_ in batches], (low, high)) as run,
    ):  # fmt: skip
        shown = tqdm(batches, title, leave=False, unit="batch", disable=None) if progress else batches
        for batch in shown:
            x, y, *own = (rows.detach().to(home, copy=True) for rows in batch)
            if normalize is None:
                found = attack(run, x, y, *own)
            elif x.shape[1] != len(normalize.mean):
                raise ValueError(f"compat needs images of {len(normalize.mean)} channels; got {x.shape[1]}")
            else:
                z = normalize(x)
                moved = attack(run, z, y, *own)
                found = torch.where(moved == z, x, moved * normalize.std + normalize.mean)  # no rounding elsewhere
            done.append(found.detach().clamp(0, 1).to(images))
    return torch.cat(done)


def uphill(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """Returns the gradient by images `[N, ...]` of each one's cross-entropy; the model's own stay as they are."""
    x = x.detach().requires_grad_()
    (found,) = torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)
    return found


def widened(x: Tensor) -> Tensor:
    """Returns images in float32 at least: in sixteen bits the gradient of an image that is known well is 0."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def fooled(model: Model, x: Tensor, y: Tensor) -> Tensor:
    """Returns which images are not taken for their label, bool `[N]`."""
    with torch.no_grad():
        return model(x).argmax(1) != y


def norms(x: Tensor) -> Tensor:
    """Returns the L2 norm of each row's entries, `[N, 1, 1, 1]`."""
    return x.flatten(1).norm(dim=1).view(-1, *[1] * (x.dim() - 1))


def generators(images: Tensor, seed: int) -> list[torch.Generator]:
    """Returns a source of random numbers for each image, from the seed and the image's own bytes.

    So an image meets the same numbers alone, in any batch and on any device.
    """
    rows = images.detach().cpu().contiguous().flatten(1).view(torch.uint8)
    return [torch.Generator().manual_seed(crc32(row.numpy().tobytes(), seed & 0xFFFFFFFF)) for row in rows]


def within(found: Tensor, x: Tensor, eps: float | Tensor, norm: str) -> Tensor:
    """Puts images back into the ball of radius eps around the originals where rounding has left it.

    In the largest change of a pixel it is the ball to the last bit; in the L2 norm, as float64 sums it.
    """
    if norm == "linf":
        low, high = farthest(torch.stack([-x, x]), eps)  # once, as a GPU takes longer to launch it than to do it
        return torch.minimum(torch.maximum(found, -low), high)
    exact, change, less = x.double(), found - x, 1e-7
    while bool((far := norms(found.double() - exact) > eps).any()):
        found, less = torch.where(far, x + (1 - less) * change, found), 2 * less
    return found


def farthest(x: Tensor, way: float | Tensor) -> Tensor:
    """Returns the number next to x + way that is no farther from x than that, in the type of x."""
    exact = x.double()
    end = exact + way
    back = end - exact
    lost = (exact - (end - back)) + (way - back)  # what the sum was rounded by, without error (Knuth's two-sum)
    bound = end.to(x.dtype)
    beyond = bound.double() - end
    outside = torch.where(end > exact, beyond > lost, beyond < lost)
    return torch.where(outside, torch.nextafter(bound, x), bound)


def check_eps(eps: float, norm: str = "linf") -> None:
    """Refuses a radius that is no radius, or is in grey levels."""
    if not eps > 0:
        raise ValueError(f"eps must be above 0; got {eps}")
    if norm == "linf" and eps > 1:
        raise ValueError(f"eps must be at most 1, the range of the images; got {eps}: divide grey levels by 255")


def check_images(images: Tensor, labels: Any) -> Tensor:
    """Returns the labels, int64 `[N]`, if images and labels are what an attack takes."""
    if not isinstance(images, Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"images must be a floating tensor in [0, 1]; got {kind}")
    if images.dim() != 4 or not len(images):
        raise ValueError(f"images must have shape [N, C, H, W], N at least 1; got {list(images.shape)}")
    low, high = torch.stack(images.aminmax()).tolist()
    if not (low >= 0 and high <= 1):
        seems = ": they look normalised; pass pixels, and let the model's first layer normalise them" if low < 0 else ""
        raise ValueError(f"images must be in [0, 1]; they range from {low:.3g} to {high:.3g}{seems}")
    return class_numbers(labels, len(images))


def check_targets(targets: Tensor, labels: Tensor) -> Tensor:
    """Returns target classes, int64 `[N]`, none of which is the true one: towards that an attack would do nothing."""
    targets = torch.as_tensor(targets)
    if targets.shape != labels.shape or targets.dtype not in INTEGERS:
        raise ValueError(f"targets must be integers of shape {list(labels.shape)}; got {list(targets.shape)}")
    same = int((targets == labels.to(targets.device)).sum())
    if same:
        raise ValueError(f"targets must differ from the true classes; {same} of {len(labels)} are the true class")
    return targets.long()


def normalization(model: nn.Module) -> Normalize:
    """Returns the layer in which a model normalises its images.

    Raises:
        ValueError: If it has none.
    """
    for module in model.modules():
        if isinstance(module, Normalize):
            return module
    raise ValueError(
        "the model has no graphmod.models.Normalize layer; what was published was done to normalised images"
    )


@contextmanager
def _normalised(model: nn.Module, compat: Compat) -> Iterator[Normalize | None]:
    """Takes a model's normalisation out for a while."""
    if compat is None:
        yield None
        return
    normalize = normalization(model)
    outside = Normalize(normalize.mean.flatten().tolist(), normalize.std.flatten().tolist()).to(normalize.mean)
    theirs = {name: value for name, value in vars(normalize).items() if name == "forward"}  # such as a patcher sets
    normalize.forward = lambda x: x  # type: ignore[method-assign]
    try:
        yield outside
    finally:
        del normalize.forward
        vars(normalize).update(theirs)
