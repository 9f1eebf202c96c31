"""ResNets for 32 × 32 images: the thin ones of He et al.'s CIFAR section, and the ImageNet ones with a small stem."""

from collections.abc import Sequence

from torch import nn

from ._normalize import IMAGENET_MEAN, IMAGENET_STD
from ._residual import ResNet

LAYERS = ("conv1", "layer*.*")
"""The published choice: the first convolution before its norm, and each block's output after its last ReLU."""

THIN = (20, 32, 44, 56, 110)
WIDE = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


def resnet(
    num_classes: int = 10,
    *,
    depth: int = 20,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> nn.Module:
    """Builds a ResNet for images `[N, 3, 32, 32]` in [0, 1].

    Args:
        num_classes: Number of outputs.
        depth: 20, 32, 44, 56 or 110: three stages of 16, 32 and 64 channels, shortcuts without parameters (option A).
            18, 34, 50, 101 or 152: four stages of 64 to 512 channels (times 4 from depth 50 on), projection shortcuts.
        mean: Mean of each channel of images in [0, 1].
        std: Standard deviation of each channel.

    Raises:
        ValueError: If there is no ResNet of that depth.

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2 (thin) and table 1 (wide; a
        3 × 3 first convolution without pooling, as is usual for 32 × 32 images).
    """
    if depth in THIN:
        return ResNet(num_classes, [(depth - 2) // 6] * 3, 16, layers=LAYERS, mean=mean, std=std, pad=True)
    if depth in WIDE:
        blocks, bottleneck = WIDE[depth]
        return ResNet(num_classes, blocks, 64, layers=LAYERS, mean=mean, std=std, bottleneck=bottleneck)
    raise ValueError(f"there is no ResNet of depth {depth}; choose {', '.join(map(str, sorted([*THIN, *WIDE])))}")
