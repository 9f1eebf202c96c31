"""The classifiers of torchvision behind a normalising first layer."""

from collections.abc import Sequence

from torch import nn

from .._names import unknown
from ._normalize import IMAGENET_MEAN, IMAGENET_STD, Normalized
from ._weights import check_outputs


def torchvision_model(
    name: str,
    num_classes: int | None,
    *,
    pretrained: bool,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> nn.Module:
    """Builds a classifier of `torchvision.models`, with torchvision's default weights if `pretrained`.

    Raises:
        ValueError: If there is no such model, or the weights have another number of classes.
    """
    from torchvision import models

    if name not in models.list_models(module=models):
        raise ValueError(unknown("torchvision model", name, models.list_models(module=models)))
    if pretrained:
        theirs = len(models.get_model_weights(name)["DEFAULT"].meta["categories"])
        check_outputs(f"torchvision:{name}", theirs, num_classes)
    options = {"weights": "DEFAULT"} if pretrained else {"num_classes": num_classes}
    return Normalized(models.get_model(name, **options), mean, std)
