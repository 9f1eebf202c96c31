"""The classifiers of torchvision behind a normalising first layer."""

from collections.abc import Sequence

from torch import nn

from .._names import unknown
from ._normalize import IMAGENET_MEAN, IMAGENET_STD, Normalized


def torchvision_model(
    name: str,
    num_classes: int,
    *,
    pretrained: bool,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> nn.Module:
    """Builds a classifier of `torchvision.models`, with torchvision's default weights if `pretrained`."""
    from torchvision import models

    if name not in models.list_models(module=models):
        raise ValueError(unknown("torchvision model", name, models.list_models(module=models)))
    options = {"weights": "DEFAULT"} if pretrained else {"num_classes": num_classes}
    return Normalized(models.get_model(name, **options), mean, std)
