"""Where the images of a data set come from: each can be read by itself, so that only those asked for are decoded."""

import inspect
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ._files import existing_file, npz_names, read_npz, readable, reason
from ._names import natural_order, nearest
from .samples import interleaved

MAX_CLASSES = 100_000
"""Labels of an archive are below this: each class has a name, and the network an output."""


@dataclass(frozen=True)
class Source:
    """What a data set holds; without `has_splits` it is one part, the same one whatever split was asked for."""

    labels: Tensor
    ids: Sequence[str]
    classes: list[str]
    read: Callable[[int], Tensor]
    has_splits: bool = True


def find_source(name: str, split: str, root: str | Path, download: bool) -> Source:
    kind, _, rest = name.partition(":")
    sources: dict[str, Callable[[], Source]] = {
        "digits": lambda: _digits(split),
        "folder": lambda: _folder(Path(rest), split),
        "torchvision": lambda: _torchvision(rest, split, root, download),
        "npz": lambda: _npz(Path(rest), split),
    }
    if kind not in sources or (kind == "digits") == bool(rest):
        raise ValueError(
            f"there is no data set {name!r}; choose digits, folder:PATH, torchvision:NAME or npz:PATH "
            f"({nearest(kind, sources)})"
        )
    return sources[kind]()


def _digits(split: str) -> Source:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    labels = torch.from_numpy(labels).long()
    order = interleaved(labels, seed=0)
    splits = {"test": order[:1000], "train": order[1000:]}
    if split not in splits:
        raise ValueError(f"digits has the splits train and test; got {split!r}")
    rows = splits[split].sort().values
    images = torch.from_numpy(pixels).float().view(-1, 1, 8, 8) / 16
    ids = [str(row) for row in rows.tolist()]
    return Source(labels[rows], ids, [str(digit) for digit in range(10)], lambda i: images[rows[i]])


def _folder(path: Path, split: str) -> Source:
    if not os.path.isdir(path):  # noqa: PTH112 - a Path raises where no folder can have the name
        raise FileNotFoundError(f"there is no folder {path}")
    extensions = set(Image.registered_extensions())
    base = path / split if (path / split).is_dir() else path
    folders = sorted(folder for folder in base.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if not folders:
        raise ValueError(f"{base} holds no class folders; expected {base}/<class>/<image>")
    files = []
    for number, folder in enumerate(folders):
        visible = [file for file in folder.iterdir() if not file.name.startswith(".")]
        found = [(file, number) for file in visible if file.suffix.lower() in extensions]
        if not found:
            inside = sorted(child.name for child in folder.iterdir() if child.is_dir())
            hint = f"; it holds the folders {', '.join(inside[:3])}: is {folder.name} a split?" if inside else ""
            raise ValueError(f"class folder {folder} holds no images{hint}")
        files += found
    files.sort(key=lambda item: (natural_order(item[0].name), item[1]))
    labels = torch.tensor([number for _, number in files])
    ids = [_written_out(str(file.relative_to(base))) for file, _ in files]
    classes = [_written_out(folder.name) for folder in folders]
    return Source(labels, ids, classes, lambda i: _image(files[i][0]), has_splits=base != path)


def _written_out(name: str) -> str:
    """The name of a file with its bytes that are no UTF-8 written out, as tables and pictures cannot hold them."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _image(file: Path) -> Tensor:
    formats = [name for name in Image.OPEN if name != "EPS"]  # which Pillow would hand to another program
    existing_file(file)
    with _decoding(file), Image.open(file, formats=formats) as image:
        return _to_tensor(image)


@contextmanager
def _decoding(name: str | Path) -> Iterator[None]:
    """Pillow's warning that an image is a bomb is an error, and every error a sentence."""
    with readable(name, "an image that can be read"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _to_tensor(image: Image.Image, *, grey: bool = False) -> Tensor:
    """The pixels `[3, H, W]` in [0, 1], of grey images `[1, H, W]` if they may stay so; Pillow clips 16 bits at 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return torch.from_numpy(np.asarray(image).astype(np.float32) / 65535).expand(3, -1, -1)
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits, and their range is not known; save them with 8 or 16 bits")
    pixels = torch.from_numpy(np.array(image if grey and image.mode == "L" else image.convert("RGB")))
    return (pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1)).float() / 255


def _torchvision(name: str, split: str, root: str | Path, download: bool) -> Source:
    from torchvision import datasets

    kind = getattr(datasets, name) if name in datasets.__all__ else None
    if not isinstance(kind, type):
        raise ValueError(f"torchvision.datasets has no {name!r}; {nearest(name, datasets.__all__)}")
    takes_split = "split" in inspect.signature(kind).parameters
    if not takes_split and split not in ("train", "test"):
        raise ValueError(f"torchvision:{name} has the splits train and test; got {split!r}")
    which: dict[str, Any] = {"split": split} if takes_split else {"train": split == "train"}
    which |= {} if name == "ImageNet" else {"download": download}
    try:
        data = kind(str(root), **which)
    except TypeError as error:  # some classes have other splits
        raise ValueError(f"torchvision:{name} has no train and test split; use folder:PATH or pass tensors") from error
    except (RuntimeError, FileNotFoundError) as error:
        raise FileNotFoundError(f"torchvision:{name} was not found in {root}: {reason(error)}") from error
    except Exception as error:  # of a data set that wants more than a split, or of files that are broken
        raise ValueError(
            f"torchvision:{name} cannot be read: {reason(error)}; use folder:PATH or pass tensors"
        ) from error
    named = (getattr(data, one, None) for one in ("targets", "labels", "_labels"))
    targets = next((one for one in named if one is not None), None)
    if targets is None:
        raise ValueError(f"torchvision:{name} does not list its labels; use folder:PATH or pass tensors")
    labels = torch.as_tensor(targets).long()
    classes = [str(one) for one in getattr(data, "classes", range(int(labels.max()) + 1))]

    def read(i: int) -> Tensor:
        with _decoding(f"sample {i} of torchvision:{name}"):
            image = data[i][0]
            return _to_tensor(image, grey=True)

    return Source(labels, [str(i) for i in range(len(labels))], classes, read)


def _npz(path: Path, split: str) -> Source:
    names, parts = set(npz_names(path)), [(f"{split}_images", f"{split}_labels"), ("images", "labels")]
    there = [part for part in parts if names.issuperset(part)]
    if not there:
        raise ValueError(f"{path} must hold the arrays images and labels, or {split}_images and {split}_labels")
    images, numbers = (read_npz(path, name) for name in there[0])
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1 or not numbers.size:
        raise ValueError(
            f"{path}: labels must be integers [N], N at least 1; got {numbers.dtype} {list(numbers.shape)}"
        )
    if numbers.min() < 0 or numbers.max() >= MAX_CLASSES:
        raise ValueError(f"{path}: labels must be in 0 … {MAX_CLASSES - 1}; got {numbers.min()} to {numbers.max()}")
    labels = torch.from_numpy(numbers.astype(np.int64))
    if images.dtype != np.uint8 and (images.dtype.kind != "f" or images.dtype.itemsize > 8):
        raise ValueError(f"{path}: images must be uint8 or floating; got {images.dtype}")
    images = images.astype(images.dtype.newbyteorder("="), copy=False)
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or labels.shape != (len(images),) or not images.size:
        raise ValueError(f"{path}: images must be [N, C, H, W] with one label each; got {list(images.shape)}")
    if images.dtype != np.uint8 and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"{path}: images must be uint8 or in [0, 1]; got {images.min():g} to {images.max():g}")
    scale = 255 if images.dtype == np.uint8 else 1
    ids = [str(i) for i in range(len(labels))]
    classes = [str(i) for i in range(int(labels.max()) + 1)]
    return Source(
        labels, ids, classes, lambda i: torch.from_numpy(images[i].copy()).float() / scale,
        has_splits=there[0] == parts[0],
    )  # fmt: skip
