"""What is left of a network as its layers go, criteria side by side."""

from itertools import cycle
from typing import TYPE_CHECKING

import pandas as pd

from ._axes import MARKERS, new_axes, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONTROLS = {"random", "uniform", "last"}
"""Criteria that look at no sample; they are grey and dashed."""
MEASURES = {"accuracy": "as it is", "accuracy_reestimated": "batch norm re-estimated"}


def plot_removal(table: pd.DataFrame) -> "Axes":
    """Draws mean accuracy against the number of layers removed, with a band from the lowest to the highest split.

    The legend names the criteria from the best to the worst, by the mean accuracy of all networks as they are.

    Args:
        table: A table of `graphmod.removal.removal_curves`.

    Returns:
        The first of two `Axes`: the network as it is, and with its batch norm re-estimated.

    Example:
        >>> table = pd.DataFrame({"criterion": "modularity", "removed": [0, 1], "accuracy": [0.9, 0.8]})
        >>> plot_removal(table.assign(accuracy_reestimated=0.9)).get_xlabel()
        'layers removed'
    """
    import seaborn as sns

    axes = new_axes(11, 4.6, columns=len(MEASURES))
    names = list(table.groupby("criterion").accuracy.mean().sort_values(ascending=False, kind="stable").index)
    colored = [name for name in names if name not in CONTROLS]  # from blue to red as the curves lie, not round a wheel
    colors = dict(zip(colored, sns.color_palette("turbo", len(colored)), strict=True))
    markers = dict(zip(sorted(names), cycle(MARKERS)))
    for ax, (measure, title) in zip(axes, MEASURES.items(), strict=True):
        for name in names:
            spread = table[table.criterion == name].groupby("removed")[measure].agg(["mean", "min", "max"])
            color, line = colors.get(name, "0.45"), "-" if name in colors else "--"
            mark = {"marker": markers[name], "markersize": 5, "label": name.replace("_", " ")}
            ax.plot(spread.index, spread["mean"], line, color=color, **mark)
            ax.fill_between(spread.index, spread["min"], spread["max"], color=color, alpha=0.08, linewidth=0)
        ax.set_title(title)
        ax.set_xlabel("layers removed")
        whole_ticks(ax)
        ax.set_ylim(0, 1)
    axes[0].set_ylabel("accuracy")
    axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes[0]
