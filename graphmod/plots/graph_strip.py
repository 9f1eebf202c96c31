"""The graph of the same samples, layer after layer, as nodes and links."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._axes import distinct_colors, new_axes

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
        classes: Names of the classes, by label.
        titles: What is written over each layer.
        weights: Weights `[E]` of each layer's edges, not negative; the wider a line, the heavier its edge.

    Returns:
        The first `Axes`.

    Raises:
        ValueError: If positions are not `[L, N, 2]`, edges, titles or weights not those of L layers, an edge names a
            sample that is not there, or a label has no class.

    Example:
        >>> ax = plot_graph_strip([[[0, 0], [1, 1]]], [[[0], [1]]], [0, 1], ["cat", "dog"], ["conv1"])
        >>> [len(drawn.get_offsets()) for drawn in ax.collections[1:]]  # the first one holds the edges
        [1, 1]
    """
    from matplotlib.collections import LineCollection

    places, labels = np.asarray(positions, dtype=float), np.asarray(labels)
    pairs = [np.asarray(one, dtype=int) for one in edges]
    heavy = [np.ones(one.shape[1:]) for one in pairs] if weights is None else [np.asarray(one) for one in weights]
    _check(places, pairs, labels, classes, titles, heavy)
    colors = np.array(distinct_colors(len(classes)))
    rows = -(-len(places) // 5)
    columns = -(-len(places) // rows)
    width = 2.4 * columns
    per_row = max(1, int(width / (0.5 + 0.07 * np.percentile([len(name) for name in classes], 80))))
    lines = -(-len(classes) // per_row)
    axes = new_axes(width, 2.7 * rows + 0.22 * lines + 0.1, rows=rows, columns=columns)
    heaviest = max((float(one.max()) for one in heavy if one.size), default=0.0) or 1.0
    for ax in axes[len(places) :]:
        ax.remove()
    for ax, place, pair, weight, title in zip(axes, places, pairs, heavy, titles, strict=False):
        (source, target), total = _once(pair, weight)
        inside = labels[source] == labels[target]
        behind = np.argsort(inside, kind="stable")  # grey below the colours
        shade = np.where(inside[:, None], colors[labels[source]], 0.78)[behind]
        thickness = (0.4 + 1.4 * total / heaviest)[behind]
        ends = place[np.stack([source, target], axis=1)[behind]]
        ax.add_collection(LineCollection(ends, colors=shade, linewidths=thickness, zorder=1))
        for c, name in enumerate(classes):
            x, y = place[labels == c].T
            ax.scatter(x, y, s=26, color=colors[c], edgecolor="white", linewidth=0.6, label=name)
        ax.set_title(title, fontsize="medium")
        ax.set(xticks=[], yticks=[], xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
        ax.spines[:].set_visible(True)
        ax.spines[:].set_color("0.9")
    handles, names = axes[0].get_legend_handles_labels()
    look = {"handletextpad": 0.2, "columnspacing": 1.5, "frameon": False}
    axes[0].figure.legend(handles, names, loc="outside lower center", ncols=-(-len(classes) // lines), **look)
    return axes[0]


def _once(pair: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each pair of samples once, `[2, P]`, and the larger weight of its two directions, without loops."""
    low, high = pair.min(axis=0), pair.max(axis=0)
    found, place = np.unique(np.stack([low, high]), axis=1, return_inverse=True)
    total = np.zeros(found.shape[1])
    np.maximum.at(total, place, weight)
    return found[:, found[0] != found[1]], total[found[0] != found[1]]


def _check(
    places: np.ndarray,
    pairs: Sequence[np.ndarray],
    labels: np.ndarray,
    classes: Sequence[str],
    titles: Sequence[str],
    weights: Sequence[np.ndarray],
) -> None:
    if places.ndim != 3 or places.shape[1:] != (len(labels), 2) or not places.size:
        raise ValueError(f"positions must have shape [L, {len(labels)}, 2]; got {list(places.shape)}")
    if not len(pairs) == len(titles) == len(weights) == len(places):
        raise ValueError(
            f"expected edges, titles and weights of {len(places)} layers; got {len(pairs)}, {len(titles)} and "
            f"{len(weights)}"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"labels must be numbers of {len(classes)} classes; got {labels.min()} to {labels.max()}")
    for title, pair, weight in zip(titles, pairs, weights, strict=True):
        if pair.ndim != 2 or len(pair) != 2:
            raise ValueError(f"edges of {title!r} must have shape [2, E]; got {list(pair.shape)}")
        if pair.size and not 0 <= pair.min() <= pair.max() < len(labels):
            raise ValueError(f"edges of {title!r} must be numbers of {len(labels)} samples; got one outside")
        if weight.shape != pair.shape[1:] or (weight < 0).any():
            raise ValueError(f"weights of {title!r} must be at least 0, one for each of {pair.shape[1]} edges")
