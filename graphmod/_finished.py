"""Finished work: a study makes nothing twice, and one that was stopped goes on where it was.

While a folder is open for it, each piece of work has a file there, named after all that the piece depends on. A piece
whose file exists is read; a changed setting, weight or sample gives another name.
"""

import hashlib
import inspect
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from ._files import sha256
from ._tensors import raw_bytes
from .distributed import world

_OPEN: ContextVar[Path | None] = ContextVar("finished work", default=None)
_MACHINERY = set(vars(nn.Module())) - {"_parameters", "_buffers", "_modules"}


@contextmanager
def finished_work(folder: str | Path) -> Iterator[Path]:
    """Opens a folder for finished work; it is removed at the end, and stays after an error if there is work in it.

    Inside another one that one's folder is used, so that studies that run together share their work.

    Args:
        folder: The folder; it is made when the first piece is finished.

    Yields:
        The folder that is used.

    Example:
        >>> import tempfile
        >>> with finished_work(Path(tempfile.mkdtemp()) / "work"):
        ...     one, same, other = (Finished(torch.eye(3), k).file("conv1") for k in (3, 3, 5))
        >>> one == same, one == other
        (True, False)
    """
    if (outer := _OPEN.get()) is not None:
        yield outer
        return
    folder = Path(folder)
    token = _OPEN.set(folder)
    try:
        yield folder
        if not world()[0]:
            shutil.rmtree(folder, ignore_errors=True)
    except BaseException as error:
        if folder.is_dir():
            error.add_note(f"what was finished is kept in {folder}: it is not made again")
        raise
    finally:
        _OPEN.reset(token)


class Finished:
    """The files of pieces of work that depend on the same things.

    Args:
        *depends: All that the work depends on: modules, tensors, functions, plain values, and lists and dicts of them.
            Of a function and a class the file that it is in counts, not what that imports. Where one of them cannot be
            told from another by what it holds (a lambda, a module with hooks or with attributes of a kind unknown
            here), or where no folder is open, there are no files.
    """

    def __init__(self, *depends: Any) -> None:
        self._folder, self._digest = _OPEN.get(), hashlib.blake2b(digest_size=16)
        try:
            if self._folder is not None:
                self._digest.update(_own_source())
                _feed(self._digest, depends)
        except (_UnknownError, TypeError, RuntimeError):  # a set without an order, a sparse tensor, a circle
            self._folder = None

    def file(self, name: str) -> Path | None:
        """Returns where a piece that grows, such as a training, is kept; its writer sees to it that it is whole."""
        return self._folder and self._folder / self._key(name)

    def keep(self, name: str, write: Callable[[Path], Any]) -> None:
        """Writes a finished piece, whole or not at all: `write(path)`. Its checksum is part of its name."""
        if self._folder is None or world()[0]:  # of several processes the first one writes
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".writing-") as place:
            write(piece := Path(place) / "piece")
            with piece.open("rb") as file:
                os.fsync(file.fileno())
            piece.replace(self._folder / f"{self._key(name)}-{sha256(piece)}")

    def done(self, name: str) -> Path | None:
        """Returns the file of a piece that is finished and as it was written; one that is not is removed."""
        for file in self._folder.glob(f"{self._key(name)}-*") if self._folder else ():
            if sha256(file) == file.name.rpartition("-")[2]:
                return file
            file.unlink(missing_ok=True)  # another process may have seen it, too
        return None

    def remembered(self, name: str, make: Callable[[], Any]) -> Any:
        """Returns what `make` gives, plain values as JSON has them; a finished piece is read instead."""
        if file := self.done(name):
            return json.loads(file.read_bytes())
        value = make()
        self.keep(name, partial(Path.write_text, data=json.dumps(value)))
        return value

    def _key(self, name: str) -> str:
        piece = self._digest.copy()
        piece.update(name.encode())
        return piece.hexdigest()


@cache
def _own_source() -> bytes:
    """What the text of this package is, in 16 bytes: work of another version is done again."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.digest()


class _UnknownError(Exception):
    """A value that has no name by what it holds."""


def _feed(digest: hashlib.blake2b, value: Any) -> None:
    digest.update(f"<{type(value).__module__}.{type(value).__qualname__}>".encode())
    match value:
        case None | bool() | int() | float() | str() | torch.dtype() | torch.device() | torch.Size():
            digest.update(repr(value).encode())
        case Tensor():
            digest.update(f"{value.dtype}{list(value.shape)}{value.device.type}".encode())
            digest.update(raw_bytes(value))
        case nn.Module():
            _feed_source(digest, type(value))
            own = {name: entry for name, entry in vars(value).items() if name not in _MACHINERY}
            if any(hooks for name, hooks in vars(value).items() if name.endswith("_hooks")):
                raise _UnknownError
            _feed(digest, own)
        case Data():
            _feed(digest, value.to_dict())
        case _ if is_dataclass(value) and not isinstance(value, type):
            _feed_source(digest, type(value))
            _feed(digest, [getattr(value, field.name) for field in fields(value)])
        case Mapping():
            for key, entry in value.items():
                _feed(digest, (key, entry))
        case Sequence() | set() | frozenset():
            for entry in sorted(value) if isinstance(value, set | frozenset) else value:
                _feed(digest, entry)
        case partial():
            _feed(digest, (value.func, value.args, value.keywords))
        case type():
            _feed_source(digest, value)
        case _ if inspect.isbuiltin(value) or (inspect.isfunction(value) and not value.__closure__):
            _feed_source(digest, value)
        case _:
            raise _UnknownError
    digest.update(b"</>")


def _feed_source(digest: hashlib.blake2b, what: Any) -> None:
    """The name of a function or class, and the text of its module and those of its bases, on which it may lean.

    Of torch and torchvision the version says what they are.
    """
    digest.update(f"{what.__module__}.{what.__qualname__} {torch.__version__}".encode())
    if "<lambda>" in what.__qualname__:
        raise _UnknownError
    for one in inspect.getmro(what) if isinstance(what, type) else [what]:
        if not inspect.isbuiltin(one) and one.__module__.split(".")[0] not in ("torch", "torchvision", "builtins"):
            try:
                digest.update(inspect.getsource(sys.modules[one.__module__]).encode())
            except (OSError, TypeError, KeyError) as error:
                raise _UnknownError from error
