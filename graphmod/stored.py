"""Activations that are already there, read a layer at a time: NumPy archives, safetensors, folders of arrays."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from ._files import existing_file, npz_names, read_npy, read_npz, readable
from ._names import natural_order
from ._tensors import is_plain, kind


class StoredActivations(Mapping[str, Tensor]):
    """The activations of a file or folder by layer, each read when it is asked for.

    Args:
        path: A `.npz` archive; a `.safetensors` file; or a folder of `.npy` files, which are memory-mapped, in the
            natural order of their names (`layer2` before `layer10`). Links are followed; names in an archive are names
            of layers only, never of files.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is of none of these kinds, cannot be read without running code, or holds no arrays.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> file = Path(tempfile.mkdtemp()) / "layers.npz"
        >>> np.savez(file, conv1=np.eye(3), fc=np.ones((3, 2)))
        >>> {layer: tuple(x.shape) for layer, x in StoredActivations(file).items()}
        {'conv1': (3, 3), 'fc': (3, 2)}
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        is_folder = os.path.isdir(path)  # noqa: PTH112 - a Path raises where no folder can have the name
        self._kind = "folder" if is_folder else existing_file(path, " or folder").suffix
        if self._kind == "folder":
            visible = [file.stem for file in self._path.glob("*.npy") if not file.name.startswith(".")]
            self._layers = sorted(visible, key=natural_order)
        elif self._kind == ".npz":
            self._layers = npz_names(self._path)
        elif self._kind == ".safetensors":
            with readable(self._path, "a safetensors file"), safe_open(self._path, "pt") as file:
                self._layers = sorted(file.keys(), key=natural_order)
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
            with readable(self._path, "a safetensors file"), safe_open(self._path, "pt") as file:
                found: Tensor = file.get_tensor(layer)
            if not found.is_floating_point() or found.itemsize < 2:
                raise ValueError(f"layer {layer!r} of {self._path} must hold floating numbers; got {found.dtype}")
            return found
        array = read_npy(self._path / f"{layer}.npy") if self._kind == "folder" else read_npz(self._path, layer)
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise ValueError(f"layer {layer!r} of {self._path} must hold floating numbers; got {array.dtype}")
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def as_rows(value: Any, layer: str) -> Tensor:
    """The activations of a layer as a tensor `[N, D]`, whatever array holds them; one number a sample is `[N, 1]`."""
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"layer {layer!r} must be an array of floating numbers: {error}") from error
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise TypeError(f"layer {layer!r} must be an array of floating numbers; got {array.dtype}")
        # torch shares memory of its own byte order that may be written to, in steps forwards
        value = torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
    if not is_plain(value):
        raise TypeError(f"layer {layer!r} must be a tensor of floating type; got {kind(value)}")
    if not value.dim():
        raise ValueError(f"layer {layer!r} must have shape [N, ...]; got []")
    return value.flatten(1) if value.dim() > 1 else value[:, None]
