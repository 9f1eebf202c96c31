"""A control: what clipping normalised images does by itself."""

from collections.abc import Sequence

from torch import Tensor, nn

from ._inputs import Model, by_batch, normalization


def clip_only(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    batch_size: int = 100,
    progress: bool = True,
) -> Tensor:
    """Normalises images, clips them to [0, 1] as if that were the range of pixels, and takes the normalisation back.

        x' = mean + std clip((x − mean) / std, 0, 1)

    Most of the published attacks did this to the images they returned: whatever is darker than the mean, or brighter by
    more than a standard deviation, is lost.

    Args:
        model: A classifier of images in [0, 1]; its `Normalize` layer says mean and std.
        images: Floating `[N, C, H, W]` in [0, 1].
        labels: Integers `[N]`, the true classes.
        mean: Mean of each channel; the model's if None.
        std: Standard deviation of each channel; the model's if None.
        batch_size: Images at a time.
        progress: Shows a progress bar on a terminal.

    Returns:
        Images `[N, C, H, W]` in [mean, mean + std].

    Raises:
        TypeError: If images are not floating, or labels not integers.
        ValueError: If images are outside [0, 1], labels do not fit, or the model does not normalise.

    Example:
        >>> import torch
        >>> x = torch.tensor([0.2, 0.6, 0.9]).view(1, 1, 1, 3)
        >>> clip_only(nn.Identity(), x, torch.tensor([0]), mean=[0.5], std=[0.25])
        tensor([[[[0.5000, 0.6000, 0.7500]]]])
    """
    if (mean is None) != (std is None):
        raise ValueError(f"mean and std must be given together, or neither; got {mean} and {std}")
    if mean is None or std is None:
        normalize = normalization(model)
        mean, std = normalize.mean.flatten().tolist(), normalize.std.flatten().tolist()

    def attack(_model: Model, x: Tensor, _y: Tensor) -> Tensor:
        low, size = (x.new_tensor(values).view(-1, 1, 1) for values in (mean, std))
        return x.clamp(low, low + size)

    return by_batch("clip_only", attack, model, images, labels, batch_size=batch_size, progress=progress)
