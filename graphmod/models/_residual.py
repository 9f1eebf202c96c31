"""Residual networks for small images (He et al., "Deep Residual Learning", CVPR 2016)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ._normalize import Normalize


class PadShortcut(nn.Module):
    """He et al.'s option A: every second pixel, and zeros for the channels that are new. It has no parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        before = (out_channels - in_channels) // 2
        self.padding = (0, 0, 0, 0, before, out_channels - in_channels - before)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[N, C, H, W]` to `[N, C', H / stride, W / stride]`."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


class ResidualBlock(nn.Module):
    """relu(F(x) + shortcut(x)), F of two 3 × 3 convolutions or, as a bottleneck, of 1 × 1, 3 × 3 and 1 × 1."""

    def __init__(self, in_channels: int, channels: int, stride: int, *, bottleneck: bool, pad: bool) -> None:
        super().__init__()
        out_channels = 4 * channels if bottleneck else channels
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        widths = (in_channels, channels, channels, out_channels) if bottleneck else (in_channels, channels, channels)
        self.depth = len(kernels)
        for i, kernel in enumerate(kernels):
            step = stride if i == len(kernels) - 2 else 1  # on the 3 × 3 convolution
            convolution = nn.Conv2d(widths[i], widths[i + 1], kernel, step, padding=kernel // 2, bias=False)
            self.add_module(f"conv{i + 1}", convolution)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.shortcut: nn.Module
        if stride == 1 and in_channels == out_channels:
            self.shortcut = nn.Sequential()
        elif pad:
            self.shortcut = PadShortcut(in_channels, out_channels, stride)
        else:
            convolution = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[N, C, H, W]` to `[N, C', H / stride, W / stride]`."""
        residual = x
        for i in range(1, self.depth + 1):
            residual = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(residual))
            residual = F.relu(residual) if i < self.depth else residual
        return F.relu(residual + self.shortcut(x))


class ResNet(nn.Module):
    """A first convolution, stages `layer1`, `layer2`, … of residual blocks, an average over pixels, a linear layer.

    Args:
        num_classes: Number of outputs.
        blocks: Blocks in each stage. The first stage keeps the image's size, each further one halves it and doubles
            the channels.
        width: Channels of the first stage.
        layers: What `"blocks"` selects, see `graphmod.layer_names`.
        mean: Mean of each channel of images in [0, 1].
        std: Standard deviation of each channel.
        bottleneck: Blocks of three convolutions instead of two, with four times the channels at their ends.
        pad: Shortcuts without parameters (option A) where the shape changes, instead of 1 × 1 convolutions (option B).
    """

    def __init__(
        self,
        num_classes: int,
        blocks: Sequence[int],
        width: int,
        *,
        layers: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        bottleneck: bool = False,
        pad: bool = False,
    ) -> None:
        super().__init__()
        self.LAYERS = tuple(layers)
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(len(mean), width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for stage, num_blocks in enumerate(blocks):
            inner = width * 2**stage
            modules = []
            for i in range(num_blocks):
                stride = 2 if stage and not i else 1
                modules.append(ResidualBlock(channels, inner, stride, bottleneck=bottleneck, pad=pad))
                channels = 4 * inner if bottleneck else inner
            self.add_module(f"layer{stage + 1}", nn.Sequential(*modules))
        self.stages = len(blocks)
        self.linear = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Takes images `[N, C, H, W]` in [0, 1] to logits `[N, num_classes]`."""
        x = F.relu(self.bn1(self.conv1(self.normalize(x))))
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits
