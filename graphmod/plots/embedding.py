"""Samples in the plane, one picture a layer, and the modularity curve beside them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ._axes import class_legend, distinct_colors, new_axes, short, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 12
"""Pictures in one figure."""


def plot_embedding(
    positions: Mapping[str, ArrayLike],
    labels: ArrayLike,
    classes: Sequence[str],
    curve: pd.DataFrame | None = None,
) -> "Axes":
    """Draws the samples of each layer in the plane, coloured by class, and beside them how far Q says they are apart.

    Args:
        positions: Positions `[N, 2]` by layer, such as `graphmod.embeddings.embed` gives; at most 12 layers.
        labels: Class of each sample, integers `[N]`.
        classes: Names of the classes, by label; the legend has those that are there, at most 50.
        curve: A table of `graphmod.modularity_curve` with these layers and any others; it is drawn at the right, and
            over each picture stand its layer's depth and Q.

    Returns:
        The first `Axes`; the curve's is the last of its figure.

    Raises:
        ValueError: If there are no layers or more than 12, positions are not `[N, 2]`, a label has no class, or a layer
            is missing in the curve.

    Example:
        >>> ax = plot_embedding({"conv1": [[0, 0], [1, 1]]}, [0, 1], ["cat", "dog"])
        >>> ax.get_title(), len(ax.collections)
        ('conv1', 2)

    Reference:
        Lu et al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022, figure 1.
    """
    points, labels = {layer: np.asarray(place) for layer, place in positions.items()}, np.asarray(labels)
    _check(points, labels, classes, curve)
    classes, colors, present = [str(name) for name in classes], distinct_colors(len(classes)), np.unique(labels)
    rows = 1 if len(points) < 4 else 2 if len(points) <= 8 else 3
    columns = -(-len(points) // rows)
    beside = 0 if curve is None else 2
    height = (2.2 if curve is None else 2.4) * rows + 0.3
    axes = new_axes(1.9 * (columns + beside), height, rows=rows, columns=columns + beside)
    pictures = [ax for i, ax in enumerate(axes) if i % (columns + beside) < columns][: len(points)]
    for ax in axes:
        if ax not in pictures:
            ax.remove()
    known = (
        {} if curve is None else {row.layer: f" ({row.depth})\nQ = {row.modularity:z.2f}" for row in curve.itertuples()}
    )
    names = [title + known.get(layer, "") for title, layer in zip(short(points), points, strict=True)]
    font = "medium" if max(len(name.split("\n")[0]) for name in names) < 21 else "small"
    size = np.clip(4000 / len(labels), 4, 25)
    for ax, name, place in zip(pictures, names, points.values(), strict=True):
        for c in present:
            x, y = place[labels == c].T
            ax.scatter(x, y, s=size, color=colors[c], linewidth=0, alpha=0.85)
        middle, reach = (place.max(axis=0) + place.min(axis=0)) / 2, np.ptp(place, axis=0).max() * 0.55 or 1
        limits = np.stack([middle - reach, middle + reach], axis=1)
        ax.set(xticks=[], yticks=[], xlim=limits[0], ylim=limits[1], aspect="equal")
        ax.set_title(name, fontsize=font)
        ax.spines[:].set_visible(True)
    if curve is not None:
        cells = (rows, columns + beside, (columns + 1, rows * (columns + beside)))
        _draw_curve(pictures[0].figure.add_subplot(*cells), curve, list(points))
    class_legend(pictures[0], present, classes, colors)
    return pictures[0]


def _draw_curve(ax: "Axes", curve: pd.DataFrame, layers: Sequence[str]) -> None:
    """Draws Q over the layers, with rings round those that are shown."""
    import seaborn as sns

    sns.despine(ax=ax)
    ax.plot(curve.depth, curve.modularity, "o-", color="0.25", markersize=4)
    if "maximum" in curve:
        ax.plot(curve.depth, curve.maximum, ":", color="0.4", linewidth=1.2)
        ax.annotate(
            "largest possible", (curve.depth.iloc[-1], curve.maximum.max()), (0, 3),  # above all of the line
            textcoords="offset points", ha="right", color="0.4", fontsize="small",
        )  # fmt: skip
    shown = curve[curve.layer.isin(layers)]
    ax.plot(shown.depth, shown.modularity, "o", color="0.25", markersize=9, fillstyle="none")
    ax.grid(color="0.92")
    ax.spines[:].set_color("0.6")
    ax.tick_params(length=0)
    whole_ticks(ax)
    ax.set_title("modularity Q by depth", fontsize="medium")


def _check(
    points: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str], curve: pd.DataFrame | None
) -> None:
    if not 1 <= len(points) <= MOST:
        raise ValueError(f"expected 1 to {MOST} layers; got {len(points)}: choose some")
    for layer, place in points.items():
        if place.shape != (len(labels), 2):
            raise ValueError(f"positions of {layer!r} must have shape [{len(labels)}, 2]; got {list(place.shape)}")
        if curve is not None and layer not in set(curve.layer):
            raise ValueError(f"the curve has no layer {layer!r}; it has {', '.join(curve.layer)}")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"labels must be numbers of {len(classes)} classes; got {labels.min()} to {labels.max()}")
