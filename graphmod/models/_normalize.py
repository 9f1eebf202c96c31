"""The first layer of every model."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """Subtracts each channel's mean and divides by its standard deviation; holds no weights.

    A grey image, of one channel, counts as one whose channels are alike.

    Args:
        mean: Mean of each channel, of images in [0, 1].
        std: Standard deviation of each channel.

    Example:
        >>> Normalize([0.5], [0.25])(torch.ones(1, 1, 1, 1)).item()
        2.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or min(std) <= 0:
            raise ValueError(f"mean and std must have one entry a channel, std above 0; got {mean} and {std}")
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises images `[N, C, H, W]`, or grey ones `[N, 1, H, W]`."""
        if x.dim() != 4 or x.shape[1] not in (1, len(self.mean)):
            raise ValueError(f"images must have shape [N, {len(self.mean)}, H, W]; got {list(x.shape)}")
        return (x - self.mean) / self.std


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
