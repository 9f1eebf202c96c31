"""Matrices of layers: how much each layer is like, or unlike, each other."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ._axes import MAX_NAMES, new_axes, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_heatmap(matrices: Mapping[str, pd.DataFrame], *, distances: Collection[str] = ()) -> "Axes":
    """Draws matrices of layers side by side, four or more in rows of two, each with its own scale of colours.

    Depth grows to the right and upwards. A cell without a value is grey.

    Args:
        matrices: Matrices with a row and a column for each layer, by title. Where their axes have names, these are what
            the axes are called.
        distances: Titles of matrices whose values are small where layers are alike, such as `"modularity_difference"`.
            Their colour map is reversed, so that light means alike in all of them.

    Returns:
        The first `Axes`.

    Raises:
        ValueError: If there are no matrices, one holds no number, or a distance is not among them.

    Example:
        >>> plot_heatmap({"|ΔQ|": pd.DataFrame([[0.0, 0.5], [0.5, 0.0]], ["a", "b"], ["a", "b"])}).get_title()
        '|ΔQ|'
    """
    import seaborn as sns

    if not matrices:
        raise ValueError("expected at least one matrix; got none")
    if unknown := sorted(set(distances) - set(matrices)):
        raise ValueError(f"no matrix is called {', '.join(map(repr, unknown))}; there are: {', '.join(matrices)}")
    largest = max(max(matrix.shape) for matrix in matrices.values())
    side = 3.6 if largest > MAX_NAMES else max(0.17 * largest, 2.2)
    columns = len(matrices) if len(matrices) < 4 else 2
    rows = -(-len(matrices) // columns)
    high, wide = (max(matrix.shape[i] / max(matrix.shape) for matrix in matrices.values()) for i in (0, 1))
    axes = new_axes((side * wide + 1.3) * columns, (side * high + 0.9) * rows, rows=rows, columns=columns)
    for ax in axes[len(matrices) :]:
        ax.remove()
    for ax, (title, matrix) in zip(axes, matrices.items(), strict=False):
        values = matrix.to_numpy(dtype=float)
        if not np.isfinite(values).any():
            raise ValueError(f"matrix {title!r} holds no number to draw")
        height, width = values.shape
        colors = sns.color_palette("mako_r" if title in distances else "mako", as_cmap=True).with_extremes(bad="0.8")
        image = ax.imshow(
            values, cmap=colors, origin="lower", interpolation="nearest", extent=(0.5, width + 0.5, 0.5, height + 0.5)
        )
        longer = max(height, width)
        ax.set_xticks(*_ticks(list(matrix.columns), longer), rotation=0 if longer > MAX_NAMES else 90)
        ax.set_yticks(*_ticks(list(matrix.index), longer))
        ax.tick_params(labelsize="x-small" if largest <= MAX_NAMES else "small")
        ax.grid(False)
        ax.set_title(title.replace("_", " "), fontsize="medium")
        ax.set_xlabel(str(matrix.columns.name or "layer"))
        ax.set_ylabel(str(matrix.index.name or "layer"))
        ax.figure.colorbar(image, ax=ax, shrink=side * height / longer / (side * high + 0.9))
    return axes[0]


def _ticks(layers: Sequence[str], longer: int) -> tuple[list[int], list[str]]:
    """Returns where to name layers, and the names: their numbers, some of them, where the longer axis has too many."""
    numbers = list(range(1, len(layers) + 1))
    if longer <= MAX_NAMES:
        return numbers, short(layers)
    numbers = numbers[:: longer // 10 + 1]
    return numbers, [str(number) for number in numbers]
