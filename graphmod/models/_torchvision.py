"""The classifiers of torchvision behind a normalising first layer."""

from collections.abc import Sequence

from torch import Tensor, nn

from .._names import unknown
from ._normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize


class Normalized(nn.Module):
    """A network that takes images in [0, 1]: `network(normalize(x))`; its weights are the network's own."""

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Takes images `[N, C, H, W]` in [0, 1] and returns logits."""
        logits: Tensor = self.network(self.normalize(x))
        return logits


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
