"""Finished work is found again by all that it depends on, and by nothing else."""

import importlib
import linecache
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from test_reports import INTERRUPTED, stoppable
from torch import nn

from graphmod import curves
from graphmod._finished import Finished, finished_work
from graphmod.ablation import ablation
from graphmod.curves import dynamic_graph
from graphmod.graphs.euclidean_knn import euclidean_knn_graph
from graphmod.graphs.knn import knn_graph
from graphmod.models import build
from graphmod.reports import result_folder, write_settings


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("shift", torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x + self.shift


def changed(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        next(module.parameters()).view(-1)[0] += 1e-6
    return module


def linear(bias: bool = True) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2, bias=bias)


DIFFERENT = [
    (1, 2), (1, 1.0), (True, 1), ("a", "b"), (None, "None"), ([1, 2], [12]), (["a", "b"], ["ab"]), ((1,), [1]),
    ({"k": 3}, {"k": 5}), ([[1], 2], [1, [2]]),
    (torch.zeros(2), torch.zeros(3)), (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
    (torch.zeros(2, 3), torch.zeros(3, 2)), (torch.tensor([0.0]), torch.tensor([-0.0])),
    (linear(), changed(linear())), (linear(), linear(bias=False)), (nn.ReLU(), nn.GELU()),
    (Scaled(1.0), Scaled(2.0)), (nn.Dropout(0.1), nn.Dropout(0.2)), (knn_graph, partial(knn_graph, compat="lu2022")),
    (nn.Sequential(nn.ReLU(), nn.GELU()), nn.Sequential(nn.GELU(), nn.ReLU())), (torch.flatten, torch.sigmoid),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_what_differs_has_another_file(one: object, other: object, tmp_path: Path) -> None:
    with finished_work(tmp_path / "work"):
        assert Finished(one).file("a") != Finished(other).file("a")
        assert Finished(one).file("a") == Finished(one).file("a") != Finished(one).file("b")


def test_the_mode_and_the_copy_do_not_matter(tmp_path: Path) -> None:
    with finished_work(tmp_path / "work"):
        assert Finished(linear().train()).file("a") == Finished(linear().eval()).file("a")
        assert Finished(torch.arange(6.0)[::2]).file("a") == Finished(torch.tensor([0.0, 2.0, 4.0])).file("a")
        assert Finished({"b", "a"}).file("a") == Finished({"a", "b"}).file("a")


def test_what_the_code_leans_on_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text = "class Base:\n    factor = {}\nclass Net(Base):\n    pass\ndef helper():\n    return {}\ndef use():\n    return helper()\n"
    keys = []
    with finished_work(tmp_path / "work"):
        for factor in (1, 2, 1):
            (tmp_path / "leaned_on.py").write_text(text.format(factor, factor))
            sys.modules.pop("leaned_on", None)
            importlib.invalidate_caches()
            linecache.clearcache()
            leaned_on = importlib.import_module("leaned_on")
            keys.append([Finished(one).file("a") for one in (leaned_on.Net, leaned_on.use)])
    assert keys[0] == keys[2]
    assert not set(keys[0]) & set(keys[1])


def test_what_cannot_be_told_apart_has_no_file(tmp_path: Path) -> None:
    hooked, closure = linear(), 3
    hooked.register_forward_hook(lambda *_: None)

    def inner() -> int:
        return closure

    circle: list[object] = []
    circle.append(circle)
    with finished_work(tmp_path / "work"):
        for unknown in (
            lambda: None, inner, hooked, nn.Sequential(hooked), object(), [object()], {1, "a"}, circle,
            torch.eye(3).to_sparse(),
        ):  # fmt: skip
            assert Finished(unknown).file("a") is None
    assert Finished(1).file("a") is None


def test_the_folder_goes_with_success_and_stays_with_work_after_an_error(tmp_path: Path) -> None:
    with finished_work(tmp_path / "work") as folder:
        folder.mkdir()
        with finished_work(tmp_path / "inner") as inner:
            assert inner == folder
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="wrong") as caught, finished_work(tmp_path / "work") as folder:
        folder.mkdir()
        raise ValueError("wrong")
    assert caught.value.__notes__ == [f"what was finished is kept in {folder}: it is not made again"]
    with pytest.raises(ValueError, match="wrong") as caught, finished_work(tmp_path / "none"):
        raise ValueError("wrong")
    assert not hasattr(caught.value, "__notes__")


def test_graphs_are_made_once_and_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = build("digits"), torch.rand(40, 1, 8, 8), torch.arange(40) % 4
    plain = dynamic_graph(model, x, y)
    with finished_work(tmp_path / "work") as folder:
        dynamic_graph(model, x, y)
        assert len(list(folder.iterdir())) == len(plain)
        sorted(folder.iterdir())[0].unlink()
        asked: list[str] = []
        real = curves.each_layer
        monkeypatch.setattr(
            curves, "each_layer", lambda m, s, layers, **o: asked.extend(layers) or real(m, s, layers, **o)
        )
        again = dynamic_graph(model, x, y)
        assert len(asked) == 1
        for options in ({"k": 2}, {"compat": "lu2022"}, {"graph": euclidean_knn_graph}):
            dynamic_graph(model, x, y, **options)
        assert len(asked) == 1 + 3 * len(plain)
        assert "x" in next(iter(dynamic_graph(model, x, y, keep_x=True).values()))
    assert list(again) == list(plain)
    for layer, graph in plain.items():
        assert again[layer].to_dict().keys() == graph.to_dict().keys()
        for name, value in graph.to_dict().items():
            assert (
                torch.equal(value, again[layer][name])
                if isinstance(value, torch.Tensor)
                else value == again[layer][name]
            )


def test_an_ablation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["graphmod.ablation"]
    model, x, y = build("digits"), torch.rand(40, 1, 8, 8), torch.arange(40) % 4
    options = {"k": (1, 2), "num_samples": (20,), "draws": 1}
    plain = ablation(model, x, y, **options)
    with finished_work(tmp_path / "work") as folder:
        ablation(model, x, y, **options)
        sorted(folder.iterdir())[0].unlink()
        made: list[str] = []
        real = module._measured
        monkeypatch.setattr(module, "_measured", lambda *a: made.append(a[-1]) or real(*a))
        pd.testing.assert_frame_equal(ablation(model, x, y, **options), plain, check_exact=True)
        assert len(made) == 1


@pytest.mark.slow  # test_kill.py has a quicker one
def test_a_killed_study_goes_on_to_the_same_table(tmp_path: Path) -> None:
    arguments = ["--layers", "all", "--num-samples", "100", "--repeats", "8"]
    command = [sys.executable, "-m", "analyses.modularity_curve", *arguments, "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    process = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    kept, deadline = tmp_path / ".killed.finished", time.monotonic() + 120
    while time.monotonic() < deadline and not (kept.is_dir() and len(list(kept.iterdir())) >= 5):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed").exists()
    before = {path.name: path.stat().st_mtime_ns for path in kept.iterdir() if not path.name.startswith(".")}
    assert before
    subprocess.run([*command, str(tmp_path / "killed")], check=True, capture_output=True)
    assert not kept.exists()
    assert (tmp_path / "killed/table.csv").read_bytes() == (tmp_path / "whole/table.csv").read_bytes()


def test_a_wrong_option_at_the_end_costs_no_graphs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="late") as caught, result_folder(tmp_path / "study"):
        dynamic_graph(build("digits"), torch.rand(40, 1, 8, 8), torch.arange(40) % 4)
        raise ValueError("late")
    assert "it is not made again" in caught.value.__notes__[0]
    assert [path.name for path in tmp_path.iterdir()] == [".study.finished"]
    with result_folder(tmp_path / "study") as folder:
        write_settings(folder, {})
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_says_what_is_kept(which: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analyses.modularity_curve", "--layers", "all", "--num-samples", "20"]
    kept, deadline = tmp_path / ".study.finished", time.monotonic() + 120
    with stoppable([*command, "--repeats", "50", "--k", "1", "--out", str(tmp_path / "study")]) as process:
        while time.monotonic() < deadline and not (kept.is_dir() and len(list(kept.iterdir())) >= 2):
            time.sleep(0.002)
        process.send_signal(which)
        _, message = process.communicate(timeout=60)
    assert process.returncode in INTERRUPTED, message
    assert message.strip().endswith(f"stopped; what was finished is kept in {kept}: it is not made again")
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]


def test_work_of_another_version_of_the_package_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with finished_work(tmp_path / "work"):
        before = Finished(3).file("piece")
        assert Finished(3).file("piece") == before
        monkeypatch.setattr("graphmod._finished._own_source", lambda: b"another")
        assert Finished(3).file("piece") != before


def test_the_class_of_a_dataclass_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made.py").write_text("import dataclasses\n@dataclasses.dataclass\nclass G:\n    k: int = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    with finished_work(tmp_path / "work"):
        first = Finished(importlib.import_module("made").G()).file("x")
        with (tmp_path / "made.py").open("a") as file:
            file.write("    def __call__(self): return 4\n")
        linecache.checkcache()
        importlib.invalidate_caches()
        assert Finished(importlib.reload(sys.modules["made"]).G()).file("x") != first
