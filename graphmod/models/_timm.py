"""The classifiers of timm behind a normalising first layer."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from .._names import unknown
from ._normalize import Normalized


def timm_model(
    name: str,
    num_classes: int,
    *,
    pretrained: bool,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> nn.Module:
    """Builds a classifier of timm, with its default weights if `pretrained`; mean and std are those of these weights.

    Raises:
        ValueError: If timm is not installed, or has no such model.
    """
    try:
        import timm
    except ImportError as error:
        raise ValueError("models of timm need the package timm: pip install timm") from error
    if not timm.is_model(name):
        raise ValueError(unknown("timm model", name, timm.list_models()))
    network = (
        timm.create_model(name, pretrained=True) if pretrained else timm.create_model(name, num_classes=num_classes)
    )
    config: Any = network.pretrained_cfg
    return Normalized(network, mean or config["mean"], std or config["std"])
