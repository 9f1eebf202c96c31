"""Studies that are killed at any moment lose nothing that was finished, leave no half file, and end in the same table.

The long form is 60 kills of each of two studies; its last run: see `LAST_RUN`.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graphmod._files import atomic_file, atomic_folder, left_behind
from graphmod.manifest import verify

LAST_RUN = """
modularity_curve: 60 kills, 28 runs that ended, 56 that went on from earlier work
adversarial: 60 kills, 9 runs that ended, 59 that went on from earlier work
"""

STUDIES = {
    "modularity_curve": {"layers": ("all",), "num_samples": 100, "repeats": 4, "k": 2},
    "adversarial": {"num_samples": 20, "attacks": ("fgsm", "pgd"), "strengths": (0.02,)},
}
NURSERY = """
import importlib, os, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
study = importlib.import_module("analyses." + sys.argv[1])
import graphmod.plots.curve, graphmod.plots.conditions, seaborn, matplotlib.pyplot, sklearn.datasets
for line in sys.stdin:  # each line is one run, which gets a process of its own
    settings, kill_after = eval(line.replace("PosixPath", "Path"))
    start, child = time.monotonic(), os.fork()
    if child == 0:
        sys.stdout.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        study.main(**settings)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)  # which does nothing to one that has ended
    print(os.waitpid(child, 0)[1], time.monotonic() - start, flush=True)
"""


class Nursery:
    """Runs of a study, each in a process of its own that starts at once because everything is imported."""

    def __init__(self, study: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        self.settings = STUDIES[study]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", NURSERY, study],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip

    def run(self, out: Path, kill_after: float | None = None) -> tuple[bool, float]:
        """Returns whether the study came to its end, and after how many seconds it or its process did."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{(self.settings | {'out': out}, kill_after)!r}\n")
        self.process.stdin.flush()
        status, seconds = self.process.stdout.readline().split()
        assert int(status) in (0, signal.SIGKILL)
        return status == "0", float(seconds)

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def finished(out: Path) -> set[str]:
    kept = out.with_name(f".{out.name}.finished")
    return {path.name for path in kept.iterdir() if "-" in path.name[1:]} if kept.is_dir() else set()


def killed_until_it_ends(study: str, place: Path, kills: int) -> str:
    """Kills a study at random moments until it was killed so often; returns what was seen."""
    dice, whole, out, lengths = random.Random(0), place / "whole", place / "killed", []
    with Nursery(study) as nursery:
        assert nursery.run(whole)[0]  # the first also fills caches
        seconds, count, ended, resumed = nursery.run(place / "again")[1], 0, 0, 0
        assert verify(whole) == []
        while count < kills:
            before = finished(out)
            came_to_its_end, _ = nursery.run(out, kill_after=dice.uniform(0, 1.05) * seconds)
            if came_to_its_end:
                ended += 1
            count += not came_to_its_end
            resumed += bool(before)
            if out.exists():  # whole, or not there
                assert verify(out) == []
                assert (out / "table.csv").read_bytes() == (whole / "table.csv").read_bytes()
                for path in (out, *place.glob(".killed.*")):
                    subprocess.run(["rm", "-rf", path], check=True)
            else:
                assert finished(out) >= before, "what was finished is kept"
            lengths.append(len(finished(out)))
            assert {path.name for path in place.iterdir() if not path.name.startswith(".")} <= {
                "whole",
                "again",
                "killed",
            }
        time.sleep(0.6)  # what is younger than half a second is not swept
        assert nursery.run(out)[0]
    assert (out / "table.csv").read_bytes() == (whole / "table.csv").read_bytes()
    assert {path.name for path in place.iterdir()} == {"whole", "again", "killed"}, "nothing stays beside the result"
    assert max(lengths) > 0
    return f"{study}: {count} kills, {ended} runs that ended, {resumed} that went on from earlier work"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_study_that_is_killed_again_and_again(tmp_path: Path) -> None:
    killed_until_it_ends("modularity_curve", tmp_path, kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_sixty_kills(study: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = killed_until_it_ends(study, tmp_path, kills=60)
    with capsys.disabled():
        sys.stdout.write(f"\n{said}\n")


def stale(path: Path) -> Path:
    """A temporary path as a killed process leaves it."""
    time.sleep(0.6)
    assert path.exists()
    return path


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.txt.writing-1.txt").write_text("half")
    (tmp_path / ".b.txt.writing-1.txt").write_text("of another file")
    (tmp_path / ".study.writing-1").mkdir()
    stale(tmp_path / ".study.writing-1")
    with atomic_file(tmp_path / "a.txt") as temporary, atomic_file(tmp_path / "a.txt"):
        temporary.write_text("mine")
    with atomic_folder(tmp_path / "study"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.txt.writing-1.txt", "a.txt", "study"]


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a.txt") as first:
        first.write_text("first")
        stale(first)
        assert left_behind(tmp_path, ".a.txt.writing-") == []
        with atomic_file(tmp_path / "a.txt") as second:
            second.write_text("second")
    assert (tmp_path / "a.txt").read_text() == "first"


def test_a_kill_between_the_two_renames(tmp_path: Path) -> None:
    (tmp_path / ".study.writing-1.old").mkdir()
    (tmp_path / ".study.writing-1.old/table.csv").write_text("earlier")
    (tmp_path / ".study.writing-1").mkdir()
    stale(tmp_path / ".study.writing-1.old")
    with pytest.raises(ValueError, match="later"), atomic_folder(tmp_path / "study"):
        raise ValueError("later")
    assert [path.name for path in tmp_path.iterdir()] == ["study"]
    assert (tmp_path / "study/table.csv").read_text() == "earlier"
