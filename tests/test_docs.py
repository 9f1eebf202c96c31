"""The pages build without a warning, and every line of code on them runs."""

import importlib
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import graphmod
from graphmod import dynamic_graph, measure, plan_removal
from graphmod._family import members
from graphmod.attacks import find_attack
from graphmod.datasets import load
from graphmod.graphs import find_graph
from graphmod.models import build

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["choosing", "method", "quickstart", "reading"]


def blocks(page: str, kind: str = "python") -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", (ROOT / f"docs/{page}.md").read_text(), re.DOTALL | re.MULTILINE)


def test_they_build(tmp_path: Path) -> None:
    for name in ("docs", "README.md"):
        source = ROOT / name
        ignored = shutil.ignore_patterns("examples", "__pycache__")
        shutil.copytree(source, tmp_path / name, ignore=ignored) if source.is_dir() else shutil.copy(source, tmp_path)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", "site"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    pages = {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert pages >= {path.stem for path in (ROOT / "docs").glob("*.md")}
    examples = {path.stem for path in (ROOT / "docs/gallery").glob("*.py")}
    assert {path.stem for path in (tmp_path / "site/examples").glob("0*.html")} == examples
    reference = (tmp_path / "site/api.html").read_text()
    for name in graphmod.__all__:
        assert f'.{name}"' in reference, f"{name} is not in the reference"


@pytest.mark.filterwarnings("ignore")  # what timm and transformers say of themselves
@pytest.mark.parametrize("page", PAGES)
def test_their_code_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in blocks(page):
        exec(compile(block, f"{page}.md", "exec"), names)
    assert [path.name for path in tmp_path.iterdir()] == (["curve.png"] if page == "quickstart" else [])


def test_their_commands_are_there() -> None:
    for line in "\n".join(text for page in PAGES for text in blocks(page, "sh")).splitlines():
        found = re.match(r"python -m analyses\.(\w+)(.*)", line)
        if not found:
            continue
        options = re.findall(r"--([\w-]+)", found[2].split("#")[0])
        known = inspect.signature(importlib.import_module(f"analyses.{found[1]}").main).parameters
        assert {option.replace("-", "_") for option in options} <= set(known), line


@pytest.fixture
def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of docs/extending.md, each as if it lay in the folder that its first line names."""
    added = {}
    for block in blocks("extending"):
        path = tmp_path / re.match(r"# (\S+\.py)\n", block)[1]
        path.parent.mkdir(parents=True)
        path.write_text(block)
        package = ".".join(path.parent.relative_to(tmp_path).parts)
        home = importlib.import_module(package)
        monkeypatch.setattr(home, "__path__", [*home.__path__, str(path.parent)])
        added[package] = path.stem
    yield added
    for package, name in added.items():
        sys.modules.pop(f"{package}.{name}", None)
        if hasattr(sys.modules[package], name):
            delattr(sys.modules[package], name)


def test_what_is_added_is_found_and_works(extended: dict[str, str], tmp_path: Path) -> None:
    for package, name in extended.items():
        assert name in members(package)
    digits, model = load("digits", num_samples=100, order="stratified"), build("digits", weights="default")
    graphs = dynamic_graph(model, digits.images, digits.labels, "layer3.*", graph=find_graph("binary_knn"))
    assert set(graphs["layer3.0"].edge_weight.tolist()) == {0.5, 1.0}
    metric = importlib.import_module("graphmod.metrics.mean_weight").mean_weight
    for value, graph in zip(measure(graphs, metric).value, graphs.values(), strict=True):
        assert value == pytest.approx(float(graph.edge_weight.mean()))
    brighter = find_attack("brightness")(model, digits.images, digits.labels, eps=0.2)
    assert torch.equal(brighter, (digits.images + 0.2).clamp(max=1))
    plan = plan_removal(model, digits.images, digits.labels, num_layers=2, criterion="first")
    assert list(plan.layer) == ["layer1.0", "layer1.1"]
    tiny = build("tiny", num_classes=3)
    assert tiny(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    assert list(dynamic_graph(tiny, digits.images, digits.labels)) == ["first", "second"]
    study = importlib.import_module("analyses.weights")
    table = study.main(**study.SMOKE, out=tmp_path / "result")
    assert {"modularity", "knn_accuracy"} <= set(table)
    assert (tmp_path / "result/figure.png").is_file()
