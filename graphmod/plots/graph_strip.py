"""The graph of the same samples, layer after layer, as nodes and links."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._axes import class_legend, distinct_colors, new_axes, short_titles
from ._graphs import checked_graphs, once

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_graph_strip(
    positions: ArrayLike,
    edges: Sequence[ArrayLike],
    labels: ArrayLike,
    classes: Sequence[str],
    titles: Sequence[str],
    weights: Sequence[ArrayLike] | None = None,
) -> "Axes":
    """Draws the graphs of L layers over the same samples, from left to right, in rows of at most five.

    An edge inside a class has the class's colour, one between two classes is grey.

    Args:
        positions: Positions `[L, N, 2]` in the unit square, such as `graphmod.embeddings.layer_positions` gives.
        edges: Edges of each layer, integers `[2, E]`; a pair that is listed in both directions is drawn once.
        labels: Class of each sample, integers `[N]`.
        classes: Names of the classes, by label; the legend has those that are there, at most 50.
        titles: What is written over each layer; of a long first line, the layer's name, only the end.
        weights: Weights `[E]` of each layer's edges, not negative; the wider a line, the heavier its edge.

    Returns:
        The first `Axes`.

    Raises:
        ValueError: If positions are not `[L, N, 2]` in the unit square, edges, titles or weights not those of L
            layers, an edge names a sample that is not there, or a label has no class.

    Example:
        >>> ax = plot_graph_strip([[[0, 0], [1, 1]]], [[[0], [1]]], [0, 1], ["cat", "dog"], ["conv1"])
        >>> [len(drawn.get_offsets()) for drawn in ax.collections[1:]]  # the first one holds the edges
        [1, 1]
    """
    from matplotlib.collections import LineCollection

    places, pairs, labels = checked_graphs(positions, edges, labels, classes, titles)
    heavy = [np.ones(one.shape[1]) for one in pairs] if weights is None else [np.asarray(one) for one in weights]
    if len(heavy) != len(pairs):
        raise ValueError(f"expected weights of {len(pairs)} layers; got {len(heavy)}")
    for title, pair, weight in zip(titles, pairs, heavy, strict=True):
        if weight.shape != pair.shape[1:] or (weight < 0).any():
            raise ValueError(f"weights of {title!r} must be at least 0, one for each of {pair.shape[1]} edges")
    classes, colors, present = [str(name) for name in classes], distinct_colors(len(classes)), np.unique(labels)
    rows = -(-len(places) // 5)
    columns = -(-len(places) // rows)
    names = short_titles(titles)
    height = 2.5 + 0.2 * max(name.count("\n") + 1 for name in names)
    axes = new_axes(2.4 * columns, height * rows + 0.1, rows=rows, columns=columns)
    heaviest = max((float(one.max()) for one in heavy if one.size), default=0.0) or 1.0
    for ax in axes[len(places) :]:
        ax.remove()
    for ax, place, pair, weight, title in zip(axes, places, pairs, heavy, names, strict=False):
        (source, target), total = once(pair, weight)
        inside = labels[source] == labels[target]
        behind = np.argsort(inside, kind="stable")  # grey below the colours
        shade = np.where(inside[:, None], np.array(colors)[labels[source]], 0.78)[behind]
        thickness = (0.4 + 1.4 * total / heaviest)[behind]
        ends = place[np.stack([source, target], axis=1)[behind]]
        ax.add_collection(LineCollection(ends, colors=shade, linewidths=thickness, zorder=1))
        for c in present:
            x, y = place[labels == c].T
            ax.scatter(x, y, s=26, color=colors[c], edgecolor="white", linewidth=0.6)
        ax.set_title(title, fontsize="medium")
        ax.set(xticks=[], yticks=[], xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal", anchor="S")
        ax.spines[:].set_visible(True)
        ax.spines[:].set_color("0.9")
    class_legend(axes[0], present, classes, colors)
    return axes[0]
