"""Which classes lie beside which: heat maps of observed over expected edge weight."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._axes import MAX_NAMES, new_axes, plain, short_titles, shorten_apart, width_of_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_mixing(matrices: Mapping[str, ArrayLike], classes: Sequence[str]) -> "Axes":
    """Draws mixing matrices side by side, on one scale.

    White is what chance would give; a class is red where it meets another more often, blue where less. The scale is
    logarithmic, from 1/16 to 16 times as often. A pair without a ratio (NaN) is grey. More than 30 classes are numbered
    from 0 instead of named.

    Args:
        matrices: `Mixing.ratio` `[C, C]` by title.
        classes: Names of the C classes.

    Returns:
        The first `Axes`.

    Raises:
        ValueError: If a matrix is not `[C, C]`.

    Example:
        >>> plot_mixing({"conv1": [[1.5, 0.5], [0.5, 1.5]]}, ["cat", "dog"]).get_title()
        'conv1'
    """
    import seaborn as sns
    from matplotlib.colors import LogNorm

    wrong = [title for title, matrix in matrices.items() if np.shape(matrix) != (len(classes), len(classes))]
    if wrong:
        raise ValueError(f"matrix {wrong[0]!r} must be [{len(classes)}, {len(classes)}], one row for each class")
    many = len(classes) > MAX_NAMES
    side = min(max(0.02 * len(classes), 4), 8) if many else max(0.32 * len(classes), 2.2)
    shown = [] if many else [plain(name) for name in shorten_apart(classes)]
    room = width_of_names(shown) - 0.8 if shown else 0.0  # beside the rows and under the columns
    axes = new_axes(1.6 + room + (side + 0.5) * len(matrices), side + 1.2 + room, columns=len(matrices), squares=True)
    names = 10 if many else shown  # seaborn takes a number as a step: every tenth
    for ax, title, matrix in zip(axes, short_titles(matrices), matrices.values(), strict=True):
        values = np.clip(np.asarray(matrix, dtype=float), 1 / 16, 16)  # a pair that never meets is as blue as can be
        ax.set_facecolor("0.8")  # seaborn leaves NaN out
        ax.grid(visible=False)
        sns.heatmap(
            values, norm=LogNorm(1 / 16, 16), cmap="vlag", square=True, linewidths=0 if many else 0.5, cbar=False,
            ax=ax, xticklabels=names, yticklabels=names if ax is axes[0] else False,
        )  # fmt: skip
        ax.set_title(title, fontsize="medium")
        ax.tick_params("x", rotation=90)
        ax.tick_params("y", rotation=0)
        if many:
            ax.set(xlabel="class", ylabel="class" if ax is axes[0] else "")
    bar = ax.figure.colorbar(ax.collections[0], ax=axes, label="observed / expected weight")
    bar.set_ticks([1 / 16, 1 / 4, 1, 4, 16], labels=["≤ 1/16", "1/4", "1", "4", "≥ 16"])
    bar.ax.minorticks_off()
    return axes[0]
