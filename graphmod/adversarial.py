"""Images attacked, beside their controls: which are attacked, how often it works, and how large the change is."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from ._family import members
from ._files import readable
from ._finished import Finished
from ._names import unknown
from .attacks import attack_settings, find_attack
from .inputs import predictions
from .models._normalize import Normalize
from .samples import draw


def recognized(model: nn.Module, images: Tensor, labels: Tensor, num_samples: int, *, seed: int = 0) -> Tensor:
    """Draws images that a network takes for what they are: only those can be fooled.

    Args:
        model: A classifier of `images`.
        images: `[N, C, H, W]`.
        labels: Int64 `[N]`.
        num_samples: How many, stratified by class.
        seed: Seed of the draw.

    Returns:
        Row numbers, int64 `[num_samples]`, rising.

    Raises:
        ValueError: If the network is right on fewer.
    """
    right = (predictions(model, images).argmax(1) == labels).nonzero().flatten()
    if len(right) < num_samples:
        raise ValueError(
            f"{num_samples} images are to be attacked, and the network is right on {len(right)} of {len(labels)}; "
            "lower num_samples or take more images"
        )
    return right[draw(labels[right], num_samples, seed=seed)[0]].sort().values


def attacked(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    name: str,
    *,
    batch_size: int = 100,
    progress: bool = True,
    **settings: Any,
) -> Tensor:
    """Attacks images; in a study each finished batch is kept, so that a stopped one goes on from there.

    Args:
        model: A classifier of images in [0, 1].
        images: `[N, C, H, W]` in [0, 1].
        labels: Int64 `[N]`, the true classes.
        name: As in `graphmod.attacks.find_attack`.
        batch_size: Images at a time.
        progress: Shows a progress bar on a terminal.
        **settings: Of the attack; a tensor of one entry an image is split with the images.

    Returns:
        Images of the same shape.

    Raises:
        ValueError: As the attack.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    attack, done = find_attack(name), []
    parts = list(torch.arange(len(images)).split(batch_size))
    for rows in tqdm(parts, name, leave=False, unit="batch", disable=not progress or None):
        own = {key: one[rows] if isinstance(one, Tensor) and one.dim() else one for key, one in settings.items()}
        x, y = images[rows], labels[rows]
        work = Finished("attack", attack, model, x, y, own)
        if file := work.done("images"):
            with readable(file, "the images of this attack"):
                done.append(load_file(file)["images"].view_as(x).to(images.device))
            continue
        found = attack(model, x, y, batch_size=batch_size, progress=False, **own)
        work.keep("images", partial(save_file, {"images": found.contiguous().cpu()}))
        done.append(found)
    return torch.cat(done)


def attacks_and_controls(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attacks: Sequence[str],
    settings: Mapping[str, Any],
    *,
    progress: bool = True,
) -> dict[str, Tensor]:
    """Attacks images in several ways, and puts controls beside them.

    Args:
        model: A classifier of images in [0, 1].
        images: `[N, C, H, W]` in [0, 1].
        labels: Int64 `[N]`, the true classes.
        attacks: Names as in `graphmod.attacks.find_attack`.
        settings: Such as `eps`, `seed` and `compat`, each for the attacks and controls that have it.
        progress: Shows progress bars on a terminal.

    Returns:
        The images of each attack by name, and of the controls: `clip_only`, if the model has a `Normalize` layer;
        `noise`, uniform, of the same eps; and `gaussian`, on each image of the L2 norm of the first attack.

    Raises:
        ValueError: If no attack is named, there is no such setting, or as the attacks.
    """
    if not attacks:
        raise ValueError("attacks must name one or more; got none")
    known = {key for name in [*attacks, *members(find_attack.__module__)] for key in attack_settings(name)}
    for name in settings:
        if name not in known:
            raise ValueError(unknown("setting", name, known))
    own = {
        name: {key: settings[key] for key in settings if key in attack_settings(name)} for name in [*attacks, "noise"]
    }
    found = {name: attacked(model, images, labels, name, progress=progress, **own[name]) for name in attacks}
    if any(isinstance(module, Normalize) for module in model.modules()):
        found["clip_only"] = attacked(model, images, labels, "clip_only", progress=progress)
    found["noise"] = attacked(model, images, labels, "noise", progress=progress, **own["noise"])
    size = (found[attacks[0]] - images).flatten(1).norm(dim=1)
    normal = {**own["noise"], "eps": size, "distribution": "gaussian"}
    found["gaussian"] = attacked(model, images, labels, "noise", progress=progress, **normal)
    return found


def attack_strength(model: nn.Module, images: Tensor, labels: Tensor, conditions: Mapping[str, Tensor]) -> pd.DataFrame:
    """Says how often each attack succeeds, how sure the network is then, and how large the change is.

    Args:
        model: The network.
        images: `[N, C, H, W]` in [0, 1], as they were.
        labels: Int64 `[N]`.
        conditions: The same images after each attack, by name.

    Returns:
        One row a condition: `condition`, `num_samples`, `success` (share that the network takes for another class),
        `confidence` (mean softmax of what it takes them for), and over the images that changed the medians `l0` (pixels
        that changed in any channel), `l2` and `linf` of the change.

    Example:
        >>> x, y = torch.eye(2).view(2, 2, 1, 1), torch.tensor([0, 1])
        >>> attack_strength(nn.Flatten(), x, y, {"swap": x.flip(0)})[["success", "l0", "linf"]].values.tolist()
        [[1.0, 1.0, 1.0]]
    """
    rows = []
    for name, found in conditions.items():
        probabilities = predictions(model, found).softmax(1)
        change = (found - images).double()
        moved = change.flatten(1).abs().amax(1) > 0
        change = change[moved]
        sizes = {
            "l0": (change != 0).any(1).flatten(1).sum(1).double(),
            "l2": change.flatten(1).norm(dim=1),
            "linf": change.flatten(1).abs().amax(1),
        }
        rows.append(
            {
                "condition": name,
                "num_samples": len(found),
                "success": float((probabilities.argmax(1) != labels).double().mean()),
                "confidence": float(probabilities.amax(1).double().mean()),
                **{key: float(one.quantile(0.5)) if len(one) else 0.0 for key, one in sizes.items()},
            }
        )
    return pd.DataFrame(rows)
