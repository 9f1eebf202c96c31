"""Activations that are already there, read a layer at a time: NumPy archives, safetensors, folders of arrays."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ._names import natural_order


class StoredActivations(Mapping[str, Tensor]):
    """The activations of a file or folder by layer, each read when it is asked for.

    Args:
        path: A `.npz` archive; a `.safetensors` file; or a folder of `.npy` files, which are memory-mapped, in the
            natural order of their names (`layer2` before `layer10`).

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is of none of these kinds, cannot be read without running code, or holds no arrays.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "layers.npz"
        >>> np.savez(file, conv1=np.eye(3), fc=np.ones((3, 2)))
        >>> {layer: tuple(x.shape) for layer, x in StoredActivations(file).items()}
        {'conv1': (3, 3), 'fc': (3, 2)}
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        if not self._path.exists():
            raise FileNotFoundError(f"there is no file or folder {path}")
        self._kind = "folder" if self._path.is_dir() else self._path.suffix
        if self._kind == "folder":
            self._layers = [
                file.stem for file in sorted(self._path.glob("*.npy"), key=lambda file: natural_order(file.stem))
            ]
        elif self._kind == ".npz":
            self._layers = list(self._read(lambda: np.load(self._path, allow_pickle=False).files))
        elif self._kind == ".safetensors":
            self._layers = sorted(self._read(lambda: list(safe_open(self._path, "pt").keys())), key=natural_order)
        else:
            raise ValueError(f"{path} must be a .npz or .safetensors file, or a folder of .npy files")
        if not self._layers:
            raise ValueError(f"{path} holds no arrays")

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, layer: str) -> Tensor:
        if layer not in self._layers:
            raise KeyError(layer)
        if self._kind == ".safetensors":
            found: Tensor = self._read(lambda: safe_open(self._path, "pt").get_tensor(layer))
            return found
        if self._kind == "folder":
            array = self._read(lambda: np.load(self._path / f"{layer}.npy", mmap_mode="c", allow_pickle=False))
        else:
            array = self._read(lambda: np.load(self._path, allow_pickle=False)[layer])
        if array.dtype.kind != "f":
            raise ValueError(f"layer {layer!r} of {self._path} must hold floating numbers; got {array.dtype}")
        return torch.from_numpy(array)

    def _read(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (ValueError, OSError, EOFError, BadZipFile, SafetensorError) as error:
            raise ValueError(f"{self._path} is not a file of plain arrays: {error}") from error
