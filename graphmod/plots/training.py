"""Accuracy over a training."""

from typing import TYPE_CHECKING

import pandas as pd

from ._axes import new_axes, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_training(table: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Draws accuracy on training and test images against the epoch.

    Args:
        table: `epoch` and one or more columns `<split>_accuracy`, in [0, 1].
        ax: Where to draw; a new figure if None.

    Returns:
        The `Axes`.

    Example:
        >>> table = pd.DataFrame({"epoch": [1, 2], "train_accuracy": [0.5, 0.9]})
        >>> plot_training(table).get_xlabel()
        'epoch'
    """
    ax = new_axes(5.5)[0] if ax is None else ax
    mark = "o" if len(table) == 1 else None  # one point makes no line
    whole_ticks(ax)
    for column in table.filter(like="_accuracy"):
        ax.plot(table.epoch, table[column], marker=mark, label=str(column).removesuffix("_accuracy"))
    ax.set(xlabel="epoch", ylabel="accuracy")
    ax.legend(frameon=False)
    return ax
