"""Graphs of samples, an open family: the file `<name>.py` holds `<name>_graph(x, k, ...) -> Data`.

Every member finds neighbours in `_topk.py`, weighs them, and makes its `Data` through `_build.py`.
"""

from collections.abc import Callable

from torch_geometric.data import Data

from .._family import member


def find_graph(name: str | Callable[..., Data]) -> Callable[..., Data]:
    """Returns the function of a member of the family by the member's name; a function is returned as it is.

    Raises:
        TypeError: If it is neither a name nor a function.
        ValueError: If there is no such member; the message names the nearest.

    Example:
        >>> find_graph("knn").__name__
        'knn_graph'
    """
    if callable(name):
        return name
    if not isinstance(name, str):
        raise TypeError(f"graph must be a name such as 'knn' or a function; got {type(name).__name__}")
    return member(__name__, name, "_graph")
