"""Names that somebody typed, and the names they may have meant."""

import difflib
import re
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns the words that name the three names nearest to `name`.

    Example:
        >>> nearest("layr1", ["conv1", "layer1"])
        "the nearest are 'layer1', 'conv1'"
    """
    found = difflib.get_close_matches(name, list(known), n=3, cutoff=0.0)
    return f"the nearest are {', '.join(map(repr, found))}" if found else "there are none to choose from"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns the sentence that says that `name` is not one of the `known` names of a kind of thing.

    Example:
        >>> unknown("graph", "knm", ["knn"])
        "there is no graph named 'knm'; the nearest are 'knn'"
    """
    return f"there is no {kind} named {name!r}; {nearest(name, known)}"


def natural_order(name: str) -> list[tuple[int, str]]:
    """Returns what names are to be sorted by, so that numbers in them count as numbers.

    Example:
        >>> sorted(["layer10", "layer2"], key=natural_order)
        ['layer2', 'layer10']
    """
    parts = ((text, digits.lstrip("0")) for text, digits in re.findall(r"([^0-9]+)|([0-9]+)", name))
    return [(-1, text) if text else (len(number), number) for text, number in parts]
