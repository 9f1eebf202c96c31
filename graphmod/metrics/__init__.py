"""Numbers that a graph and its labels give, an open family: the file `<name>.py` holds `<name>(graph, ...) -> Tensor`.

A metric takes a `Data`, or a `Batch` of several, and reads the labels from `graph.y` unless it is given others. It
returns a float64 tensor, `[]` for a graph and `[B]` for a batch, or a dict of such tensors by name.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch_geometric.data import Data

from .._family import member

Metric = Callable[[Data], Tensor | Mapping[str, Tensor] | Mapping[str, float]]
"""A function of a graph that returns a number `[]`, or several by name."""

Metrics = str | Metric | Iterable[str | Metric]
"""One or more of them, as functions or by name."""


def find_metric(name: str | Callable[..., Any]) -> Callable[..., Any]:
    """Returns a member of the family by its name; a function is returned as it is.

    Raises:
        TypeError: If it is neither a name nor a function.
        ValueError: If there is no such member; the message names the nearest.

    Example:
        >>> find_metric("modularity").__name__
        'modularity'
    """
    if callable(name):
        return name
    if not isinstance(name, str):
        raise TypeError(f"metrics must be names such as 'modularity' or functions of a graph; got {name!r}")
    return member(__name__, name)


def find_metrics(metrics: Metrics) -> list[Metric]:
    """Returns one or more metrics, given as functions or by name, as a list of functions.

    Raises:
        TypeError, ValueError: As `find_metric`.

    Example:
        >>> [metric.__name__ for metric in find_metrics("homophily")]
        ['homophily']
    """
    return list(map(find_metric, [metrics] if callable(metrics) or isinstance(metrics, str) else metrics))
