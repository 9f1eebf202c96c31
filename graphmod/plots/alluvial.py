"""The streams of samples from community to community, layer by layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ._axes import class_entries, distinct_colors, new_axes, short, width_of_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR = 0.06
"""Half the width of a layer's bars, in layers."""
GAP = 0.02
"""Space between two communities, as a share of the samples."""


def plot_alluvial(
    flows: pd.DataFrame, layers: Sequence[str], classes: Sequence[str], *, ax: "Axes | None" = None
) -> "Axes":
    """Draws how the samples flow from the communities of each layer to those of the next, coloured by class.

    A bar is a community, its height the number of its samples; a community keeps its place in the order of the bars
    from layer to layer, and those of one class stand together.

    Args:
        flows: A table of `graphmod.trajectories.community_flows`.
        layers: Names of its L layers.
        classes: Names of the classes, by label; the legend has those that are there, at most 50.
        ax: Where to draw; a new figure if None.

    Returns:
        The `Axes`.

    Raises:
        ValueError: If the names are not those of L layers, or there are fewer than the labels.

    Example:
        >>> flows = pd.DataFrame({"depth": [1, 1], "community": [0, 0], "next_community": [0, 1], "label": [0, 1]})
        >>> plot_alluvial(flows.assign(num_samples=5), ["conv1", "fc"], ["cat", "dog"]).get_ylabel()
        'samples'
    """
    columns = ("depth", "community", "next_community", "label", "num_samples")
    depth, community, following, label, number = (flows[name].to_numpy() for name in columns)
    num_layers = int(depth.max()) + 1
    if len(layers) != num_layers or len(classes) <= label.max():
        raise ValueError(
            f"expected names of {num_layers} layers and at least {label.max() + 1} classes; "
            f"got {len(layers)} and {len(classes)}"
        )
    colors = np.array(distinct_colors(len(classes)))
    entries, names = class_entries(np.unique(label), [str(name) for name in classes], [*colors])
    legend_columns = -(-len(names) // 22)
    if ax is None:
        room = max(width_of_names(names), 1.3) * legend_columns
        ax = new_axes(min(1.2 + 1.1 * num_layers, 12.7) + room, 5.5)[0]
    rank = _ranks(community, following, label, number)
    community, following = rank[community], rank[following]
    gap = GAP * number[depth == 1].sum()
    for step in range(1, num_layers):
        now = depth == step
        left = _stack(community[now], label[now], following[now], number[now], gap)
        right = _stack(following[now], label[now], community[now], number[now], gap)
        x = np.linspace(step + BAR, step + 1 - BAR, 24)
        bend = (1 - np.cos(np.linspace(0, np.pi, len(x)))) / 2
        for start, end, height, color in zip(left, right, number[now], colors[label[now]], strict=True):
            low = start + (end - start) * bend
            ax.fill_between(x, low, low + height, color=color, alpha=0.6, linewidth=0)
        ax.bar(step, number[now], 2 * BAR, left, color=colors[label[now]], linewidth=0)
        if step == num_layers - 1:
            ax.bar(num_layers, number[now], 2 * BAR, right, color=colors[label[now]], linewidth=0)
    ticks = short(layers)
    ax.set_xticks(range(1, num_layers + 1), ticks, rotation=90 if max(map(len, ticks)) > 8 else 0)
    ax.set(ylabel="samples", yticks=[], xlim=(1 - 3 * BAR, num_layers + 3 * BAR))
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    beside = {"bbox_to_anchor": (1, 0.5), "ncols": legend_columns}
    ax.legend(entries, names, reverse=True, frameon=False, loc="center left", **beside)
    return ax


def _ranks(community: np.ndarray, following: np.ndarray, label: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The place of each community from below: by its most frequent class over the layers, then by its size."""
    counts = np.zeros((max(community.max(), following.max()) + 1, label.max() + 1))
    for ends in (community, following):
        np.add.at(counts, (ends, label), number)
    ranks: np.ndarray = np.lexsort((-counts.sum(axis=1), counts.argmax(axis=1))).argsort()
    return ranks


def _stack(near: np.ndarray, label: np.ndarray, far: np.ndarray, number: np.ndarray, gap: float) -> np.ndarray:
    """The lower end of each stream: stacked by community, inside it by class, then by the community at the far end."""
    order = np.lexsort((far, label, near))
    below = np.empty(len(number))
    below[order] = number[order].cumsum() - number[order]
    return below + gap * np.unique(near, return_inverse=True)[1]
