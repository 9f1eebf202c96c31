"""The graphs of several layers over the same samples, as pictures of nodes and links need them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def checked_graphs(
    positions: ArrayLike, edges: Sequence[ArrayLike], labels: ArrayLike, classes: Sequence[str], titles: Sequence[str]
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Returns positions `[L, N, 2]`, each layer's edges `[2, E]` and labels `[N]` as arrays.

    Raises:
        ValueError: If positions are not `[L, N, 2]` in the unit square, edges or titles not those of L layers, an edge
            names a sample that is not there, or a label has no class.
    """
    places, numbers = np.asarray(positions, dtype=float), np.asarray(labels)
    if places.ndim != 3 or places.shape[1:] != (len(numbers), 2) or not places.size:
        raise ValueError(f"positions must have shape [L, {len(numbers)}, 2]; got {list(places.shape)}")
    if not (places.min() >= -1e-6 and places.max() <= 1 + 1e-6):
        raise ValueError(f"positions must lie in the unit square; got {places.min():g} to {places.max():g}")
    if not len(edges) == len(titles) == len(places):
        raise ValueError(f"expected edges and titles of {len(places)} layers; got {len(edges)} and {len(titles)}")
    if numbers.min() < 0 or numbers.max() >= len(classes):
        raise ValueError(f"labels must be numbers of {len(classes)} classes; got {numbers.min()} to {numbers.max()}")
    pairs = [np.asarray(one, dtype=int) for one in edges]
    for title, pair in zip(titles, pairs, strict=True):
        if pair.ndim != 2 or len(pair) != 2:
            raise ValueError(f"edges of {title!r} must have shape [2, E]; got {list(pair.shape)}")
        if pair.size and not 0 <= pair.min() <= pair.max() < len(numbers):
            raise ValueError(f"edges of {title!r} must be numbers of {len(numbers)} samples; got one outside")
    return places, pairs, numbers


def once(pair: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each pair of samples i < j once, `[2, P]`, and the larger weight of its two directions, without loops."""
    found, place = np.unique(np.sort(pair, axis=0), axis=1, return_inverse=True)
    total = np.zeros(found.shape[1])
    np.maximum.at(total, place, weight)
    return found[:, found[0] != found[1]], total[found[0] != found[1]]
