"""Results on disk: a folder that is complete or absent, with its table, its figure, and how it came to be."""

import base64
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from ._files import atomic_file, atomic_folder, readable
from ._finished import finished_work
from .distributed import world
from .manifest import manifest, strangers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SETTINGS = "settings.json"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
h2 { border-top: 1px solid #ddd; padding-top: 1.5rem; text-transform: capitalize }
img { display: block; max-width: 100%; margin: 1rem 0 }
details { overflow-x: auto; margin: .5rem 0 }
summary { cursor: pointer; color: #555 }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums }
td, th { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #eee }
pre { font-size: .75rem; white-space: pre-wrap; overflow-wrap: anywhere }
"""
PACKAGES = (
    "graphmod", "torch", "torchvision", "torch-geometric", "torch-scatter", "igraph", "leidenalg", "numpy", "pandas",
    "scipy", "scikit-learn", "timm", "adversarial-robustness-toolbox",
)  # fmt: skip


@contextmanager
def result_folder(out: str | Path) -> Iterator[Path]:
    """Yields a folder to write results into; at the end it takes the name `out`, or vanishes on an error or Ctrl-C.

    That `out` can be written is seen at the start, before the work. An earlier result of that name is replaced; any
    other folder with something in it is left alone, also a result to which other files were added. What was finished
    before an error, Ctrl-C or a kill is kept beside it in `.NAME.finished` until the same study succeeds, and is not
    made again. `manifest.json` lists every file, and the weights and data that were read, with their SHA-256:
    `python -m graphmod verify DIR`.

    Raises:
        FileExistsError: If `out` is there and is not a result, or holds files that are not part of the result.
        OSError: If the folder cannot be written.

    Example:
        >>> out = Path(tempfile.mkdtemp()) / "study"
        >>> with result_folder(out) as folder:
        ...     write_settings(folder, {"k": 3})
        >>> sorted(path.name for path in out.iterdir())
        ['manifest.json', 'settings.json']
    """
    out = Path(out).absolute()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        _check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()
    except OSError as error:
        raise type(error)(f"cannot write into {out.parent}: {error.strerror}") from error
    with finished_work(out.with_name(f".{out.name}.finished")):
        if world()[0]:  # of several processes the first one writes
            with tempfile.TemporaryDirectory() as elsewhere:
                yield Path(elsewhere)
        else:
            with atomic_folder(out) as folder, manifest(folder):
                yield folder


def _check_replaceable(out: Path) -> None:
    """Raises a FileExistsError unless a folder is the result of a study and nothing else."""
    try:
        others = strangers(out)
    except (FileNotFoundError, ValueError) as error:
        raise FileExistsError(f"{out} exists and is not a result of graphmod; choose another --out") from error
    if others:
        raise FileExistsError(
            f"{out} holds {others[0]}, which is no part of its result; move it or choose another --out"
        )


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
    kept = {name: value for name, value in settings.items() if name != "out"}  # the file lies there, wherever that is
    content = {"settings": kept, **more, "environment": environment()}
    entries = [f"  {json.dumps(key)}: {_compact(value)}" for key, value in content.items()]
    with atomic_file(Path(folder) / SETTINGS) as temporary:
        temporary.write_text("{\n" + ",\n".join(entries) + "\n}\n", encoding="utf-8")


def write_report(
    path: str | Path, title: str, studies: Mapping[str, str], *, rows: int = 30, without: Collection[str] = ()
) -> None:
    """Writes one HTML page with the figures, tables and settings of several results; it needs no network and no files.

    Args:
        path: The page; the results are the folders beside it.
        title: Its heading.
        studies: The text of each study (Markdown is not read) by the name of its folder, in order.
        rows: Rows of a table that are shown; the page says how many there are.
        without: Names of studies that have a text only, such as why they came to no result.

    Raises:
        FileNotFoundError: If another folder holds no result.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_table(folder / "study/table.csv", pd.DataFrame({"q": [0.5]}))
        >>> write_settings(folder / "study", {"k": 3})
        >>> write_report(folder / "report.html", "A network", {"study": "What was measured."})
        >>> "What was measured." in (folder / "report.html").read_text()
        True
    """
    path, parts = Path(path), []
    for name, text in studies.items():
        parts.append(f'<section id="{escape(name)}"><h2>{escape(name.replace("_", " "))}</h2>')
        parts += [f"<p>{escape(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph.strip()]
        parts += [] if name in without else _of_result(path.parent / name, rows)
        parts.append("</section>")
    links = " · ".join(f'<a href="#{escape(name)}">{escape(name.replace("_", " "))}</a>' for name in studies)
    with atomic_file(path) as temporary:
        temporary.write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
            f"<h1>{escape(title)}</h1><nav>{links}</nav>{''.join(parts)}</html>\n",
            encoding="utf-8",
        )


def _of_result(folder: Path, rows: int) -> Iterator[str]:
    """The figures, tables and settings of a result as HTML."""
    if not (folder / SETTINGS).is_file():
        raise FileNotFoundError(f"there is no result in {folder}")
    for figure in sorted(folder.glob("*.png"), key=lambda one: (one.stem != "figure", one.stem)):
        png, alt = figure.read_bytes(), f"{escape(folder.name)}: {escape(figure.stem)}"
        data, width = base64.b64encode(png).decode(), int.from_bytes(png[16:20]) // 2  # 100 dots an inch
        yield f'<img alt="{alt}" width="{width}" src="data:image/png;base64,{data}">'
    for table in sorted(folder.glob("*.csv"), key=lambda one: (one.stem != "table", one.stem)):
        with readable(table, "a table"):
            content = pd.read_csv(table)
        shown = content.head(rows).to_html(index=False, float_format="{:.4g}".format, border=0, na_rep="")
        count = f"{len(content)} rows" + (f", the first {rows}" if len(content) > rows else "")
        opened = " open" if table.stem == "table" else ""
        yield f"<details{opened}><summary>{escape(table.name)}: {count}</summary>{shown}</details>"
    settings = escape((folder / SETTINGS).read_text(encoding="utf-8", errors="replace")[:20_000])
    yield f"<details><summary>{SETTINGS}</summary><pre>{settings}</pre></details>"


def environment() -> dict[str, Any]:
    """Returns what a result depends on beside its settings: command, versions, commit, threads, device.

    Example:
        >>> sorted(environment())
        ['command', 'commit', 'dtype', 'gpu', 'platform', 'processes', 'python', 'threads', 'versions']
    """
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "platform": platform.machine(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "processes": world()[1],
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
