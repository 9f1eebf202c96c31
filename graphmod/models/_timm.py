"""The classifiers of timm behind a normalising first layer."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from .._names import unknown
from ._normalize import Normalized
from ._weights import check_outputs


def timm_model(
    name: str,
    num_classes: int | None,
    *,
    pretrained: bool,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> nn.Module:
    """Builds a classifier of timm, with its default weights if `pretrained`; mean and std are those of these weights.

    Raises:
        ImportError: If timm is not installed.
        ValueError: If it has no such model, or the weights have another number of classes.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError("models of timm need the package timm: pip install timm") from error
    if not timm.is_model(name):
        raise ValueError(unknown("timm model", name, timm.list_models()))
    if pretrained:
        config: Any = timm.get_pretrained_cfg(name)
        check_outputs(f"timm:{name}", config.num_classes, num_classes)
    network = (
        timm.create_model(name, pretrained=True) if pretrained else timm.create_model(name, num_classes=num_classes)
    )
    config = network.pretrained_cfg
    return Normalized(network, mean or config["mean"], std or config["std"])
