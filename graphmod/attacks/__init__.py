"""Attacks, an open family: the file `<name>.py` holds `<name>(model, images, labels, ...) -> Tensor`.

An attack takes images in [0, 1] and a model that normalises them itself, and returns images in [0, 1] of their shape.
Perturbations are measured in these units: 8 of 255 grey levels is `eps=8/255`. With `compat="lu2022"` an attack runs as
the code of Lu et al. 2022 ran it: on the normalised images, as if their range were [0, 1], with the settings published.
"""

import inspect
from collections.abc import Callable
from functools import partial

from torch import Tensor

from .._family import member
from ._inputs import check_eps as check_eps


def find_attack(name: str) -> Callable[..., Tensor]:
    """Returns a member of the family by its name, or an attack of the Adversarial Robustness Toolbox as `"art:NAME"`.

    Args:
        name: `"pgd"`, or `"art:DeepFool"`, which needs the extra `graphmod[art]`.

    Returns:
        The attack, to be called with a model, images, labels and its own settings.

    Raises:
        ValueError: If there is no such attack; the message names the nearest.

    Example:
        >>> find_attack("fgsm").__name__
        'fgsm'
    """
    kind, _, rest = name.partition(":")
    if kind == "art" and rest:
        from ._art import art_attack

        return partial(art_attack, rest)
    return member(__name__, name)


def attack_settings(name: str) -> set[str]:
    """Returns the names of the settings that an attack has, beside the model, the images and the labels.

    Args:
        name: As in `find_attack`.

    Raises:
        ValueError: If there is no such attack.

    Example:
        >>> sorted(attack_settings("fgsm"))
        ['batch_size', 'compat', 'eps', 'progress']
    """
    if name.startswith("art:"):
        from ._art import art_settings

        return art_settings(name.removeprefix("art:"))
    return set(list(inspect.signature(find_attack(name)).parameters)[3:])
