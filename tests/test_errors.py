"""Every message that the package raises or warns with: listed with cause and cure in docs/errors.md, and tested.

A message is read from the source as a template, with `…` for what varies. A test is read as the texts that it looks for:
those in a `match=` and in an `assert` with `in`, and where these are variables, all texts of the test.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/errors.md"
MODULES = sorted([*(ROOT / "graphmod").rglob("*.py"), *(ROOT / "analyses").glob("*.py")])
SHARED = 16  # characters in a row that a test must have in common with the message that it looks for
INSTEAD = {
    "_draws": "samples",
    "_layers": "activations",
    "_files": "training",
    "_checkpoints": "training",
    "_steps": "training",
    "_tensors": "training",
    "_sources": "datasets",
    "pooling": "inputs",
}  # files that another file's tests test
ALSO = {  # test files that look for messages of other files as well
    "activations": ("inputs",),
    "analyses": ("tracking",),
    "graphs": ("curves",),
    "inputs": ("activations",),
    "metrics": ("modularity", "communities"),
    "models": ("inputs",),
    "plots": ("ablation", "embeddings", "layer_matrices", "tracking"),
    "samples": ("activations", "inputs"),
}


def template(message: ast.expr | None, names: dict[str, ast.expr], helpers: dict[str, ast.FunctionDef]) -> str:
    """A message with `…` for what varies; variables and functions that return a sentence are followed."""
    match message:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return re.sub("…{2,}", "…", "".join(template(part, names, helpers) for part in parts))
        case ast.FormattedValue(value=value, format_spec=None):
            return template(value, names, helpers)
        case ast.Name(id=name) if name in names:
            return template(names[name], {}, helpers)
        case ast.Call(func=ast.Name(id=name), args=args) if name in helpers:
            given = dict(zip((one.arg for one in helpers[name].args.args), args, strict=False))
            return template(helpers[name].body[-1].value, given, helpers)
    return "…"


def messages(source: str, other: str = "") -> Iterator[tuple[int, str]]:
    """Line and template of each error raised and warning given; `other` source may define functions of messages."""
    tree = ast.parse(source)
    helpers = {
        node.name: node
        for node in (*ast.parse(other).body, *tree.body)
        if isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return)
    }
    inside = {
        node: function
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        before = ""
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id="KeyError"))):
                continue  # of a mapping: it names the key
            case ast.Raise(exc=ast.Call(func=ast.Attribute(attr="ArgumentTypeError"), args=[message])):
                before = "argument …: "  # as argparse says it
            case (
                ast.Raise(exc=ast.Call(args=[message, *_]))
                | ast.Call(func=ast.Attribute(attr="warn"), args=[message, *_])
            ):
                pass
            case ast.Raise(exc=exc) if exc is not None and not isinstance(exc, ast.Name):
                message = exc  # hidden
            case _:
                continue
        names = {
            one.targets[0].id: one.value
            for one in (ast.walk(inside[node]) if node in inside else ())
            if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)
        }
        yield node.lineno, before + template(message, names, helpers)


def looked_for(source: str) -> Iterator[str]:
    """The texts that tests look for in messages, with `…` for what a pattern leaves open."""
    tree = ast.parse(source)
    given = {
        one.targets[0].id: one.value
        for one in tree.body
        if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)
    }
    for test in (one for one in tree.body if isinstance(one, ast.FunctionDef)):
        patterns: list[ast.AST] = []
        for one in ast.walk(test):
            match one:
                case ast.keyword(arg="match", value=pattern):
                    patterns.append(pattern)
                case ast.Assert(test=ast.Compare(left=pattern, ops=[ast.In()])):
                    patterns.append(pattern)
        names = {one.id for one in ast.walk(test) if isinstance(one, ast.Name)}
        if any(isinstance(one, ast.Name) for pattern in patterns for one in ast.walk(pattern)):
            patterns = [test, *(value for name, value in given.items() if name in names)]
        nodes = [one for pattern in patterns for one in ast.walk(pattern)]
        parts = {part for one in nodes if isinstance(one, ast.JoinedStr) for part in one.values}
        for one in nodes:
            text = isinstance(one, ast.JoinedStr) or (isinstance(one, ast.Constant) and isinstance(one.value, str))
            if text and one not in parts:
                yield template(one, {}, {})


def open_parts(pattern: str) -> str:
    """A regular expression with `…` for whatever is not one certain character."""
    try:
        parsed = re._parser.parse(pattern)  # type: ignore[attr-defined]
    except re.error:
        return ""
    return re.sub("…{2,}", "…", "".join(_open(parsed)))


def _open(parsed: Iterable[tuple]) -> Iterator[str]:
    for kind, value in parsed:
        if str(kind) == "LITERAL":
            yield chr(value)
        elif str(kind) == "SUBPATTERN":
            yield from _open(value[3])
        elif str(kind) != "AT":
            yield "…"


def shared(text: str, message: str) -> int:
    """Characters in a row that a text has in common with the message in which it is found; 0 where it is not found.

    Each `…` stands for any characters or none; what is under the `…` of the other side is not counted.
    """
    text = f"…{text}…"
    best: dict[tuple[int, int], tuple[int, int]] = {(0, 0): (0, 0)}  # place in both -> longest and present run
    for i in range(len(text) + 1):
        for j in range(len(message) + 1):
            if (i, j) not in best:
                continue
            longest, run = best[i, j]
            a, b = text[i : i + 1], message[j : j + 1]
            steps = []
            if a == "…":
                steps += [(i + 1, j), (i, j + 1)]
            if b == "…":
                steps += [(i, j + 1), (i + 1, j)]
            for step in steps:
                if step[0] <= len(text) and step[1] <= len(message):
                    best[step] = max(best.get(step, (0, 0)), (longest, 0))
            if a == b and a not in ("", "…"):
                best[i + 1, j + 1] = max(best.get((i + 1, j + 1), (0, 0)), (max(longest, run + 1), run + 1))
    return best.get((len(text), len(message)), (0, 0))[0]


def looks_for(text: str, message: str) -> bool:
    """Whether a text, read as a pattern or as it stands, is found in a message and has enough in common with it."""
    need = min(SHARED, max(len(part.strip()) for part in message.split("…")))
    pieces = {message[i : i + need] for i in range(len(message) - need + 1)}
    readings = {open_parts(text), re.sub(r"\{\w*\}", "…", text)}
    return any(any(piece in one for piece in pieces) and shared(one, message) >= need for one in readings)


Wanted = tuple[str, frozenset[str]]  # a message, and the names of the test files that may look for it


def untested(wanted: Sequence[Wanted], tests: Mapping[str, str]) -> list[str]:
    """The messages without a text of their own in the tests: a text that fits several messages counts for one of them."""
    texts = [(name, text) for name, source in tests.items() for text in looked_for(source)]
    fits = [
        [i for i, (name, text) in enumerate(texts) if name in names and looks_for(text, message)]
        for message, names in wanted
    ]
    taken: dict[int, int] = {}

    def has_its_own(message: int, tried: set[int]) -> bool:
        for text in fits[message]:
            if text not in tried:
                tried.add(text)
                if text not in taken or has_its_own(taken[text], tried):
                    taken[text] = message
                    return True
        return False

    return [message for i, (message, _) in enumerate(wanted) if not has_its_own(i, set())]


def package() -> Iterator[tuple[Path, str]]:
    """File and template of every message of the project."""
    names = (ROOT / "graphmod/_names.py").read_text()
    for path in MODULES:
        for _, message in messages(path.read_text(), names):
            if not message.startswith(("it holds ", "its ")):  # the reason within another: `… is not …: it holds …`
                yield path, message


def files_of_tests(path: Path) -> frozenset[str]:
    """The test files that may look for the messages of a file."""
    first, *others = path.relative_to(ROOT).with_suffix("").parts
    stage = first if first == "analyses" else others[0]
    stems = (INSTEAD.get(stage, stage.lstrip("_")), *ALSO.get(stage, ()), "hostile")
    return frozenset(one.name for stem in stems for one in (ROOT / "tests").glob(f"test_{stem}*.py"))


def entries(page: str) -> list[tuple[str, list[str]]]:
    """The messages of the page, and what is said of each."""
    found = re.findall(r"^- `(.+)`\n((?:  - .+\n)*)", page, re.MULTILINE)
    return [(message, [line.strip() for line in lines.splitlines()]) for message, lines in found]


def matches(entry: str, message: str) -> bool:
    """Whether an entry, in which `…` stands for one or more characters, means a message."""
    return re.fullmatch(".+".join(map(re.escape, entry.split("…"))), message) is not None


def test_every_message_is_on_the_page_once_and_nothing_else() -> None:
    listed = [entry for entry, _ in entries(PAGE.read_text())]
    given = sorted({message for _, message in package()})
    found = {message: [entry for entry in listed if matches(entry, message)] for message in given}
    assert not {message: there for message, there in found.items() if len(there) != 1}
    assert not [entry for entry in listed if not any(entry in there for there in found.values())]
    assert len(listed) == PAGE.read_text().count("\n- ")


def test_every_entry_has_a_cause_and_a_cure() -> None:
    for entry, lines in entries(PAGE.read_text()):
        assert [line.split(":")[0] for line in lines] == ["- Cause", "- Cure"], entry


def test_no_message_is_hidden_behind_a_variable() -> None:
    assert not [(path.name, message) for path, message in package() if message == "…"]


def test_every_message_has_a_test() -> None:
    wanted = list(dict.fromkeys((message, files_of_tests(path), path) for path, message in package()))
    tests = {path.name: path.read_text() for path in (ROOT / "tests").glob("test_*.py")}
    assert not untested([(message, names) for message, names, _ in wanted], tests)


# --- the reading itself, on a small module and its tests ---

MODULE = """
import warnings
from names import unknown

def check(k, name, known):
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}")
    try:
        pass
    except KeyError:
        raise
    if name not in known:
        said = f"{unknown('graph', name)}: choose one"
    if name is None:
        raise KeyError(name)
    if name == "old":
        warnings.warn(f"{name!r} is old; take {known[0]:>3} instead", stacklevel=2)
    raise type(error)(said)
"""
NAMES = '''
def unknown(kind, name):
    """Says it."""
    return f"there is no {kind} named {name!r}"
'''
TESTS = """
@pytest.mark.parametrize(("k", "message"), [(0, "k must be at least 1; got 0"), (1, "too short")])
def test_k(k, message):
    with pytest.raises(ValueError, match=message):
        check(k)

def test_names():
    "there is no graph named: only what is looked for counts, and this is not"
    with pytest.warns(UserWarning, match=r"'old' is old; take \\w+ instead$"):
        check(1, "old", ["new"])
    with pytest.raises(ValueError, match="there is no graph named 'knm': choose"):
        check(1, "knm", [])
"""


def small() -> list[Wanted]:
    return [(message, frozenset({"test_small.py"})) for _, message in messages(MODULE, NAMES)]


def test_messages_are_read_as_templates() -> None:
    assert {message for message, _ in small()} == {
        "k must be at least 1; got …",
        "… is old; take … instead",
        "there is no graph named …: choose one",
    }


def test_a_message_that_cannot_be_read_is_seen() -> None:
    for line in ("raise TypeError(text)", "raise ValueError('a') if k else TypeError('b')", "raise ValueError()"):
        assert list(messages(f"def check(k, text):\n    {line}")) == [(2, "…")]
    assert not list(messages("def check(error):\n    raise error"))


def test_tests_are_read_as_what_they_look_for() -> None:
    assert set(looked_for(TESTS)) >= {"k must be at least 1; got 0", r"'old' is old; take \w+ instead$"}
    assert not [text for text in looked_for(TESTS) if "only what is looked for" in text]
    assert untested(small(), {"test_small.py": TESTS}) == []
    assert len(untested(small(), {"test_other.py": TESTS})) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("k must be at least 1; got 0", "k must be at least 1; got …"),
        (r"'old' is old; take \w+ instead$", "… is old; take … instead"),
        ("there is no graph named 'knm': choose", "there is no graph named …: choose one"),
    ],
)
def test_a_test_taken_away_is_missed(line: str, message: str) -> None:
    for other in ("", "got 0", "repeats must be at least 1; got 0", ".*"):
        assert untested(small(), {"test_small.py": TESTS.replace(line, other)}) == [message]


def test_one_test_does_not_stand_for_two_messages() -> None:
    twice = [*small(), ("k must be at least 1; got … and …", frozenset({"test_small.py"}))]
    shorter = TESTS.replace("at least 1; got 0", "at least 1; got")
    assert len(untested(twice, {"test_small.py": shorter})) == 1
    more = (
        shorter
        + "\ndef test_more():\n    with pytest.raises(ValueError, match='k must be at least 1; got 0 and'): ...\n"
    )
    assert untested(twice, {"test_small.py": more}) == []


@pytest.mark.parametrize(
    ("entry", "message", "same"),
    [
        ("k must be at least 1; got …", "k must be at least 1; got …", True),
        ("… must be at least 1; got …", "k must be at least 1; got …", True),
        ("k must be at least …", "k must be at least 1; got …", True),
        ("k must be at least 1", "k must be at least 1; got …", False),
        ("k must be at least 2; got …", "k must be at least 1; got …", False),
    ],
)
def test_an_entry_means_what_it_matches(entry: str, message: str, same: bool) -> None:
    assert matches(entry, message) is same
