"""Results on disk: a folder that is complete or absent, with its table, its figure, and how it came to be."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from ._files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SETTINGS = "settings.json"
PACKAGES = ("graphmod", "torch", "torchvision", "torch-geometric", "torch-scatter", "igraph", "numpy", "pandas")


@contextmanager
def result_folder(out: str | Path) -> Iterator[Path]:
    """Yields a folder to write results into; at the end it takes the name `out`, or vanishes on an error or Ctrl-C.

    That `out` can be written is seen at the start, before the work. An earlier result of that name is replaced, any
    other folder with something in it is left alone.

    Raises:
        FileExistsError: If `out` holds something that is not a result.
        OSError: If the folder cannot be written.

    Example:
        >>> out = Path(tempfile.mkdtemp()) / "study"
        >>> with result_folder(out) as folder:
        ...     write_settings(folder, {"k": 3})
        >>> [path.name for path in out.iterdir()]
        ['settings.json']
    """
    out = Path(out).absolute()
    if out.exists() and not (out / SETTINGS).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not a result of graphmod; choose another --out")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise type(error)(f"cannot write into {out.parent}: {error.strerror}") from error
    old = temporary.with_name(temporary.name + ".old")
    try:
        temporary.chmod(0o755)
        yield temporary
        if out.exists():
            out.rename(old)
        temporary.rename(out)
    except BaseException:
        if old.exists() and not out.exists():
            old.rename(out)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Writes a table as CSV, whole or not at all; numbers keep every digit."""
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False)


def write_figure(path: str | Path, ax: "Axes") -> None:
    """Writes the figure of an `Axes` at 200 dots an inch, whole or not at all, and closes it."""
    import matplotlib.pyplot as plt

    figure = ax.figure.figure
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=200)
    plt.close(figure)


def write_settings(folder: str | Path, settings: Mapping[str, Any], **more: Any) -> None:
    """Writes `settings.json`: the settings of a study, whatever else is to be kept, and the environment.

    Args:
        folder: The folder of the result.
        settings: The study's settings by name.
        **more: Further entries, such as `samples=[...]`.
    """
    content = {"settings": dict(settings), **more, "environment": environment()}
    entries = [f"  {json.dumps(key)}: {_compact(value)}" for key, value in content.items()]
    with atomic_file(Path(folder) / SETTINGS) as temporary:
        temporary.write_text("{\n" + ",\n".join(entries) + "\n}\n")


def environment() -> dict[str, Any]:
    """Returns what a result depends on beside its settings: command, versions, commit, threads, device.

    Example:
        >>> sorted(environment())
        ['command', 'commit', 'gpu', 'platform', 'python', 'threads', 'versions']
    """
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "platform": platform.machine(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that this file belongs to, with `-dirty` where it was changed; None outside one."""
    command = ["git", "-C", os.fspath(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        if subprocess.run([*command[:3], "ls-files", "--error-unmatch", __file__], capture_output=True).returncode:
            return None
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _compact(value: Any) -> str:
    """JSON with a line for each entry of a mapping, and lists (of ten thousand sample ids) on one line."""
    if not isinstance(value, Mapping):
        return json.dumps(value, default=str)
    entries = [f"    {json.dumps(str(key))}: {json.dumps(entry, default=str)}" for key, entry in value.items()]
    return "{\n" + ",\n".join(entries) + "\n  }"
