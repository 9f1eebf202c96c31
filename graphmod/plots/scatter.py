"""One column against others, a point for each layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ._axes import axes_beside_names, distinct_colors, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_scatter(table: pd.DataFrame, x: Sequence[str], y: str) -> "Axes":
    """Draws a column against each of several others, with the rank correlation above.

    Args:
        table: One row a layer: `layer` and the columns; layers of one stage (`layer1.0`, `layer1.1`) have one colour.
        x: Columns to draw against, a panel each.
        y: The column to draw.

    Returns:
        The first `Axes`.

    Example:
        >>> table = pd.DataFrame({"layer": ["a.0", "a.1", "b.0"], "gain": [0.1, 0.2, 0.3], "loss": [0.5, 0.6, 0.9]})
        >>> plot_scatter(table, ["gain"], "loss").get_title()
        'Spearman 1.00'
    """
    import seaborn as sns

    stage = table.layer.str.rpartition(".")[0].replace("", "layers").rename("stage")
    many = stage.nunique() > 1
    width, names = 0.6 + 3.6 * len(x), ["stage", *stage.unique()]
    axes = axes_beside_names(names, width, 3.6, len(x)) if many else new_axes(width, 3.6, columns=len(x))
    for place, (ax, name) in enumerate(zip(axes, x, strict=True)):
        legend = "full" if many and ax is axes[-1] else False
        sns.scatterplot(table, x=name, y=y, hue=stage, ax=ax, legend=legend, palette=distinct_colors(stage.nunique()))
        ranked = table[[name, y]].nunique().min() > 1  # equal numbers have no order
        rho = f"{table[name].corr(table[y], method='spearman'):.2f}".replace("-", "−") if ranked else "undefined"
        ax.set_title(f"Spearman {rho}", fontsize="medium")
        ax.locator_params("x", nbins=4)
        ax.set_xlabel(name.replace("_", " "))
        ax.set_ylabel(y.replace("_", " ") if place == 0 else "")
    if many:
        sns.move_legend(axes[-1], "center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return axes[0]
