"""Files: written whole or not at all, read without running anything that they say."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there takes its name at the end, or vanishes on an error.

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
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_torch(path: str | Path, device: torch.device | str = "cpu") -> Any:
    """Reads a file of `torch.save` that holds tensors and plain values only.

    Raises:
        ValueError: If there is no such file or it is anything else; nothing in it is run.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # the restricted unpickler meets bytes of any kind with errors of any kind
        raise ValueError(f"{path} is not a PyTorch file of plain tensors; nothing in it was run") from error
