"""Empty axes, names and legends in the one look of the package."""

from collections.abc import Iterable, Sequence
from itertools import cycle, islice, takewhile
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Color = tuple[float, float, float]
MARKERS = "osD^vP<X>p*h"
MAX_NAMES = 30
"""Above so many layers the axis counts them instead of naming them."""
MAX_LETTERS = 21
"""Of names that are longer the axis has the end."""
MAX_CLASSES = 50
"""Classes that a legend names; of any others it tells the number."""


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


def distinct_colors(number: int) -> list[Color]:
    """Returns so many colours that can be told apart, as red, green and blue in [0, 1]."""
    import seaborn as sns

    return list(sns.color_palette("tab10" if number <= 10 else "husl", number))


def distinct_markers(number: int) -> list[str]:
    """Returns so many markers: one and the same where colours suffice to tell lines apart."""
    return ["o"] * number if number <= 10 else list(islice(cycle(MARKERS), number))


def named_classes(
    present: Iterable[int], classes: Sequence[str], most: int = MAX_CLASSES
) -> tuple[list[int], list[str]]:
    """Returns which of the classes that are there a legend names, and its lines: their names, and how many are left."""
    there = list(present)
    rest = [f"and {len(there) - most} more"] if len(there) > most else []
    return there[:most], [classes[c] for c in there[:most]] + rest


def class_entries(
    present: Iterable[int], classes: Sequence[str], colors: Sequence[Color]
) -> "tuple[list[Artist], list[str]]":
    """Returns the dots and the lines of a legend of the classes that are there."""
    from matplotlib.lines import Line2D

    named, names = named_classes(present, classes)
    dots: list[Artist] = [Line2D([], [], marker="o", linestyle="", color=colors[c]) for c in named]
    return [*dots, *(Line2D([], [], linestyle="") for _ in names[len(named) :])], [plain(name) for name in names]


def shorten(name: str, most: int = 30) -> str:
    """Returns a name of at most so many letters, which may end in an ellipsis.

    Example:
        >>> shorten("soft-coated wheaten terrier", 12)
        'soft-coated…'
    """
    return name if len(name) <= most else f"{name[: most - 1]}…"


def shorten_apart(names: Sequence[str], most: int = 30) -> list[str]:
    """Returns the beginnings of long names or, where two have the same one, their ends.

    Example:
        >>> shorten_apart(["folder:data/cats", "folder:data/dogs"], 8)
        ['…ta/cats', '…ta/dogs']
    """
    begins = [shorten(name, most) for name in names]
    if len(set(begins)) == len(set(names)):
        return begins
    return [name if len(name) <= most else f"…{name[1 - most :]}" for name in names]


def plain(name: str) -> str:
    r"""Returns somebody's name such that matplotlib, which takes what is between two dollars for a formula, draws it.

    Example:
        >>> print(plain("US$, CA$"))
        US\$, CA\$
    """
    return name.replace("$", r"\$")


def width_of_names(names: Sequence[str]) -> float:
    """Returns the width in inches of a column of names in a legend."""
    return 0.5 + 0.085 * max(map(len, names))


def axes_beside_names(names: Sequence[str], width: float, height: float = 4, columns: int = 1) -> list["Axes"]:
    """Returns new axes, of so many inches at least, with room for the lines of a legend at their right."""
    room, lines = max(1.5, width_of_names(names)), 0.8 + 0.23 * len(names)
    return new_axes(width + room, max(height, lines), columns=columns)


def class_legend(ax: "Axes", present: Iterable[int], classes: Sequence[str], colors: Sequence[Color]) -> None:
    """Puts the names of the classes that are there under the axes of a figure, which grows by their lines."""
    figure = cast("Figure", ax.figure)
    dots, names = class_entries(present, classes, colors)
    width, height = figure.get_size_inches()
    width = max(width, width_of_names(names))
    lines = -(-len(names) // int(width / width_of_names(names)))
    figure.set_size_inches(width, height + 0.22 * lines)
    look = {"handletextpad": 0.2, "columnspacing": 1.5, "frameon": False}
    figure.legend(dots, names, loc="outside lower center", ncols=-(-len(names) // lines), **look)


def width_of(num_layers: int) -> float:
    """Returns the width in inches of a figure with so many layers side by side."""
    return min(max(2.5 + 0.32 * num_layers, 5.5), 12)


def short(names: Iterable[object]) -> list[str]:
    """Returns names of at most 21 letters that tell layers apart.

    These are the ends of long names; where ends are alike, those of the parts in which the names differ; else numbers.

    Example:
        >>> short(["conv1", "network.encoder.layers.encoder_layer_11"])
        ['conv1', '…ers.encoder_layer_11']
        >>> short([f"bert.encoder.layer.{i}.attention.output.dense" for i in range(2)])
        ['…0…', '…1…']
    """
    whole = [str(name) for name in names]
    for some in (whole, _middle(whole)):
        ends = [name if len(name) <= MAX_LETTERS else f"…{name[1 - MAX_LETTERS :]}" for name in some]
        if len(set(ends)) == len(set(whole)):
            return ends
    known = list(dict.fromkeys(whole))
    return [str(known.index(name) + 1) for name in whole]


def _middle(names: Sequence[str]) -> list[str]:
    """The names without the parts, between dots, with which all of them begin or end."""
    parts = [name.split(".") for name in names]
    least = min(map(len, parts), default=1) - 1  # one part at least stays
    head = min(_num_alike(parts), least)
    tail = min(_num_alike([part[::-1] for part in parts]), least - head)
    return ["…" * (head > 0) + ".".join(part[head : len(part) - tail]) + "…" * (tail > 0) for part in parts]


def _num_alike(parts: Sequence[Sequence[str]]) -> int:
    """The number of parts with which all of them begin."""
    return len(list(takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))))


def short_titles(titles: Iterable[object]) -> list[str]:
    """Returns titles with their first lines, which name layers, made short."""
    lines = [str(title).split("\n") for title in titles]
    return ["\n".join([name, *rest]) for name, (_, *rest) in zip(short(line[0] for line in lines), lines, strict=True)]


def draw_band(ax: "Axes", x: ArrayLike, low: pd.Series, high: pd.Series, *, alpha: float = 0.2, **look: Any) -> None:
    """Fills the space between two lines, or draws the interval of a single layer, which fills none, as a bar."""
    if len(low) == 1:
        ax.errorbar(x, (low + high) / 2, (high - low) / 2, fmt="none", capsize=4, **look)
    else:
        ax.fill_between(x, low, high, alpha=alpha, linewidth=0, **look)


def whole_ticks(ax: "Axes") -> None:
    """Gives an x-axis that counts few ticks, at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def name_layers(ax: "Axes", curve: pd.DataFrame) -> None:
    """Puts the layers' names under an x-axis of depths, or their numbers where there are too many."""
    many = len(curve) > MAX_NAMES
    step = len(curve) // MAX_NAMES + 1 if many else 1
    names = list(curve.depth) if many else short(curve.layer)
    ax.set_xticks(list(curve.depth)[::step], names[::step], rotation=0 if many else 90)
    ax.set_xlabel("layer")
