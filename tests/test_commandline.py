import signal
import warnings
from pathlib import Path
from typing import Literal

import pytest
import torch

from graphmod.commandline import parser, run


def study(
    *,
    model: str = "digits",
    weights: str | None = "default",
    k: int = 3,
    lr: float = 0.1,
    flip: bool = False,
    layers: tuple[str, ...] = ("blocks",),
    order: Literal["file", "stratified"] = "file",
    size: int | None = None,
    out: Path = Path("results"),
) -> None:
    """Runs a study.

    Args:
        model: The network, which
            may be any.
        k: Neighbours, 100 % exact.
    """


def parse(*words: str) -> dict:
    return vars(parser(study).parse_args(words))


def test_defaults_are_those_of_the_signature() -> None:
    assert parse() == {
        "model": "digits", "weights": "default", "k": 3, "lr": 0.1, "flip": False, "layers": ("blocks",),
        "order": "file", "size": None, "out": Path("results"),
    }  # fmt: skip


def test_every_type() -> None:
    found = parse(
        "--model", "x", "--weights", "none", "--k", "5", "--lr", "1e-3", "--flip", "--layers", "conv1,layer1.*",
        "--order", "stratified", "--size", "32", "--out", "a/b",
    )  # fmt: skip
    assert found == {
        "model": "x", "weights": None, "k": 5, "lr": 1e-3, "flip": True, "layers": ("conv1", "layer1.*"),
        "order": "stratified", "size": 32, "out": Path("a/b"),
    }  # fmt: skip
    assert parse("--no-flip", "--layers", "")["layers"] == ()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--k", "three"], "argument --k: must be INT; got 'three'"),
        (["--order", "random"], "argument --order: must be one of file, stratified; got 'random'"),
        (["--q", "3"], "unrecognized arguments: --q 3"),
    ],
)
def test_wrong_words_end_with_status_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(study, words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seeds_that_some_generators_do_not_take(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    def main(*, seed: int = 0) -> None:
        raise AssertionError(seed)

    with pytest.raises(SystemExit) as ended:
        run(main, ["--seed", str(seed)])
    assert ended.value.code == 2
    assert f"argument --seed: must be from 0 to 2147483647; got {seed}" in capsys.readouterr().err


def test_help_comes_from_the_docstring() -> None:
    text = " ".join(parser(study).format_help().split())
    assert "--model TEXT The network, which may be any. [digits]" in text
    assert "Neighbours, 100 % exact. [3]" in text
    assert "--order file|stratified" in text
    assert "--layers TEXT,... [blocks]" in text


def test_errors_are_one_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*, k: int = 3) -> None:
        raise ValueError(f"k is {k}")

    with pytest.raises(SystemExit) as ended:
        run(broken, ["--k", "4"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: k is 4\n"
    monkeypatch.setenv("GRAPHMOD_TRACEBACK", "1")
    with pytest.raises(ValueError, match="k is 3"):
        run(broken, [])


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError, torch.OutOfMemoryError])
def test_errors_inside_a_network_are_one_sentence_and_a_way_to_the_rest(
    kind: type[Exception], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*, said: str = "") -> None:
        raise kind(said + "\nat line 3" if said else "")

    for words, first in (([], kind.__name__), (["--said", "size is too small"], "size is too small")):
        with pytest.raises(SystemExit) as ended:
            run(broken, words)
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"error: {first} (GRAPHMOD_TRACEBACK=1 shows where)\n"
    monkeypatch.setenv("GRAPHMOD_TRACEBACK", "1")
    with pytest.raises(kind):
        run(broken, [])


def test_a_package_that_is_missing_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def bare(*, k: int = 3) -> None:
        raise ModuleNotFoundError("art:NAME needs the toolbox: pip install it")

    with pytest.raises(SystemExit) as ended:
        run(bare, [])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: art:NAME needs the toolbox: pip install it\n"


def test_warnings_are_one_sentence_and_all_is_as_it_was_afterwards() -> None:
    def careless(*, k: int = 3) -> None:
        assert warnings.formatwarning("k is 3", UserWarning, "file.py", 1) == "warning: k is 3\n"

    before = warnings.formatwarning, signal.getsignal(signal.SIGTERM)
    run(careless, [])
    assert (warnings.formatwarning, signal.getsignal(signal.SIGTERM)) == before


def test_a_warning_is_said_once() -> None:
    said = []

    def repeating(*, k: int = 3) -> None:
        for i, message in enumerate(("the same", "the same", "another")):
            said.append(warnings.formatwarning(message, UserWarning, "file.py", i))

    run(repeating, [])
    assert said == ["warning: the same\n", "", "warning: another\n"]


def test_choices_of_numbers_words_for_none_and_negative_exponents() -> None:
    def main(*, k: Literal[1, 3] = 1, flag: bool | None = None, x: float = 0.0, seed: int | None = None) -> None:
        """Does nothing."""

    read = vars(parser(main).parse_args(["--k", "3", "--flag", "no", "--x", "-1e-3", "--seed", "none"]))
    assert read == {"k": 3, "flag": False, "x": -1e-3, "seed": None}
    assert vars(parser(main).parse_args(["--flag", "none", "--x", "-inf"]))["flag"] is None
    run(main, [])
