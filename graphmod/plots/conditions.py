"""Modularity curves of the same samples under several conditions, beside curves that were published."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ._axes import axes_beside_names, distinct_colors, distinct_markers, draw_band, name_layers, plain, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_conditions(
    curves: pd.DataFrame,
    controls: Sequence[str] = (),
    published: Mapping[str, pd.DataFrame] | None = None,
    *,
    order: Iterable[str] = (),
) -> "Axes":
    """Draws Q by layer of clean samples (black), of each attack (solid) and of each control (dashed), with their bands.

    Args:
        curves: `condition`, `layer`, `depth`, `modularity` and `standard_error`; the band is two of these either side.
        controls: Which conditions are controls.
        published: Published curves (`depth`, `modularity`) by condition, in the same colours in axes of their own.
        order: Conditions in the order of their colours, also ones that are not there, so that two pictures agree.

    Returns:
        The first `Axes`.

    Example:
        >>> curves = pd.DataFrame({"condition": ["clean"] * 2, "layer": ["a", "b"], "depth": [1, 2]})
        >>> plot_conditions(curves.assign(modularity=[0.1, 0.8], standard_error=0.01)).get_ylabel()
        'modularity Q'
    """
    names = list(dict.fromkeys([*order, *curves.condition, *(published or {})]))
    others = [name for name in names if name != "clean"]
    colors = dict(zip(others, distinct_colors(len(others)), strict=True)) | {"clean": (0, 0, 0)}
    num_layers = int(curves.depth.max())
    width, columns = (width_of(num_layers) + 4.5, 2) if published else (width_of(num_layers), 1)
    axes = axes_beside_names(list(map(str, names)), width, 4.5, columns)
    many = len(others) > 10  # more than there are colours
    marks = dict(zip(names, distinct_markers(len(names)), strict=True)) if many or num_layers == 1 else {}
    looks = {
        name: {"color": colors[name], "label": plain(str(name)), "linewidth": 1.6, "marker": marks.get(name)}
        for name in names
    }
    ax = axes[0]
    for name, curve in curves.groupby("condition", sort=False):
        style = "--" if name in controls else "-"
        ax.plot(curve.depth, curve.modularity, style, zorder=3, **looks[name])
        low, high = (curve.modularity + sign * 2 * curve.standard_error for sign in (-1, 1))
        draw_band(ax, curve.depth, low, high, color=colors[name], alpha=0.15, zorder=2)
    name_layers(ax, curves[curves.condition == curves.condition.iloc[0]])
    ax.set_ylabel("modularity Q")
    for name, curve in (published or {}).items():
        axes[1].plot(curve.depth, curve.modularity, "-", **looks[name])
    if published:
        ax.set(title="measured", ylim=(min(one.get_ylim()[0] for one in axes), max(one.get_ylim()[1] for one in axes)))
        axes[1].set(title="published", xlabel="layer", ylim=ax.get_ylim())
    lines = {
        label: line for one in reversed(axes) for line, label in zip(*one.get_legend_handles_labels(), strict=True)
    }
    named = [name for name in map(plain, map(str, names)) if name in lines]
    axes[-1].legend([lines[name] for name in named], named, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return ax
