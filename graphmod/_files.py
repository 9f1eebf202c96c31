"""Files: written whole or not at all, read without running anything that they say."""

import glob
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

try:
    import fcntl
except ImportError:  # not on Windows, where what a killed process left stays
    fcntl = None  # type: ignore[assignment]


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
    path = Path(path)
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
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Does the same for a folder, which a folder of that name gives way to; never are both of them gone.

    Raises:
        OSError: If the folder above cannot be written.
    """
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
        temporary.chmod(0o755)
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


def read_torch(path: str | Path, device: torch.device | str = "cpu") -> Any:
    """Reads a file of `torch.save` that holds tensors and plain values only.

    Raises:
        ValueError: If there is no such file or it is anything else; nothing in it is run.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # the restricted unpickler meets bytes of any kind with errors of any kind
        raise ValueError(f"{path} is not a PyTorch file of plain tensors; nothing in it was run") from error
