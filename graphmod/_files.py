"""Files: written whole or not at all, read without running anything that they say."""

import glob
import hashlib
import math
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

try:
    import fcntl
except ImportError:  # not on Windows, where what a killed process left stays
    fcntl = None  # type: ignore[assignment]
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

INFLATES = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
"""How many bytes one byte of a zip archive can become, by its method."""


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there takes its name at the end, or vanishes on an error.

    What a process that was killed left of the same file is removed.

    Args:
        path: The file to be written; folders above it are made, a file of that name is replaced.

    Raises:
        OSError: If the folder cannot be written.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic_file(folder / "note.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> [file.name for file in folder.iterdir()]
        ['note.txt']
    """
    path = Path(path).resolve()  # a link stays, and what it leads to is replaced
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.writing-"
    for left in left_behind(path.parent, prefix):
        left.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        with in_use(temporary):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The permissions that new files are not to have; there is no other way to read them than to set them."""
    os.umask(mask := os.umask(0o077))
    return mask


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """As `atomic_file`, for a folder; it replaces a folder of that name, and one of the two is there at every moment.

    Raises:
        OSError: If the folder above cannot be written.
    """
    path = path.resolve()  # a link stays, and what it leads to is replaced
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.writing-"
    for left in sorted(left_behind(path.parent, prefix)):
        if left.suffix == ".old" and not path.exists():
            left.rename(path)  # killed between the two renames
        else:
            shutil.rmtree(left, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=prefix))
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        temporary.chmod(0o777 & ~_umask())
        with in_use(temporary):
            yield temporary
            if path.exists():
                path.rename(old)
            temporary.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Holds a lock on a file or folder; the system lets go of it however the process ends."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if fcntl:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def left_behind(folder: Path, prefix: str) -> list[Path]:
    """Lists the temporary files and folders of that beginning whose process is gone."""
    found = []
    for path in folder.glob(f"{glob.escape(prefix)}*"):
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            continue  # it went in the meantime, or is another user's
        try:
            if fcntl and time.time() - path.stat().st_ctime > 0.5:  # a younger one may be about to be locked
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.append(path)
        except OSError:
            pass
        finally:
            os.close(handle)
    return found


def sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def existing_file(path: str | Path, of_what: str = "") -> Path:
    """Returns the path of a file that is there.

    Raises:
        FileNotFoundError: If there is none, or it is a folder, a pipe or a device.
    """
    if not os.path.isfile(path):  # noqa: PTH113 - a Path raises where no file can have the name
        raise FileNotFoundError(f"there is no file{of_what} {path}")
    return Path(path)


@contextmanager
def readable(path: str | Path, kind: str) -> Iterator[None]:
    """Turns whatever goes wrong while a file is read into a ValueError of one sentence that names the file.

    Readers meet broken files with errors of every kind; none of them is the caller's to know.

    Example:
        >>> with readable("a.json", "a file of JSON"):
        ...     1 / 0
        Traceback (most recent call last):
        ValueError: a.json is not a file of JSON: division by zero
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path} is not {kind}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """The first line of what an error says, or its kind if it says nothing.

    Example:
        >>> reason(KeyError()), reason(ValueError("no such thing"))
        ('KeyError', 'no such thing')
    """
    return next(iter(str(error).splitlines()), "")[:300] or type(error).__name__


def read_torch(path: str | Path, device: torch.device | str = "cpu") -> Any:
    """Reads a file of `torch.save` that holds tensors and plain values only.

    Raises:
        ValueError: If there is no such file or it is anything else; nothing in it is run.
    """
    existing_file(path)
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # the restricted unpickler meets bytes of any kind with errors of any kind
        raise ValueError(f"{path} is not a PyTorch file of plain tensors; nothing in it was run") from error


def npz_names(path: str | Path) -> list[str]:
    """Lists the arrays of a NumPy archive.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no archive.
    """
    with readable(existing_file(path), "a NumPy archive of plain arrays"), zipfile.ZipFile(path) as archive:
        return [name[:-4] for name in dict.fromkeys(archive.namelist()) if name.endswith(".npy")]


def read_npz(path: str | Path, name: str) -> np.ndarray:
    """Reads one array of a NumPy archive.

    No more memory is asked for than the bytes of the file can fill, whatever its headers say.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no such array, or it holds anything but plain values; nothing in it is run.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "arrays.npz"
        >>> np.savez(path, x=np.eye(2))
        >>> npz_names(path), read_npz(path, "x").tolist()
        (['x'], [[1.0, 0.0], [0.0, 1.0]])
    """
    with readable(existing_file(path), "a NumPy archive of plain arrays"), zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"{name}.npy")
        most = INFLATES.get(entry.compress_type, 0) * min(entry.compress_size, Path(path).stat().st_size)
        with archive.open(entry) as file:
            shape, _, dtype = HEADERS[np.lib.format.read_magic(file)](file)
            stated = file.tell() + math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise ValueError(f"it holds Python objects as {name}")
        if not stated == entry.file_size <= most:
            raise ValueError(f"it holds {min(entry.file_size, most)} bytes of {name}, which states {stated}")
        with archive.open(entry) as file:
            return np.lib.format.read_array(file, allow_pickle=False)


def read_npy(path: str | Path) -> np.ndarray:
    """Maps the array of a `.npy` file into memory; what is changed there stays there.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything but plain values; nothing in it is run.
    """
    with readable(existing_file(path), "a NumPy file of a plain array"):
        return np.lib.format.open_memmap(path, mode="c")  # which has no way to unpickle


def shipped(name: str) -> Path:
    """Returns where a file is that comes with the package: in an installed one inside, in a clone of it beside.

    Example:
        >>> shipped("README.md").is_file()
        True
    """
    package = Path(__file__).parent
    return (package if (package / "data").is_dir() else package.parent) / "data" / name
