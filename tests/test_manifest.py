"""A result knows what it was made of and what it consists of, and says so when that is no longer true."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from graphmod.__main__ import main
from graphmod.datasets import load
from graphmod.manifest import manifest, note_input, verify
from graphmod.models import build, save_weights
from graphmod.reports import result_folder, write_settings


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from analyses.modularity_curve import SMOKE
    from analyses.modularity_curve import main as run

    place = tmp_path_factory.mktemp("study")
    save_weights(build("digits", weights="default"), place / "weights.safetensors")
    run(**SMOKE, weights=str(place / "weights.safetensors"), out=place / "result")
    return place


def test_it_lists_every_file_and_what_was_read(study: Path) -> None:
    content = json.loads((study / "result/manifest.json").read_text())
    names = {path.relative_to(study / "result").as_posix() for path in (study / "result").rglob("*") if path.is_file()}
    assert set(content["files"]) == names - {"manifest.json"} >= {"graphs/repeat0.safetensors", "settings.json"}
    for name, entry in content["files"].items():
        data = (study / "result" / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    inputs = {entry["kind"]: entry for entry in content["inputs"]}
    assert inputs["model"]["name"] == inputs["data"]["name"] == "digits"
    assert (inputs["data"]["split"], inputs["data"]["num_samples"]) == ("test", 100)
    weights = study / "weights.safetensors"
    assert inputs["model"]["file"] == str(weights)
    assert inputs["model"]["file_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    environment = json.loads((study / "result/settings.json").read_text())["environment"]
    assert environment.keys() >= {"command", "versions", "commit", "gpu", "threads", "dtype"}


def test_verify(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "result"
    shutil.copytree(study / "result", result)
    assert main(["verify", str(result), str(study / "result")]) == 0
    assert capsys.readouterr().out.count("all files are as they were written, see manifest.json\n") == 2
    (result / "table.csv").write_text((result / "table.csv").read_text().replace("0.", "1.", 1))
    (result / "figure.png").unlink()
    (result / "graphs/mine.txt").write_text("")
    with (result / "repeats.csv").open("a") as file:
        file.write("\n")
    assert sorted(verify(result)) == [
        "figure.png is missing", "graphs/mine.txt is not part of the result", "repeats.csv was changed",
        "table.csv was changed",
    ]  # fmt: skip
    assert main(["verify", str(result)]) == 1
    assert f"{result}: figure.png is missing\n" in capsys.readouterr().out


def test_weights_that_were_changed_since(study: Path) -> None:
    weights = study / "weights.safetensors"
    before = weights.read_bytes()
    save_weights(build("digits", weights=None), weights)
    assert verify(study / "result") == [f"{weights}, which the result was made of, was changed since"]
    weights.unlink()
    assert verify(study / "result") == []
    weights.write_bytes(before)


def test_other_numbers_have_another_sum(tmp_path: Path) -> None:
    sums = []
    for seed in (0, 0, 1):
        with result_folder(tmp_path / "result") as folder:
            build("digits", seed=seed)
            load("digits", num_samples=10, order="stratified", seed=seed)
            load("digits", num_samples=10, order="stratified", seed=seed)
            write_settings(folder, {})
        inputs = json.loads((tmp_path / "result/manifest.json").read_text())["inputs"]
        assert [entry["kind"] for entry in inputs] == ["model", "data"]
        sums.append([entry["sha256"] for entry in inputs])
    assert sums[0] == sums[1]
    assert not set(sums[0]) & set(sums[2])


def test_a_result_within_a_result_tells_it_what_was_read(tmp_path: Path) -> None:
    with manifest(tmp_path):
        (tmp_path / "inner").mkdir()
        with manifest(tmp_path / "inner"):
            note_input("data", "a", [torch.ones(2)])
    both = [json.loads((tmp_path / name).read_text())["inputs"] for name in ("manifest.json", "inner/manifest.json")]
    assert both[0] == both[1]
    assert len(both[0]) == 1
    note_input("data", "outside", [torch.ones(2)])  # goes nowhere
    assert verify(tmp_path) == verify(tmp_path / "inner") == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": {"a": 1}, "inputs": []}', '{"files": {}, "inputs": [1]}', "[" * 100_000, "\xff"]
)
def test_a_manifest_that_cannot_be_read(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"manifest.json cannot be read"):
        verify(tmp_path)
    assert main(["verify", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_command(study: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "graphmod", "verify"]
    whole = subprocess.run([*command, str(study / "result")], capture_output=True, text=True)
    assert (whole.returncode, whole.stderr) == (0, "")
    none = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert none.returncode == 2
    with pytest.raises(FileNotFoundError, match="there is no manifest.json in .*, which is no result of graphmod"):
        verify(tmp_path)
    assert none.stderr == f"error: there is no manifest.json in {tmp_path}, which is no result of graphmod\n"


def test_links_and_pipes_are_seen(tmp_path: Path) -> None:
    with result_folder(tmp_path / "study") as folder:
        write_settings(folder, {})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "study/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "study/dead").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "study/pipe")
    assert verify(tmp_path / "study") == [f"{name} is not part of the result" for name in ("dead", "link", "pipe")]
    with (
        pytest.raises(FileExistsError, match="holds dead, which is no part of its result"),
        result_folder(tmp_path / "study"),
    ):
        pass


@pytest.mark.parametrize("change", [{"bytes": 1e400}, {"bytes": "x"}])
def test_a_manifest_of_no_sizes(change: dict, tmp_path: Path) -> None:
    with result_folder(tmp_path / "study") as folder:
        write_settings(folder, {})
    place = tmp_path / "study/manifest.json"
    content = json.loads(place.read_text())
    content["files"]["settings.json"] |= change
    content["inputs"] = [{"file": "x" * 5000, "file_sha256": "0"}]
    place.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="manifest.json cannot be read"):
        verify(tmp_path / "study")
    del content["files"]["settings.json"]
    place.write_text(json.dumps(content))
    assert verify(tmp_path / "study") == ["settings.json is not part of the result"]
