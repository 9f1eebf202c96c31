"""Images on their way into a training: random shifts and mirror images, on the device where they are."""

import torch
import torch.nn.functional as F
from torch import Tensor


def augmented(images: Tensor, shift: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Random crops of images padded by `shift` zeros, and mirror images of half of them, on the images' device.

    The numbers are drawn on the CPU, alike for all devices, and sent without waiting for the device.
    """
    home = images.device
    if shift:
        size = images.shape[-2:]
        padded = F.pad(images, (shift,) * 4)
        corner = torch.randint(2 * shift + 1, (2, len(images)), generator=generator).to(home, non_blocking=True)
        rows = (corner[0][:, None] + torch.arange(size[0], device=home))[:, None, :, None]
        columns = (corner[1][:, None] + torch.arange(size[1], device=home))[:, None, None, :]
        channel = torch.arange(images.shape[1], device=home)[None, :, None, None]
        images = padded[torch.arange(len(images), device=home)[:, None, None, None], channel, rows, columns]
    if flip:
        mirrored = (torch.rand(len(images), generator=generator) < 0.5).to(home, non_blocking=True)
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return images
