"""Labelled images by name: digits, a folder of images, torchvision's data sets, NumPy archives."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ._sources import Source, find_source
from .manifest import note_input
from .samples import Order, draw


@dataclass(frozen=True, eq=False)
class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Labelled images in memory, and a map-style data set of them.

    Attributes:
        images: Float32 `[N, C, H, W]` in [0, 1].
        labels: Int64 `[N]`, numbers of `classes`.
        ids: What each sample is called where it came from: a file's name, or its number.
        classes: The names of the classes, by number.
    """

    images: Tensor
    labels: Tensor
    ids: list[str]
    classes: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def names(self, rows: Tensor) -> list[str]:
        """Returns what the samples of some row numbers are called."""
        return [self.ids[row] for row in rows.tolist()]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]


def load(
    name: str,
    *,
    split: str = "test",
    num_samples: int | None = None,
    order: Order = "file",
    seed: int = 0,
    image_size: int | None = None,
    root: str | Path = "datasets",
    download: bool = False,
) -> Samples:
    """Reads labelled images. Only the samples that were asked for are decoded.

    Args:
        name: One of

            - `"digits"`: scikit-learn's handwritten digits, 8 × 8, grey; 797 to train, 1,000 to test, no download;
            - `"folder:PATH"`: one folder a class in `PATH/<split>` (or in `PATH`, which is then one part without
              splits), images of any format that Pillow reads, of 8 or 16 bits, as RGB, of at most
              `PIL.Image.MAX_IMAGE_PIXELS`. File order is by file name over all classes; links are followed;
            - `"torchvision:NAME"`: a class of `torchvision.datasets`, such as `CIFAR10`, kept in `root`; torchvision
              reads pickles only of files whose checksum it knows;
            - `"npz:PATH"`: a NumPy archive of `<split>_images` (uint8, or floating in [0, 1]; `[N, C, H, W]`,
              `[N, H, W, C]` or `[N, H, W]`) and `<split>_labels`, or of `images` and `labels`, one part without splits.
        split: `"train"` or `"test"`, or another that the data set has; of no effect where it is one part.
        num_samples: How many; all of them if None.
        order: `"file"` takes the first ones, `"stratified"` a draw in which every class has its share.
        seed: Seed of a stratified draw.
        image_size: Scales the shorter side to this many pixels and cuts out the centre; unchanged if None.
        root: Folder of torchvision's files.
        download: Lets torchvision download them.

    Raises:
        ValueError: If there is no such data set or split, too few samples, an image that cannot be read, a class folder
            without images, or images of unlike sizes.
        FileNotFoundError: If a path does not exist.

    Example:
        >>> digits = load("digits", num_samples=100)
        >>> digits.images.shape, digits.classes[:3]
        (torch.Size([100, 1, 8, 8]), ['0', '1', '2'])
    """
    return _read(find_source(name, split, root, download), name, split, num_samples, order, seed, image_size)


def load_train_and_test(
    name: str, *, image_size: int | None = None, root: str | Path = "datasets", download: bool = False
) -> tuple[Samples, Samples]:
    """Reads the images to train on and those that judge; where both would be the same ones, it refuses.

    Args:
        name: As in `load`.
        image_size: As in `load`.
        root: As in `load`.
        download: As in `load`.

    Raises:
        ValueError: As `load`, or if the data set is one part without splits, or numbers classes otherwise in one split
            than in the other.
        FileNotFoundError: If a path does not exist.

    Example:
        >>> [len(samples) for samples in load_train_and_test("digits")]
        [797, 1000]
    """
    sources = {split: find_source(name, split, root, download) for split in ("train", "test")}
    if not all(source.has_splits for source in sources.values()):
        raise ValueError(
            f"{name} is one part without the splits train and test; a test on images that were trained on says nothing"
        )
    learned, judged = (source.classes for source in sources.values())
    if judged != learned[: len(judged)]:
        raise ValueError(
            f"the test images of {name} must have the classes of its training images, which are numbered in order; "
            f"got {', '.join(judged[:3])}, … for {', '.join(learned[:3])}, …"
        )
    train, test = (_read(source, name, split, image_size=image_size) for split, source in sources.items())
    return train, test


def _read(
    source: Source,
    name: str,
    split: str,
    num_samples: int | None = None,
    order: Order = "file",
    seed: int = 0,
    image_size: int | None = None,
) -> Samples:
    if num_samples is None:
        chosen = torch.arange(len(source.labels))
    else:
        chosen = draw(source.labels, num_samples, order=order, seed=seed)[0].sort().values
    images = [_sized(source.read(i), image_size) for i in chosen.tolist()]
    ids = [source.ids[i] for i in chosen.tolist()]
    for image, image_id in zip(images, ids, strict=True):
        if image.shape != images[0].shape:
            raise ValueError(
                f"images must have one size; {ids[0]} is {list(images[0].shape)}, {image_id} is {list(image.shape)}: "
                "pass image_size"
            )
    samples = Samples(torch.stack(images), source.labels[chosen], ids, source.classes)
    note_input("data", name, [samples.images, samples.labels], split=split, num_samples=len(ids))
    return samples


def _sized(image: Tensor, size: int | None) -> Tensor:
    if size is None:
        return image
    if size < 1:
        raise ValueError(f"image_size must be at least 1; got {size}")
    from torchvision.transforms.v2 import functional

    return functional.center_crop(functional.resize(image, [size], antialias=True), [size]).clamp(0, 1)
