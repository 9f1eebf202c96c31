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


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python")])
def test_commands_and_numbers(command: str, shared: Path, cifar: Path, tmp_path: Path) -> None:
    (tmp_path / "cifar10").symlink_to(cifar)
    for name in ("resnet20", "resnet56"):
        (tmp_path / f"{name}.pt").symlink_to(shared / f"{name}-cifar10.pt")
    words = command.split()
    assert words[0] == "python"
    subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True, capture_output=True)
    model = words[words.index("--model") + 1]
    result = tmp_path / words[words.index("--out") + 1]
    assert (result / "figure.png").is_file()
    q = pd.read_csv(result / "table.csv").modularity
    row = re.search(rf"^\| {model.replace('resnet', 'ResNet-')}, measured \|(.*)\|$", README, re.MULTILINE)
    written = [float(cell) for cell in row[1].split("|")]
    assert written == pytest.approx([q.iloc[0], q.min(), q.iloc[-1]], abs=0.0015)


def test_every_study_is_in_the_table() -> None:
    from graphmod._family import members

    assert re.findall(r"^\| `python -m analyses\.(\w+)`", README, re.MULTILINE) == members("analyses")


def test_what_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).is_file(), target
