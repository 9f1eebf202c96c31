"""Modularity curves side by side, one for each value of a setting."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from ._axes import (
    axes_beside_names,
    distinct_colors,
    distinct_markers,
    draw_band,
    name_layers,
    new_axes,
    plain,
    width_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_sweep(table: pd.DataFrame, by: str, *, ax: "Axes | None" = None) -> "Axes":
    """Draws the mean Q of each layer for every value of one setting, with a band from the lowest to the highest draw.

    Args:
        table: `layer`, `depth`, `modularity`, and the setting, such as a part of the table of `graphmod.ablation`.
        by: The column of the setting.
        ax: Where to draw; a new figure if None.

    Returns:
        The `Axes`.

    Raises:
        ValueError: If the table has no such column.

    Example:
        >>> table = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "k": [3, 3], "modularity": [0.1, 0.8]})
        >>> plot_sweep(table, "k").get_ylabel()
        'modularity Q'
    """
    import seaborn as sns

    if by not in table:
        raise ValueError(f"the table has no column {by!r}; it has {', '.join(table.columns)}")
    curve = table.drop_duplicates("depth").sort_values("depth")
    values = list(table[by].unique())
    names = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    many = len(values) > 6
    if ax is None:
        width = width_of(len(curve))
        ax = (axes_beside_names([by, *names], width) if many else new_axes(width))[0]
    numeric = pd.api.types.is_numeric_dtype(table[by])
    colors = sns.color_palette("viridis_r", len(values)) if numeric else distinct_colors(len(values))
    markers = ["o"] * len(values) if numeric else distinct_markers(len(values))
    for value, name, color, marker in zip(values, names, colors, markers, strict=True):
        q = table[table[by] == value].groupby("depth").modularity.agg(["mean", "min", "max"])
        ax.plot(q.index, q["mean"], "-", marker=marker, markersize=4, color=color, label=plain(name))
        draw_band(ax, q.index, q["min"], q["max"], color=color, alpha=0.15)
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if many else {}
    ax.legend(title=by.replace("_", " "), frameon=False, **beside)
    name_layers(ax, curve)
    ax.set_ylabel("modularity Q")
    return ax
