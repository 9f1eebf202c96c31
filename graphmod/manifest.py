"""What a result was made of and what it consists of: `manifest.json`, and whether a folder still is what it says."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from torch import Tensor

from ._files import atomic_file, sha256
from ._tensors import raw_bytes

MANIFEST = "manifest.json"
OF_FILE_MANAGERS = {".DS_Store", "Thumbs.db", "desktop.ini"}
_INPUTS: ContextVar[list[dict[str, Any]] | None] = ContextVar("inputs of a result", default=None)


def note_input(kind: str, name: str, tensors: Iterable[Tensor], *, file: str | Path | None = None, **more: Any) -> None:
    """Notes what a result is made of, where one is being made: weights, images and labels, by their SHA-256.

    Args:
        kind: `"model"` or `"data"`.
        name: What it was called.
        tensors: What it holds; their types, shapes and values are hashed in order.
        file: The file that it was read from, which is hashed too.
        **more: What else tells it from others.
    """
    known = _INPUTS.get()
    if known is None:
        return
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{list(tensor.shape)}".encode())
        digest.update(raw_bytes(tensor))
    entry = {"kind": kind, "name": name, **more, "sha256": digest.hexdigest()}
    if file is not None:
        entry |= {"file": str(file), "file_sha256": sha256(file)}
    if entry not in known:
        known.append(entry)


@contextmanager
def manifest(folder: Path) -> Iterator[None]:
    """Notes what is read within, and at the end lists it, and every file of the folder, in `manifest.json`."""
    inputs: list[dict[str, Any]] = []
    outer, token = _INPUTS.get(), _INPUTS.set(inputs)
    try:
        yield
        there = {name: file for name, file in _entries(folder).items() if file.is_file()}
        files = {name: {"bytes": file.stat().st_size, "sha256": sha256(file)} for name, file in there.items()}
        with atomic_file(folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps({"inputs": inputs, "files": files}, indent=1) + "\n", encoding="utf-8")
    finally:
        _INPUTS.reset(token)
        if outer is not None:
            outer += [entry for entry in inputs if entry not in outer]


def verify(folder: str | Path) -> list[str]:
    """Compares a result with its manifest.

    Args:
        folder: The folder of a result.

    Returns:
        A sentence for each file that is missing, was changed or is not listed, and for each file of weights that is
        where it was and was changed; none if all is as it was.

    Raises:
        FileNotFoundError: If there is no manifest.
        ValueError: If it cannot be read.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp())
        >>> with manifest(place):
        ...     _ = (place / "table.csv").write_text("q: 0.5")
        >>> verify(place)
        []
        >>> _ = (place / "table.csv").write_text("q: 0.6")
        >>> verify(place)
        ['table.csv was changed']
    """
    folder = Path(folder)
    listed, inputs = _read(folder)
    there, problems = _entries(folder), []
    for name, (size, digest) in listed.items():
        if name not in there or not there[name].is_file():
            problems.append(f"{name} is missing")
        elif there[name].stat().st_size != size or sha256(there[name]) != digest:
            problems.append(f"{name} was changed")
    problems += [f"{name} is not part of the result" for name in there if name not in listed]
    problems += [
        f"{name}, which the result was made of, was changed since"
        for name, digest in inputs
        if os.path.isfile(name) and sha256(name) != digest  # noqa: PTH113 - a Path raises where a name is too long
    ]
    return problems


def strangers(folder: Path) -> list[str]:
    """Lists the files in a folder of a result that are not part of it; those of a file manager are passed over.

    Raises:
        FileNotFoundError, ValueError: As `verify`: it is no folder of a result.
    """
    listed, _ = _read(folder)
    return [name for name, file in _entries(folder).items() if name not in listed and file.name not in OF_FILE_MANAGERS]


def _read(folder: Path) -> tuple[dict[str, tuple[int, str]], list[tuple[str, str]]]:
    """Size and checksum of each file of a result by its path, and the files that it was made of with theirs."""
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"there is no {MANIFEST} in {folder}, which is no result of graphmod")
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        listed = {str(name): (int(one["bytes"]), str(one["sha256"])) for name, one in content["files"].items()}
        inputs = [(str(one["file"]), str(one["file_sha256"])) for one in content["inputs"] if "file" in one]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{folder / MANIFEST} cannot be read: {type(error).__name__} {error}") from error
    return listed, inputs


def _entries(folder: Path) -> dict[str, Path]:
    """All that is in a folder by its path there, links too; the manifest and folders left out."""
    there = (one for one in sorted(folder.rglob("*")) if one.is_symlink() or not one.is_dir())
    found = {one.relative_to(folder).as_posix(): one for one in there}
    found.pop(MANIFEST, None)
    return found
