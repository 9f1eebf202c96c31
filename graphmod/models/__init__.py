"""Networks, an open family: the file `<name>.py` holds `<name>(num_classes, ...) -> Module`, and `LAYERS`.

Every model takes images in [0, 1] and normalises them in its first layer. `LAYERS` states which layers `"blocks"`
means. A number at the end of a model's name is its depth: `"resnet56"` is `resnet(num_classes, depth=56)`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .._family import member, members
from .._files import shipped
from .._names import unknown
from .._steps import seeded
from ..manifest import note_input
from ._weights import load_weights, save_weights

__all__ = ["build", "load_weights", "networks", "outputs_for", "save_weights"]


def networks(entries: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Reads networks as they are named on a command line, for `build(name, weights=weights)`.

    Args:
        entries: `"NAME"`, with the weights that come with it; `"NAME=FILE"`; or `"NAME=none"` for random weights.

    Returns:
        Name and weights by a label for tables and legends: the name, or with the file's for the second of that name.

    Raises:
        ValueError: If two entries have one label.

    Example:
        >>> networks(["digits", "digits=other.pt", "digits=none"])
        {'digits': ('digits', 'default'), 'digits other': ('digits', 'other.pt'), 'digits random': ('digits', None)}
    """
    found: dict[str, tuple[str, str | None]] = {}
    for entry in entries:
        name, _, weights = entry.partition("=")
        label = f"{name} random" if weights == "none" else name
        if label in found and weights not in ("", "none"):
            label = f"{name} {Path(weights).stem}"
        if label in found:
            raise ValueError(f"there are two networks {label!r}; name each of them once")
        found[label] = name, None if weights == "none" else weights or "default"
    return found


def outputs_for(classes: Sequence[str], weights: str | Path | None) -> int | None:
    """Returns the `num_classes` of a network whose layers are studied, not its predictions.

    Weights that come with a network keep their own, whatever the classes of the data.

    Args:
        classes: Names of the classes of the data.
        weights: As in `build`.

    Example:
        >>> outputs_for(["cat", "dog"], None), outputs_for(["cat", "dog"], "default")
        (2, None)
    """
    return None if weights == "default" else len(classes)


def build(
    name: str,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
) -> nn.Module:
    """Builds a network by name.

    Args:
        name: A file of this folder, with the depth where it has several: `"digits"`, `"resnet20"`, `"vgg16"`; or
            `"torchvision:NAME"` or `"timm:NAME"` for any classifier of theirs.
        num_classes: Number of outputs; if None, that of the weights that come with torchvision or timm, and else 10.
        weights: A file (a PyTorch state dict or safetensors); `"default"` for those that come with graphmod (`digits`)
            or with torchvision or timm (a download); None for random ones.
        mean: Mean of each channel, of images in [0, 1], that the weights were trained with; the model's own if None.
        std: Standard deviation of each channel, likewise.
        device: Where the model is put; where torch puts new tensors if None.
        seed: Seed of random weights; torch's own generator is left as it was.

    Returns:
        A module in evaluation mode that takes images `[N, C, H, W]` in [0, 1] and returns logits `[N, num_classes]`.

    Raises:
        ValueError: If there is no such model, depth or device, no default weights, or weights that do not fit, such as
            default weights of torchvision or timm for another `num_classes`.
        FileNotFoundError: If the file of weights does not exist.

    Example:
        >>> build("digits", weights="default")(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    options: dict[str, Any] = {} if mean is None else {"mean": tuple(mean)}
    options |= {} if std is None else {"std": tuple(std)}
    kind, _, rest = name.partition(":")
    if num_classes is None and weights != "default":
        num_classes = 10
    with seeded(seed, torch.get_default_device()):
        if kind in ("torchvision", "timm") and rest:
            from ._timm import timm_model
            from ._torchvision import torchvision_model

            theirs = torchvision_model if kind == "torchvision" else timm_model
            model = theirs(rest, num_classes, pretrained=weights == "default", **options)
            weights = None if weights == "default" else weights
        else:
            model = _from_family(name)(10 if num_classes is None else num_classes, **options)
    given = None if weights == "default" else weights
    if weights == "default":
        weights = shipped(f"{name}.safetensors")
        if not weights.is_file():
            raise ValueError(f"no weights come with {name}; pass a file of weights, or none for random ones")
    if weights is not None:
        load_weights(model, weights)
    note_input("model", name, model.state_dict().values(), file=given)
    try:
        return model.eval().to(device) if device else model.eval()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from error


def _from_family(name: str) -> Any:
    if name in members(__name__):
        return member(__name__, name)
    family = name.rstrip("0123456789")
    depth = name[len(family) :]
    if not 0 < len(depth) < 5 or family not in members(__name__):
        known = [*members(__name__), "torchvision:resnet50", "timm:resnet50"]
        if (lower := name.lower()) != name and lower.rstrip("0123456789") in members(__name__):
            known.append(lower)
        raise ValueError(unknown("model", name, known))
    return lambda num_classes, **options: member(__name__, family)(num_classes, depth=int(depth), **options)
