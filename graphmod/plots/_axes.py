"""Empty axes in the one look of the package."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_NAMES = 30
"""Above so many layers the axis counts them instead of naming them."""
MAX_LETTERS = 21
"""Of names that are longer the axis has the end."""


def new_axes(
    width: float, height: float = 4, rows: int = 1, columns: int = 1, *, squares: bool = False
) -> "list[Axes]":
    """Returns the axes of a new figure, row by row.

    Args:
        width: Width of the figure in inches.
        height: Height of the figure in inches.
        rows: Rows of axes, which share their x-axis.
        columns: Columns of axes.
        squares: Whether they will be as high as wide, and are to stand close together.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    with sns.axes_style("whitegrid", {"grid.color": "0.92", "axes.edgecolor": "0.6"}):
        _, axes = plt.subplots(
            rows,
            columns,
            figsize=(width, height),
            layout="compressed" if squares else "constrained",
            sharex=columns == 1,
            squeeze=False,
        )
    found: list[Axes] = list(axes.flat)
    for ax in found:
        sns.despine(ax=ax)
    return found


def distinct_colors(number: int) -> list[tuple[float, float, float]]:
    """Returns so many colours that can be told apart, as red, green and blue in [0, 1]."""
    import seaborn as sns

    return list(sns.color_palette("tab10" if number <= 10 else "husl", number))


def width_of(num_layers: int) -> float:
    """Returns the width in inches of a figure with so many layers side by side."""
    return min(max(2.5 + 0.32 * num_layers, 5.5), 12)


def short(names: Iterable[object]) -> list[str]:
    """Returns the ends of long names, which tell layers apart, or the names where their ends do not.

    Example:
        >>> short(["conv1", "network.encoder.layers.encoder_layer_11"])
        ['conv1', '…ers.encoder_layer_11']
    """
    whole = [str(name) for name in names]
    ends = [name if len(name) <= MAX_LETTERS else f"…{name[1 - MAX_LETTERS :]}" for name in whole]
    return ends if len(set(ends)) == len(set(whole)) else whole


def name_layers(ax: "Axes", curve: pd.DataFrame) -> None:
    """Puts the layers' names under an x-axis of depths, or their numbers where there are too many."""
    many = len(curve) > MAX_NAMES
    step = len(curve) // MAX_NAMES + 1 if many else 1
    names = list(curve.depth) if many else short(curve.layer)
    ax.set_xticks(list(curve.depth)[::step], names[::step], rotation=0 if many else 90)
    ax.set_xlabel("layer")
