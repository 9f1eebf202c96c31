"""VGG networks with batch norm for 32 × 32 images."""

from collections.abc import Sequence

from torch import Tensor, nn

from ._normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize

LAYERS = ("features.*:Conv2d",)
"""The published choice: each convolution's output, before its norm and its ReLU."""

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Stages of 3 × 3 convolutions with a pooling after each, and one linear layer."""

    def __init__(
        self, num_classes: int, convolutions: Sequence[int], *, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.LAYERS = LAYERS
        self.normalize = Normalize(mean, std)
        modules: list[nn.Module] = []
        channels = len(mean)
        for num_convolutions, width in zip(convolutions, WIDTHS, strict=True):
            for _ in range(num_convolutions):
                modules += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            modules.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*modules)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Takes images `[N, 3, 32, 32]` in [0, 1] to logits `[N, num_classes]`."""
        logits: Tensor = self.classifier(self.features(self.normalize(x)).mean(dim=(2, 3)))
        return logits


def vgg(
    num_classes: int = 10,
    *,
    depth: int = 16,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> nn.Module:
    """Builds a VGG with batch norm for images `[N, 3, 32, 32]` in [0, 1].

    Args:
        num_classes: Number of outputs.
        depth: 11, 13, 16 or 19; on 32 × 32 images one linear layer stands for the three of the original.
        mean: Mean of each channel of images in [0, 1].
        std: Standard deviation of each channel.

    Raises:
        ValueError: If there is no VGG of that depth.

    Reference:
        Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
    """
    if depth not in CONVOLUTIONS:
        raise ValueError(f"there is no VGG of depth {depth}; choose {', '.join(map(str, CONVOLUTIONS))}")
    return VGG(num_classes, CONVOLUTIONS[depth], mean=mean, std=std)
