"""Batch norm after a removal: statistics that fit what the layers now see."""

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ._passes import copied
from .inputs import forward


def reestimate_batch_norm(
    model: nn.Module, images: Tensor, *, batch_size: int = 256, num_batches: int | None = None
) -> nn.Module:
    """Returns a copy whose batch norms have the means and variances of these images, which need no labels.

    After a removal the layers behind see other numbers than those that their statistics were taken from; this repairs
    the statistics, without any training. They are plain averages over the batches, each normalised by itself on its
    way, of the mean and the unbiased variance.

    Args:
        model: The network; it stays as it is.
        images: `[N, ...]`, at least two, uint8 in [0, 255], divided by 255, or floating; in an order that mixes the
            classes, or the batches are not alike.
        batch_size: Images in one forward pass, at least 2; the parts are as equal as can be, none of a single image.
        num_batches: Takes the first `num_batches * batch_size` images only; all if None.

    Returns:
        A deep copy in evaluation mode, with the same weights; a norm that no image reaches keeps its statistics.

    Raises:
        ValueError: If there are fewer than two images, or `batch_size` or `num_batches` is too low.

    Example:
        >>> model = reestimate_batch_norm(nn.BatchNorm1d(1), torch.tensor([[1.0], [3.0]]))
        >>> model.running_mean.item(), model.running_var.item()
        (2.0, 2.0)

    Reference:
        Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", ECCV 2020, section 3.2.
    """
    if len(images) < 2:
        raise ValueError(f"batch norm needs at least two images; got {len(images)}")
    if batch_size < 2 or (num_batches is not None and num_batches < 1):
        raise ValueError(f"batch_size must be at least 2 and num_batches 1; got {batch_size} and {num_batches}")
    copy = copied(model).eval()
    momenta: dict[_BatchNorm, float | None] = {}
    counts: dict[_BatchNorm, int] = {}
    for module in copy.modules():
        if isinstance(module, _BatchNorm) and module.num_batches_tracked is not None:
            momenta[module], counts[module] = module.momentum, int(module.num_batches_tracked)
            module.num_batches_tracked.zero_()
            module.momentum = None  # a plain average over the batches, of which the first replaces what was there
            module.train()
    images = images[: num_batches and num_batches * batch_size]
    parts = min(math.ceil(len(images) / batch_size), len(images) // 2)
    with torch.no_grad():
        for x in images.tensor_split(parts):
            forward(copy, x)
    for module, momentum in momenta.items():
        module.momentum = momentum
        if module.num_batches_tracked == 0:  # no image has reached it
            module.num_batches_tracked.fill_(counts[module])
    return copy.eval()
