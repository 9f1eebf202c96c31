"""Modularity over a training: epochs to the right, layers upwards."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._draws import evenly
from ._axes import MAX_NAMES, new_axes, short, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LINES = 6
"""Above so many layers some of them, evenly spaced, get a line."""


def plot_dynamics(table: pd.DataFrame, *, metric: str = "modularity", accuracy: str | None = None) -> "Axes":
    """Draws how the layers change with the epochs: on the left as lines, on the right as a map of all of them.

    Args:
        table: A table of `graphmod.tracking.ModularityTracker`: `epoch`, `layer`, `depth`, `metric`, `value`.
        metric: The metric to draw.
        accuracy: Name of a number of the whole network, in [0, 1], that stands in the table under depth 0; it is drawn
            dashed beside the lines.

    Returns:
        The left `Axes`.

    Raises:
        ValueError: If the table has no such metric or number.

    Example:
        >>> table = pd.DataFrame({"epoch": [0, 1], "layer": "fc", "depth": 1, "metric": "modularity", "value": 0.5})
        >>> plot_dynamics(table).get_xlabel()
        'epoch'
    """
    import seaborn as sns

    rows = table[(table.depth > 0) & (table.metric == metric)]
    if rows.empty:
        raise ValueError(f"the table has no metric {metric!r}; it has {_names(table[table.depth > 0])}")
    values = rows.pivot(index="depth", columns="epoch", values="value")
    layers = short(rows.drop_duplicates("depth").set_index("depth").layer.loc[values.index])
    title = "modularity Q" if metric == "modularity" else metric.replace("_", " ")
    left, right = new_axes(11, min(max(1.5 + 0.2 * len(values), 4), 6.5), columns=2)

    chosen = evenly(len(values), MAX_LINES)
    style, dashed = ("-", "--") if values.shape[1] > 1 else ("o", "s")  # one point makes no line
    for place, color in zip(chosen, sns.color_palette("viridis", len(chosen)), strict=True):
        left.plot(values.columns, values.iloc[place], style, color=color, label=layers[place])
    if accuracy is not None:
        whole = table[(table.depth == 0) & (table.metric == accuracy)]
        if whole.empty:
            raise ValueError(f"the table has no number {accuracy!r}; it has {_names(table[table.depth == 0])}")
        left.plot(whole.epoch, whole.value, dashed, color="0.3", label=accuracy.replace("_", " "))
    left.set(xlabel="epoch", ylabel=title if accuracy is None else f"{title}, accuracy")
    names = [str(line.get_label()) for line in left.lines]  # said, or matplotlib leaves out those that begin with "_"
    left.legend(left.lines, names, reverse=True, frameon=False, fontsize="small")  # the deepest above, as in the map

    mesh = right.pcolormesh(_edges(values.columns), _edges(values.index), values, cmap="mako", rasterized=True)
    right.figure.colorbar(mesh, ax=right, label=title)
    if len(values) <= MAX_NAMES:
        right.set_yticks(list(values.index), layers)
    right.set(xlabel="epoch", ylabel="layer")
    right.grid(visible=False)
    for ax in (left, right):
        whole_ticks(ax)
    return left


def _edges(centers: pd.Index) -> np.ndarray:
    """The borders of cells around growing numbers, halfway between them, and half a unit outside the first and last."""
    x = centers.to_numpy(dtype=float)
    middle = (x[1:] + x[:-1]) / 2
    edges: np.ndarray = np.concatenate([[x[0] - 0.5], middle, [x[-1] + 0.5]])
    return edges


def _names(table: pd.DataFrame) -> str:
    return ", ".join(table.metric.unique()) or "none"
