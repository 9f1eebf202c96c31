"""A command line made of a function's signature: `run(main)` at the end of a study."""

import argparse
import inspect
import os
import re
import signal
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from ._files import reason
from .distributed import processes_of_torchrun, under_torchrun


def run(main: Callable[..., Any], arguments: Sequence[str] | None = None, *, distributed: bool = False) -> None:
    """Calls a function with the options of a command line.

    Each keyword-only parameter `num_samples: int = 500` becomes an option `--num-samples 500`; its help is the
    parameter's entry in the docstring's `Args`. Options may be `str`, `int`, `float`, `bool` (`--x`, `--no-x`), `Path`,
    a `Literal`, one of these or None (`none`), or a tuple of them (separated by commas).

    A wrong value, an unreadable file, a package that is not installed or an error from inside a network ends the
    program with one sentence and status 2, Ctrl-C with status 130; with `GRAPHMOD_TRACEBACK=1` in the environment an
    error shows where it was raised. A warning is one sentence too.

    Args:
        main: The function.
        arguments: The words of the command line; `sys.argv[1:]` if None.
        distributed: Whether several processes, which torchrun starts, may share its work.
    """
    options = parser(main)
    values = vars(options.parse_args(arguments))
    seed = values.get("seed")
    if isinstance(seed, int) and not 0 <= seed < 2**31:  # as NumPy takes it, and what draws from it
        options.error(f"argument --seed: must be from 0 to {2**31 - 1}; got {seed}")
    if under_torchrun() and not distributed:
        sys.exit(_say("error: this study runs in one process; start it by python instead of torchrun", 2))
    try:
        with _plain_warnings(), _terminated_as_interrupted(), processes_of_torchrun():
            main(**values)
    except KeyboardInterrupt as error:
        sys.exit(_say("; ".join(["stopped", *getattr(error, "__notes__", ["nothing was written"])]), 130))
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, AssertionError) as error:
        if os.environ.get("GRAPHMOD_TRACEBACK"):
            raise
        inside = isinstance(error, (RuntimeError, AssertionError))  # a network, whose words may not tell enough
        said = f"{reason(error)} (GRAPHMOD_TRACEBACK=1 shows where)" if inside else str(error).strip()
        sys.exit(_say("\n".join([f"error: {said}", *getattr(error, "__notes__", [])]), 2))


def parser(main: Callable[..., Any]) -> argparse.ArgumentParser:
    """Returns the parser of a function's keyword-only parameters; its description is the docstring of their module.

    Example:
        >>> def main(*, k: int = 3, layers: tuple[str, ...] = ("blocks",)) -> None: ...
        >>> vars(parser(main).parse_args(["--layers", "conv1,layer1.*"]))
        {'k': 3, 'layers': ('conv1', 'layer1.*')}
    """
    module = inspect.getmodule(main)
    description = inspect.cleandoc((module.__doc__ if module else None) or main.__doc__ or "")
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.usage = "%(prog)s [options]"
    found._negative_number_matcher = re.compile(r"^-(\d|\.\d|inf)")  # which is no option, also as -1e-3
    if module and module.__spec__:
        found.prog = f"python -m {module.__spec__.name}"
    hints, helps = get_type_hints(main), _help(main.__doc__ or "")
    for name, parameter in inspect.signature(main).parameters.items():
        shown = ",".join(map(str, parameter.default)) if isinstance(parameter.default, tuple) else parameter.default
        text = f"{helps.get(name, '')} [{'none' if shown is None else shown}]".replace("%", "%%").strip()
        option: dict[str, Any] = {"default": parameter.default, "help": text}
        if hints[name] is bool:
            option["action"] = argparse.BooleanOptionalAction
        else:
            option |= {"type": _converter(hints[name]), "metavar": _metavar(hints[name])}
        found.add_argument(f"--{name.replace('_', '-')}", **option)
    return found


def _converter(hint: Any) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        if get_origin(hint) in (Union, types.UnionType):
            if text.lower() == "none" and type(None) in get_args(hint):
                return None
            return _converter(next(one for one in get_args(hint) if one is not type(None)))(text)
        if get_origin(hint) is tuple:
            return tuple(_converter(get_args(hint)[0])(part) for part in text.split(",") if part)
        if get_origin(hint) is Literal:
            known = {str(one): one for one in get_args(hint)}
            if text not in known:
                raise argparse.ArgumentTypeError(f"must be one of {', '.join(known)}; got {text!r}")
            return known[text]
        try:
            return {"yes": True, "no": False}[text.lower()] if hint is bool else hint(text)
        except (ValueError, KeyError):
            raise argparse.ArgumentTypeError(f"must be {_metavar(hint)}; got {text!r}") from None

    return convert


def _metavar(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return "|".join("none" if one is type(None) else _metavar(one) for one in get_args(hint))
    if get_origin(hint) is tuple:
        return f"{_metavar(get_args(hint)[0])},..."
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    return {bool: "yes|no", int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}[hint]


def _help(docstring: str) -> dict[str, str]:
    """The entries of a Google-style `Args` section by name."""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n|\n)+)", inspect.cleandoc(docstring) + "\n", re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Shows each warning once for a while, as one sentence without the place in the code."""
    said: set[str] = set()

    def once(message: Warning | str, *_: Any, **__: Any) -> str:
        text = f"warning: {message}\n"
        again = text in said
        said.add(text)
        return "" if again else text

    before, warnings.formatwarning = warnings.formatwarning, once
    try:
        yield
    finally:
        warnings.formatwarning = before


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Lets SIGTERM end what runs as Ctrl-C does, for a while."""

    def interrupt(*_: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(sentence: str, status: int) -> int:
    sys.stderr.write(sentence + "\n")
    return status
