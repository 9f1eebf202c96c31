"""Modularity curves of several networks and data sets as small multiples."""

from typing import TYPE_CHECKING

import pandas as pd

from ._axes import new_axes, plain, shorten_apart, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_COLUMNS = 5
SHADES = {"plateau": "0.88", "degradation": "#f6cfc4"}
"""The background of layers that add nothing, and of layers that mix the classes."""


def plot_grid(table: pd.DataFrame) -> "Axes":
    """Draws a curve for each network (columns) and data set (rows), on one scale, its idle layers shaded.

    More networks than `MAX_COLUMNS` are the rows, and the data sets the columns.

    Args:
        table: `network`, `dataset`, `depth`, `modularity` and `phase`, such as the tables of
            `graphmod.pruning.redundant_layers` one under the other.

    Returns:
        The first `Axes`.

    Example:
        >>> table = pd.DataFrame({"network": "vgg11", "dataset": "digits", "depth": [1, 2], "modularity": [0.1, 0.8]})
        >>> plot_grid(table.assign(phase=[None, "separation"])).get_title()
        'vgg11'
    """
    from matplotlib.patches import Patch

    networks, datasets = list(table.network.unique()), list(table.dataset.unique())
    cells = [(network, dataset) for dataset in datasets for network in networks]
    columns = len(networks)
    if len(datasets) <= MAX_COLUMNS < len(networks):
        cells, columns = [(network, dataset) for network in networks for dataset in datasets], len(datasets)
    rows = len(cells) // columns
    height = (2.1 if rows < 5 else 1.6) + 0.1 * (len(datasets) > 1)  # two lines of a title
    axes = new_axes(1.5 + 2.6 * columns, 0.8 + height * rows, rows, columns)
    written = dict(zip([*networks, *datasets], shorten_apart(networks) + shorten_apart(datasets), strict=True))
    low, high = min(0.0, table.modularity.min()), table.modularity.max()
    shown: set[str] = set()
    for place, (ax, (network, dataset)) in enumerate(zip(axes, cells, strict=True)):
        curve = table[(table.network == network) & (table.dataset == dataset)]
        for phase, shade in SHADES.items():
            for depth in curve.depth[curve.phase == phase]:
                ax.axvspan(depth - 1, depth, color=shade, linewidth=0)
                shown.add(phase)
        ax.plot(curve.depth, curve.modularity, "o-", markersize=3)
        title = "\n".join(plain(written[name]) for name in ([network, dataset] if len(datasets) > 1 else [network]))
        ax.set_title(title, fontsize="medium")
        whole_ticks(ax)
        if pd.notna(high):
            ax.set_ylim(low - 0.03, high + 0.05)
        ax.grid(visible=False)
        if place >= len(axes) - columns:
            ax.set_xlabel("layer")
        if place % columns == 0:
            ax.set_ylabel("modularity Q")
    if shown:
        patches = [Patch(color=SHADES[name], label=name) for name in SHADES if name in shown]
        axes[0].figure.legend(handles=patches, loc="outside upper center", ncols=len(patches), frameon=False)
    return axes[0]
