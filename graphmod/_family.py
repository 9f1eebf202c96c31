"""Open families: a folder whose every file `<name>.py` holds one function of a known name.

A new member is a new file. There is nothing to register: the folder is listed.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from ._names import unknown


def members(family: str) -> list[str]:
    """Returns the names of a family's members in alphabetical order.

    Args:
        family: The full name of the package, such as `"graphmod.graphs"`.

    Example:
        >>> members("graphmod.graphs")
        ['euclidean_knn', 'knn', 'mutual_knn']
    """
    path = importlib.import_module(family).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def member(family: str, name: str, suffix: str = "") -> Callable[..., Any]:
    """Returns the function `name + suffix` of the file `name` in a family.

    Args:
        family: The full name of the package.
        name: The file's name without `.py`.
        suffix: What the function's name has after the file's name: `"_graph"` for graphs.

    Raises:
        ValueError: If the family has no such member.
    """
    if name not in members(family):
        raise ValueError(unknown(f"{family} member", name, members(family)))
    function: Callable[..., Any] = getattr(importlib.import_module(f"{family}.{name}"), name + suffix)
    return function
