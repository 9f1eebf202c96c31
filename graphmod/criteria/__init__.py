"""Criteria of layer removal, an open family: the file `<name>.py` holds `<name>(state) -> {layer: damage}`.

A criterion says what removing each of some layers would cost, in any unit; the layer with the smallest goes first.
"""

from collections.abc import Callable

from .._family import member
from ._state import State

__all__ = ["State", "find_criterion"]


def find_criterion(name: str) -> Callable[[State], dict[str, float]]:
    """Returns the criterion of a name.

    Raises:
        ValueError: If there is no such criterion.

    Example:
        >>> find_criterion("modularity").__name__
        'modularity'
    """
    return member(__name__, name)
