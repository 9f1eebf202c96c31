"""A modularity curve, or any other number by layer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._axes import axes_beside_names, distinct_colors, draw_band, name_layers, new_axes, plain, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_INSIDE = 5
"""Lines of a legend that fit beside the curves; more are outside."""
LARGEST = "largest possible Q"


def plot_curve(
    curve: pd.DataFrame,
    *,
    metric: str = "modularity",
    label: str | None = None,
    beside: Mapping[str, pd.DataFrame] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws a modularity curve: the mean over repeats at each layer, with a band of one standard deviation.

    A dotted line shows the largest Q that these labels allow.

    Args:
        curve: A table of `graphmod.modularity_curve`: `layer`, `depth`, the metric and its `_std`.
        metric: The column to draw.
        label: Name of the curve in the legend.
        beside: Curves to compare with (`depth` and the metric) by name, drawn dashed; a network of another depth is
            stretched from first layer to last.
        ax: Where to draw; a new figure if None.

    Returns:
        The `Axes`; `ax.figure.savefig(...)` writes it.

    Raises:
        ValueError: If a table has no such column.

    Example:
        >>> curve = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "modularity": [0.1, 0.8]})
        >>> plot_curve(curve).get_ylabel()
        'modularity Q'
    """
    import seaborn as sns

    for table in (curve, *(beside or {}).values()):
        for column in ("depth", metric):
            if column not in table:
                raise ValueError(f"the table has no column {column!r}; it has {', '.join(table.columns)}")
    names = [str(label), *map(str, beside or {})]
    many = len(names) > MAX_INSIDE - 1
    if ax is None:
        width = width_of(len(curve))
        ax = (axes_beside_names([*names, LARGEST], width) if many else new_axes(width))[0]
    dotted, dashed = (":", "--") if len(curve) > 1 else ("_", ".")  # a single layer has no line
    (line,) = ax.plot(
        curve.depth, curve[metric], "o-", label=label and plain(label), markeredgecolor="white", markeredgewidth=0.75
    )
    if metric == "modularity" and "maximum" in curve:
        ax.plot(curve.depth, curve.maximum, dotted, color="0.4", linewidth=1.2, label=LARGEST)
    std = curve.get(f"{metric}_std")
    if std is not None and std.notna().any():
        draw_band(ax, curve.depth, curve[metric] - std, curve[metric] + std, color=line.get_color(), zorder=2)
    shades = distinct_colors(len(names))[1:] if many else sns.color_palette("flare", len(names) - 1)
    for shade, (name, other) in zip(shades, (beside or {}).items(), strict=True):
        other = other.sort_values("depth")
        ends = other.depth.iloc[[0, -1]], curve.depth.agg(["min", "max"])
        ax.plot(
            np.interp(other.depth, *ends), other[metric], dashed, color=shade, linewidth=1.2, label=plain(str(name))
        )
    if entries := len(ax.get_legend_handles_labels()[0]):
        outside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if entries > MAX_INSIDE else {}
        ax.legend(frameon=False, **outside)
    name_layers(ax, curve)
    ax.set_ylabel("modularity Q" if metric == "modularity" else metric.replace("_", " "))
    return ax
