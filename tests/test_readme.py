"""What the README says is what happens: its code runs, its commands exist, its numbers are measured."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.split("#")[0].strip() for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line]


def test_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "README.md", "exec"), names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curve.png", "graphs.safetensors"]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make")])
def test_make(command: str) -> None:
    plan = subprocess.run([*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"make demo": "-m analyses.modularity_curve", "make test": "-m pytest"}[command] in plan


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.slow] if "analyses.metrics" in command else [])  # a minute
        for command in COMMANDS
        if command.startswith("python")
    ],
)
def test_commands_and_numbers(command: str, shared: Path, cifar: Path, tmp_path: Path) -> None:
    (tmp_path / "cifar10").symlink_to(cifar)
    for name in ("resnet20", "resnet56"):
        (tmp_path / f"{name}.pt").symlink_to(shared / f"{name}-cifar10.pt")
    words = command.split()
    assert words[0] == "python"
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True, capture_output=True)
    result = tmp_path / words[words.index("--out") + 1]
    assert (result / "figure.png").is_file()
    table = pd.read_csv(result / "table.csv")
    study = words[2].removeprefix("analyses.")
    if study == "modularity_curve":
        name = words[words.index("--model") + 1].replace("resnet", "ResNet-")
        q = table.modularity
        assert row(f"{name}, measured") == pytest.approx([q.iloc[0], q.min(), q.iloc[-1]], abs=0.0015)
    elif study == "communities":
        lowest = int(table.modularity_labels.argmin())
        columns = ["modularity_labels", "modularity_found", "modularity_ratio", "ami"]
        for name, layer in {"first layer": 0, "layer of lowest Q": lowest, "last layer": -1}.items():
            assert row(name) == pytest.approx(table[columns].iloc[layer].tolist(), abs=0.011), name
    elif study == "significance":
        lowest = table.iloc[int(table.modularity.argmin())]
        text = f"Even at its lowest Q is {lowest.z:.1f} standard deviations above that of shuffled labels (p = "
        assert text + f"{lowest.p_value:.3f}" in README
    else:
        assert study == "metrics"
        rho = pd.read_csv(result / "correlation.csv").set_index("metric").spearman
        for name, written in {
            "knn_accuracy": "0.99",
            "neural_collapse": "−0.88",
            "participation_ratio": "−0.05",
        }.items():
            assert f"{rho[name]:.2f}".replace("-", "−") == written
            assert written in README


def row(name: str) -> list[float]:
    """The numbers of the README's table in the row of that name."""
    found = re.search(rf"^\| {re.escape(name)} \|(.*)\|$", README, re.MULTILINE)
    return [float(cell) for cell in found[1].split("|")]


def test_speed_is_what_was_measured() -> None:
    section = README.split("\n## Speed\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    measured = "\n".join(path.read_text() for path in (ROOT / "benchmarks/results").glob("*.md")).splitlines()
    assert len(lines) > 10
    assert [line for line in lines if line not in measured] == []


def test_every_study_is_in_the_table() -> None:
    from graphmod._family import members

    assert re.findall(r"^\| `python -m analyses\.(\w+)`", README, re.MULTILINE) == members("analyses")


def test_what_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        path, _, heading = target.partition("#")
        path = path or "README.md"
        assert (ROOT / path).exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}, target


def test_the_points_of_the_pruned_networks_are_those_of_the_table() -> None:
    table = pd.read_csv(ROOT / "docs/layer_pruning.csv").query("schedule == 'scratch'")
    before = table[table.network == "whole"].set_index("seed").accuracy
    points = (100 * (table.accuracy_last - table.seed.map(before))).groupby(table.network)
    mean, std, spread = points.mean().round(2), points.std().round(2), points.agg(["min", "max"]).round(2)
    text = " ".join(README.split("\n## A smaller network\n")[1].split("\n## ")[0].split())
    chosen = spread.loc["plateau_by_stage"]
    assert f"{mean.plateau_by_stage} points above that network ({chosen['min']} to {chosen['max']} over three" in text
    assert f"layout ends {mean['layout 2-3-6']} points above it, uniform removal {mean.uniform}," in text
    assert f"random removal {mean.random}, and the whole network, trained a second time as well, {mean.whole}." in text
    section = (ROOT / "docs/studies.md").read_text().split("\n### One schedule")[1].split("\n### ")[0]
    for network in mean.index:
        assert re.search(
            rf"^\| `?{network}`? \|.*\| \+{mean[network]:.2f} ± {std[network]:.2f} \|", section, re.MULTILINE
        )
