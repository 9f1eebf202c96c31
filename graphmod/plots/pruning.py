"""Pruned networks side by side: what they cost and how often they are right."""

from typing import TYPE_CHECKING

import pandas as pd

from ._axes import new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STATES = {
    "accuracy": "as removed",
    "accuracy_reestimated": "batch norm re-estimated",
    "accuracy_last": "trained",
}
"""Columns of accuracy in the order of the work."""


def plot_pruning(table: pd.DataFrame) -> "Axes":
    """Draws the accuracy of each network before and after training, with its cost in its name.

    Args:
        table: One row a network, the whole one first: `network`, `macs`, and columns among `accuracy`,
            `accuracy_reestimated`, `accuracy_last`, in [0, 1].

    Returns:
        The `Axes`.

    Example:
        >>> table = pd.DataFrame({"network": ["whole", "half"], "macs": [100, 50], "accuracy": [0.9, 0.4]})
        >>> [text.get_text().split() for text in plot_pruning(table).get_yticklabels()]
        [['whole', '100', '%', 'of', 'MACs'], ['half', '50', '%', 'of', 'MACs']]
    """
    import seaborn as sns

    states = [name for name in STATES if name in table]
    ax = new_axes(8, 1.2 + 0.75 * len(table))[0]
    colors = sns.color_palette("viridis", len(states))
    height = 0.8 / len(states)
    for place, (state, color) in enumerate(zip(states, colors, strict=True)):
        y = [row + (place - (len(states) - 1) / 2) * height for row in range(len(table))]
        bars = ax.barh(y, table[state], height, color=color, label=STATES[state])
        ax.bar_label(bars, fmt="{:.1%}", padding=2, fontsize="x-small")
    share = table.macs / table.macs.iloc[0]
    names = [f"{name}\n{part:.0%}".replace("%", " % of MACs") for name, part in zip(table.network, share, strict=True)]
    ax.set_yticks(range(len(table)), names)
    ax.axvline(table[states[-1]].iloc[0], color="0.4", linestyle=":", linewidth=1)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.08)
    ax.set_xlabel("accuracy")
    ax.grid(visible=False, axis="y")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(states))
    return ax
