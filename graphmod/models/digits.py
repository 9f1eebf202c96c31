"""A small residual network for scikit-learn's handwritten digits."""

from collections.abc import Sequence

from torch import nn

from ._residual import ResNet

LAYERS = ("conv1", "layer*.*")
"""The first convolution before its norm, and each block's output after its last ReLU, as for every ResNet."""


def digits(num_classes: int = 10, *, mean: Sequence[float] = (0.305,), std: Sequence[float] = (0.376,)) -> nn.Module:
    """Builds a ResNet-20 of half the width for images `[N, 1, 8, 8]` in [0, 1].

    Args:
        num_classes: Number of outputs.
        mean: Mean of the pixels in [0, 1].
        std: Standard deviation of the pixels.
    """
    return ResNet(num_classes, (3, 3, 3), 8, layers=LAYERS, mean=mean, std=std, pad=True)
