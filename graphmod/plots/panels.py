"""Several numbers by layer, one above the other."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import pandas as pd

from ._axes import draw_band, name_layers, new_axes, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_panels(curve: pd.DataFrame, panels: Mapping[str, Sequence[str]]) -> "Axes":
    """Draws columns of a table of layers in panels one above the other.

    The band of a line is one standard deviation over the repeats, where the table has it.

    Args:
        curve: A table of `graphmod.summarize`: `layer`, `depth`, metrics and their `_std`.
        panels: The columns to draw in each panel, by the panel's title. Where the table has `<name>_low` and
            `<name>_high` (of `<name>_mean` too) these are the band.

    Returns:
        The first `Axes`.

    Raises:
        ValueError: If the table lacks one of these columns.

    Example:
        >>> curve = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "ami": [0.1, 0.8], "purity": [0.2, 0.9]})
        >>> len(plot_panels(curve, {"agreement": ["ami"], "purity": ["purity"]}).figure.axes)
        2
    """
    missing = [name for names in panels.values() for name in names if name not in curve]
    if missing:
        raise ValueError(f"the table has no column {missing[0]!r}; it has {', '.join(curve.columns)}")
    axes = new_axes(width_of(len(curve)), 1.2 + 2.1 * len(panels), rows=len(panels))
    letters = int(10 * width_of(len(curve)))  # that fit above a panel
    for ax, (title, names) in zip(axes, panels.items(), strict=True):
        for name in names:
            if curve[name].isna().all():
                continue  # such as the spread of a single draw
            (line,) = ax.plot(curve.depth, curve[name], "o-", markersize=4, label=name.replace("_", " "))
            draw_band(ax, curve.depth, *_band(curve, name), color=line.get_color())
        ax.set_title(fill(title, letters), loc="left", fontsize="medium")
        if len(names) > 1:
            ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    name_layers(axes[-1], curve)
    return axes[0]


def _band(curve: pd.DataFrame, name: str) -> "tuple[pd.Series, pd.Series]":
    stem = name.removesuffix("_mean")
    if f"{stem}_low" in curve:
        return curve[f"{stem}_low"], curve[f"{stem}_high"]
    std = curve.get(f"{name}_std", 0.0)
    return curve[name] - std, curve[name] + std
