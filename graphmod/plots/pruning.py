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
    """Draws the accuracy of each network before and after training, and after it against that of the whole network.

    Args:
        table: One row a network, or one a network and `seed`, the whole one first: `network`, `macs`, and columns among
            `accuracy`, `accuracy_reestimated`, `accuracy_last`, in [0, 1].

    Returns:
        The first of two `Axes`, or the only one if there is no `accuracy_last`. Bars are means over the seeds; the
        second has a point a seed and a line at the mean.

    Example:
        >>> table = pd.DataFrame({"network": ["whole", "half"], "macs": [100, 50], "accuracy": [0.9, 0.4]})
        >>> [text.get_text().split() for text in plot_pruning(table).get_yticklabels()]
        [['whole', '100', '%', 'of', 'MACs'], ['half', '50', '%', 'of', 'MACs']]
    """
    import seaborn as sns

    states = [name for name in STATES if name in table]
    mean = table.groupby("network", sort=False)[[*states, "macs"]].mean()
    trained = "accuracy_last" in states and "accuracy" in states
    axes = new_axes(12 if trained else 8, 1.2 + 0.75 * len(mean), columns=1 + trained)
    ax = axes[0]
    colors = sns.color_palette("viridis", len(states))
    height = 0.8 / len(states)
    for place, (state, color) in enumerate(zip(states, colors, strict=True)):
        y = [row + (place - (len(states) - 1) / 2) * height for row in range(len(mean))]
        bars = ax.barh(y, mean[state], height, color=color, label=STATES[state])
        ax.bar_label(bars, fmt="{:.1%}", padding=2, fontsize="x-small")
    names = [f"{name}\n{share:.0f} % of MACs" for name, share in (100 * mean.macs / mean.macs.iloc[0]).items()]
    ax.set_yticks(range(len(mean)), names)
    if not trained:
        ax.axvline(mean[states[-1]].iloc[0], color="0.4", linestyle=":", linewidth=1)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12)
    ax.set_xlabel("accuracy")
    ax.grid(visible=False, axis="y")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(states))
    if trained:
        _draw_gains(axes[1], table.reset_index(drop=True))
    return ax


def _draw_gains(ax: "Axes", table: pd.DataFrame) -> None:
    """Points of accuracy after training, less those of the whole network of the same seed before its own."""
    seeds = table.seed if "seed" in table else pd.Series(0, index=table.index)
    whole = table[table.network == table.network.iloc[0]]
    base = dict(zip(seeds[whole.index], whole.accuracy, strict=True))
    gain = 100 * (table.accuracy_last - seeds.map(base))
    for row, (_, points) in enumerate(gain.groupby(table.network, sort=False)):
        ax.plot(points, [row] * len(points), "o", color="tab:blue", alpha=0.6, markeredgewidth=0)
        ax.vlines(points.mean(), row - 0.3, row + 0.3, color="tab:blue", linewidth=2)
        label = ax.annotate(
            f"{points.mean():+z.2f}".replace("-", "−"), (points.mean(), row - 0.34), ha="center", va="bottom"
        )
        label.set(fontsize="small", bbox={"boxstyle": "square,pad=0.1", "color": "white"})  # over the dotted line
    again = gain[whole.index].mean()
    ax.axvline(0, color="0.4", linewidth=1)
    ax.axvline(again, color="0.4", linestyle=":", linewidth=1)
    ax.set_yticks(range(table.network.nunique()), [])
    ax.set_ylim(table.network.nunique() - 0.5, -0.8)
    ax.set_xlabel(
        "points of accuracy after training\nagainst the whole network before (line) and after its own (dotted)"
    )
    ax.grid(visible=False, axis="y")
