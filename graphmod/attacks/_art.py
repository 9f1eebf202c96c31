"""Attacks of the Adversarial Robustness Toolbox, `"art:NAME"`."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._names import nearest
from .._passes import copied
from .._steps import seeded
from .._tensors import check_classes
from ..inputs import forward, output_tensor
from ._inputs import Model, by_batch, check_images, check_targets

TARGETED_ONLY = {"SaliencyMapMethod"}
"""What reads the labels it is given as targets, and does nothing to an image whose target is its class."""


def art_attack(
    name: str,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor | None = None,
    batch_size: int = 100,
    seed: int = 0,
    progress: bool = True,
    **settings: Any,
) -> Tensor:
    """Runs an evasion attack of the Adversarial Robustness Toolbox.

    Args:
        name: Its class in `art.attacks.evasion`, such as `"DeepFool"`, `"SquareAttack"` or `"AutoAttack"`.
        model: A classifier of images in [0, 1]; the attack works on a copy.
        images: Floating `[N, C, H, W]` in [0, 1].
        labels: Integers `[N]`, the true classes.
        targets: Integers `[N]`, the classes that the images are to be taken for; any wrong one if None.
        batch_size: Images at a time.
        seed: Seed of NumPy's and torch's generators while it runs; they are put back afterwards.
        progress: Shows a progress bar on a terminal.
        **settings: Of that class, such as `max_iter=50`.

    Returns:
        Images `[N, C, H, W]` in [0, 1].

    Raises:
        ImportError: If the toolbox is not installed.
        TypeError: If images are not floating, labels not integers, or a setting is unknown.
        ValueError: If images are outside [0, 1], labels do not fit, there is no such attack, or it needs targets.
    """
    kind, (estimator, *known) = _find(name)
    labels = check_images(images, labels)
    aims = labels if targets is None else check_targets(targets, labels)
    if targets is None and (name in TARGETED_ONLY or settings.get("targeted")):
        raise ValueError(f"art:{name} needs targets: towards the true class it would do nothing")
    if unknown := set(settings).difference(known):
        raise TypeError(f"art:{name} has no setting {min(unknown)!r}; {nearest(min(unknown), known)}")
    settings |= {"verbose": False} if "verbose" in known else {}
    settings |= {"targeted": True} if targets is not None and "targeted" in known else {}
    settings |= {"batch_size": batch_size} if "batch_size" in known else {}
    from art.estimators.classification import PyTorchClassifier

    copy = _Logits(copied(model)).eval()
    home = next(model.parameters(), images).device
    with torch.no_grad():
        num_classes = copy(images[:1].to(home)).shape[1]
    check_classes(int(labels.min()), int(labels.max()), num_classes)
    here = torch.cuda.device(home) if home.type == "cuda" else nullcontext()  # the toolbox takes the current GPU
    with here:
        classifier = PyTorchClassifier(
            copy, nn.CrossEntropyLoss(), tuple(images.shape[1:]), num_classes, clip_values=(0.0, 1.0),
            device_type="cpu" if home.type == "cpu" else "gpu",
        )  # fmt: skip
    runner = kind(**{estimator: classifier}, **settings)

    def attack(_model: Model, x: Tensor, _y: Tensor, aim: Tensor) -> Tensor:
        found = runner.generate(x.cpu().float().numpy(), y=aim.cpu().numpy())
        return torch.from_numpy(np.asarray(found)).to(x)

    with _seeded(seed, home), here:
        return by_batch(f"art:{name}", attack, model, images, labels, aims, batch_size=batch_size, progress=progress)


class _Logits(nn.Module):
    """A network whose output is the tensor that stands for it, in float32, as the toolbox wants it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return output_tensor(forward(self.network, x)).float()


def art_settings(name: str) -> set[str]:
    """Returns the names of the settings of an attack, those of `art_attack` and those of its class."""
    return {"targets", "batch_size", "seed", "progress", *_find(name)[1][1:]}


def _find(name: str) -> tuple[Any, list[str]]:
    """The class of an attack and the names of its parameters, of which the first is the classifier."""
    try:
        from art.attacks import evasion
    except ImportError as error:
        raise ImportError("art:NAME needs the Adversarial Robustness Toolbox: pip install 'graphmod[art]'") from error
    kinds: dict[str, Any] = {one: kind for one, kind in vars(evasion).items() if inspect.isclass(kind)}
    if name not in kinds:
        raise ValueError(f"the toolbox has no evasion attack {name!r}; {nearest(name, kinds)}")
    return kinds[name], list(inspect.signature(kinds[name]).parameters)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds the generators that the toolbox draws from, for a while."""
    before = np.random.get_state()  # noqa: NPY002 - it is the legacy generator that the toolbox draws from
    with seeded(seed, device):
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
