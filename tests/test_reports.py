"""A result folder is complete or absent, whatever happens."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from graphmod._files import atomic_file
from graphmod.plots.curve import plot_curve
from graphmod.reports import result_folder, write_figure, write_report, write_settings, write_table


def write_result(out: Path, value: int = 1) -> None:
    with result_folder(out) as folder:
        write_table(folder / "table.csv", pd.DataFrame({"a": [value]}))
        write_settings(folder, {"value": value, "path": out}, samples=[["a", "b"]])


def test_complete(tmp_path: Path) -> None:
    out = tmp_path / "deep/study"
    write_result(out)
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "settings.json", "table.csv"]
    content = json.loads((out / "settings.json").read_text())
    assert content["settings"] == {"value": 1, "path": str(out)}
    assert content["samples"] == [["a", "b"]]
    assert content["environment"]["versions"].keys() >= {"graphmod", "torch", "torch-geometric", "igraph", "numpy"}
    assert (out.stat().st_mode & 0o777, (out / "table.csv").stat().st_mode & 0o777) == (0o755, 0o644)
    write_result(out, 2)
    assert pd.read_csv(out / "table.csv").a[0] == 2
    assert [path.name for path in out.parent.iterdir()] == ["study"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_absent_after_an_error(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), result_folder(tmp_path / "study") as folder:
        (folder / "half").write_text("half")
        raise error
    assert not list(tmp_path.iterdir())


def test_an_earlier_result_stays_after_an_error(tmp_path: Path) -> None:
    out = tmp_path / "study"
    write_result(out)
    with pytest.raises(ValueError, match="later"), result_folder(out):
        raise ValueError("later")
    assert pd.read_csv(out / "table.csv").a[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_what_is_not_a_result_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists and is not a result of graphmod; choose another --out"):
        write_result(tmp_path)
    with pytest.raises(FileExistsError, match="is not a result"):
        write_result(tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    write_result(tmp_path / "empty")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "settings.json").write_text("{}")  # of an editor, say
    (theirs / "manifest.json").write_text("[]")
    with pytest.raises(FileExistsError, match="is not a result"):
        write_result(theirs)
    assert (theirs / "settings.json").read_text() == "{}"


def test_a_result_with_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "study"
    write_result(out)
    (out / ".DS_Store").write_text("")
    write_result(out, 2)
    assert not (out / ".DS_Store").exists()
    (out / "sub").mkdir()
    (out / "sub/notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"study holds sub/notes.txt, which is no part of its result; move it"):
        write_result(out, 3)
    assert (out / "sub/notes.txt").read_text() == "mine"
    assert pd.read_csv(out / "table.csv").a[0] == 2


def test_a_folder_that_cannot_be_written_is_seen_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match="cannot write into .*file: "),
        result_folder(tmp_path / "file" / "study"),
    ):
        pytest.fail("the work must not begin")


def test_figure(tmp_path: Path) -> None:
    curve = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "modularity": [0.1, 0.8]})
    write_figure(tmp_path / "figure.png", plot_curve(curve))
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_tables_keep_every_digit(tmp_path: Path) -> None:
    table = pd.DataFrame({"q": [1 / 3, 1e-17, 0.1 + 0.2]})
    write_table(tmp_path / "table.csv", table)
    assert pd.read_csv(tmp_path / "table.csv").equals(table)


def test_files_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.txt"]
    with atomic_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


INTERRUPTED = 130, -signal.SIGINT
"""Which a shell shows alike: Python ends in the second way where the signal met an `exec`, as an import may run it."""


@contextmanager
def stoppable(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Runs a command that hears Ctrl-C even where the test run does not, and never outlives the test."""

    def listen() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=listen)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing(which: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analyses.train", "--epochs", "10000", "--out", str(tmp_path / "study")]
    with stoppable(command) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        assert list(tmp_path.iterdir()), "the study never began"
        process.send_signal(which)
        _, message = process.communicate(timeout=60)
    assert process.returncode in INTERRUPTED, message
    assert message.strip().endswith("stopped; nothing was written")
    assert not list(tmp_path.iterdir())


class Page(HTMLParser):
    """What a page says and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_report_holds_all_and_needs_nothing(tmp_path: Path) -> None:
    curve = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "modularity": [0.1, 0.8]})
    for name in ("curve", "two_words"):
        write_table(tmp_path / name / "table.csv", pd.DataFrame({"layer": ["<b>fc"] * 40, "q": 0.123456789}))
        write_figure(tmp_path / name / "figure.png", plot_curve(curve))
        write_settings(tmp_path / name, {"k": 3, "name": "</pre><script>"})
    write_report(tmp_path / "report.html", "A & B", {"curve": "First <i>.\n\nSecond.", "two_words": "Third."})
    page = Page((tmp_path / "report.html").read_text())
    assert not page.open
    assert [source.split(",")[0] for source in page.sources] == [
        "#curve", "#two_words", "data:image/png;base64", "data:image/png;base64",
    ]  # fmt: skip
    image = base64.b64decode(page.sources[2].split(",")[1])
    width = int(re.search(r'width="(\d+)"', (tmp_path / "report.html").read_text())[1])
    assert 200 * width == 100 * plt.imread(tmp_path / "curve/figure.png").shape[1]  # a tall picture is no smaller
    assert image == (tmp_path / "curve/figure.png").read_bytes()
    words = " ".join(page.words)
    for text in ("A & B", "First <i>.", "Third.", "<b>fc", "0.1235", "40 rows, the first 30", "</pre><script>"):
        assert text in words
    with pytest.raises(FileNotFoundError, match="there is no result in .*missing"):
        write_report(tmp_path / "report.html", "A", {"missing": ""})
    assert Page((tmp_path / "report.html").read_text()).words == page.words


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "study").symlink_to(tmp_path / "scratch")
    for value in (1, 2):
        write_result(tmp_path / "study", value)
    assert (tmp_path / "study").is_symlink()
    assert pd.read_csv(tmp_path / "scratch/table.csv").a.tolist() == [2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scratch", "study"]
    (tmp_path / "there.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "there.txt")
    with atomic_file(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "there.txt").read_text() == "new"


def test_where_a_result_was_written_first_is_no_setting(tmp_path: Path) -> None:
    write_settings(tmp_path, {"k": 3, "out": tmp_path / "elsewhere"})
    assert json.loads((tmp_path / "settings.json").read_text())["settings"] == {"k": 3}


def test_files_and_folders_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with result_folder(tmp_path / "out") as folder:
            write_table(folder / "table.csv", pd.DataFrame({"a": [1]}))
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    out = tmp_path / "out"
    assert (out.stat().st_mode & 0o777, (out / "table.csv").stat().st_mode & 0o777) == (0o750, 0o640)
