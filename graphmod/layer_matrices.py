"""What tables of all pairs of layers say: distances by one number a layer, matches, groups."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

from ._names import unknown


def modularity_difference(
    curve: pd.DataFrame, metric: str = "modularity", *, others: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Returns `|Q_i − Q_j|` of all pairs of layers.

    It compares two numbers, not two layers: it is 0 for layers that are very different if they separate the classes
    equally well, and it sees nothing but the labels. `cka_matrix` and `graph_matrix` compare what the layers hold.

    Args:
        curve: A table of `modularity_curve`: `layer` and the metric.
        metric: The column to compare.
        others: The table of a second network; the same one if None.

    Returns:
        The difference, at least 0: a row for each layer and a column for each layer (of `others`), by name.

    Raises:
        ValueError: If a table has no such column.

    Example:
        >>> curve = pd.DataFrame({"layer": ["a", "b"], "modularity": [0.25, 0.75]})
        >>> modularity_difference(curve)
             a    b
        a  0.0  0.5
        b  0.5  0.0
    """
    others = curve if others is None else others
    for table in (curve, others):
        if metric not in table:
            raise ValueError(f"the table has no column {metric!r}; it has {', '.join(map(str, table.columns))}")
    difference = np.abs(curve[metric].to_numpy()[:, None] - others[metric].to_numpy())
    return pd.DataFrame(difference, curve.layer.tolist(), others.layer.tolist())


def layer_pairs(matrices: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Puts matrices of layers side by side in one table.

    Args:
        matrices: Matrices with the same rows and columns by name of the measure.

    Returns:
        One row for each cell, row by row: `layer`, `other`, and a column for each matrix.

    Raises:
        ValueError: If there are no matrices, or their layers differ.

    Example:
        >>> distance = pd.DataFrame([[0.0, 0.5]], ["a"], ["a", "b"])
        >>> layer_pairs({"distance": distance, "similarity": 1 - distance})
          layer other  distance  similarity
        0     a     a       0.0         1.0
        1     a     b       0.5         0.5
    """
    if not matrices:
        raise ValueError("expected at least one matrix; got none")
    first = next(iter(matrices.values()))
    for name, matrix in matrices.items():
        if not (matrix.index.equals(first.index) and matrix.columns.equals(first.columns)):
            raise ValueError(f"matrix {name!r} must have the layers of the first one in its rows and columns")
    i, j = np.indices(first.shape).reshape(2, -1)
    values = {name: matrix.to_numpy().flatten() for name, matrix in matrices.items()}
    return pd.DataFrame({"layer": first.index.to_numpy()[i], "other": first.columns.to_numpy()[j], **values})


def match_layers(matrix: pd.DataFrame) -> pd.DataFrame:
    """Finds for each layer of a network the layer of another network that is most like it.

    Two networks that differ in their seed only should do the same at the same depth. A measure of similarity is as good
    as the share of the layers that it matches so.

    Args:
        matrix: Similarities, a row for each layer of one network, a column for each of the other; of distances pass
            `-matrix`.

    Returns:
        One row a layer: `layer`, `match` (the first of the most similar ones), `depth`, `matched_depth` (both from 1)
        and `value`, the similarity. Layers whose row is all NaN are left out.

    Example:
        >>> matrix = pd.DataFrame([[0.9, 0.3], [0.8, 0.7]], ["a", "b"], ["a", "b"])
        >>> matches = match_layers(matrix)
        >>> matches.match.tolist(), float((matches.depth == matches.matched_depth).mean())
        (['a', 'a'], 0.5)

    Reference:
        Kornblith et al., "Similarity of neural network representations revisited", ICML 2019, section 6.1.
    """
    values = matrix.to_numpy(dtype=float)
    rows = np.flatnonzero(~np.isnan(values).all(axis=1))
    best = np.nan_to_num(values[rows], nan=-np.inf).argmax(axis=1)
    return pd.DataFrame(
        {
            "layer": matrix.index.to_numpy()[rows],
            "match": matrix.columns.to_numpy()[best],
            "depth": rows + 1,
            "matched_depth": best + 1,
            "value": values[rows, best],
        }
    )


def nested_layers(layers: Sequence[str]) -> dict[str, list[str]]:
    """Tells the layers that hold others of a list, such as residual blocks, from those that they hold.

    Args:
        layers: Names, as in `layer_names`.

    Returns:
        `outputs`: the layers that hold others; `inside`: those that lie in one of them. Either may be empty; a layer
        that is neither, such as the first convolution, is in none.

    Example:
        >>> nested_layers(["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.0"])
        {'outputs': ['layer1.0'], 'inside': ['layer1.0.conv1', 'layer1.0.conv2']}
    """
    modules = {one.partition("@")[0] for one in layers}  # of one that runs several times, whichever run it is
    holders = {name for name in modules if any(other.startswith(f"{name}.") for other in modules)}
    inside = [one for one in layers if any(one.startswith(f"{holder}.") for holder in holders)]
    holding = [one for one in layers if one.partition("@")[0] in holders]
    return {"outputs": [one for one in holding if one not in inside], "inside": inside}


def compare_groups(
    matrix: pd.DataFrame, groups: Mapping[str, Sequence[str]], *, max_distance: int | None = None
) -> pd.DataFrame:
    """Compares the distances inside groups of layers with those between groups.

    Do points inside residual blocks differ more from the blocks' outputs than these from one another? The pairs are not
    independent of each other: the numbers describe this network and test nothing.

    Args:
        matrix: Distances of all pairs of layers, symmetric, such as `modularity_difference(curve)` or 1 − CKA.
        groups: Layers by group, none in two of them.
        max_distance: Takes pairs of layers only that are at most so many rows apart; all pairs if None. Layers far
            apart differ whatever their group.

    Returns:
        One row for each pair of groups that has a pair of layers with a value: `group`, `other`, `num_pairs`, the
        quartiles `low`, `median` and `high`; and against the pairs inside `group` itself `gap`, the difference of the
        medians, and `larger`, the chance that of one pair of each kind this one is farther apart (0.5: no difference;
        ties count half). Both are NaN if there are none inside.

    Raises:
        ValueError: If rows and columns are not the same layers, a layer of a group is not among them or is in two
            groups, or the distance is below 1.

    Example:
        >>> curve = pd.DataFrame({"layer": ["a", "a.x", "b"], "modularity": [0.5, 0.25, 0.75]})
        >>> groups = nested_layers(["a", "a.x", "b"]) | {"outputs": ["a", "b"]}
        >>> compare_groups(modularity_difference(curve), groups)[["group", "other", "median", "gap"]]
             group    other  median    gap
        0  outputs  outputs   0.250  0.000
        1  outputs   inside   0.375  0.125
    """
    if not matrix.index.equals(matrix.columns):
        raise ValueError("matrix must have the same layers in its rows and columns: compare a network with itself")
    if max_distance is not None and max_distance < 1:
        raise ValueError(f"max_distance must be at least 1; got {max_distance}")
    names = [one for layers in groups.values() for one in layers]
    for one in names:
        if one not in matrix.index:
            raise ValueError(unknown("layer", one, matrix.index))
        if names.count(one) > 1:
            raise ValueError(f"layer {one!r} must be in one group only")
    places = {name: matrix.index.get_indexer(pd.Index(layers, dtype=object)) for name, layers in groups.items()}

    def pairs(group: str, other: str) -> np.ndarray:
        i, j = (part.flatten() for part in np.meshgrid(places[group], places[other], indexing="ij"))
        kept = (i < j) if group == other else np.full(i.shape, True)
        kept &= np.abs(i - j) <= (max_distance or len(matrix))
        values = matrix.to_numpy(dtype=float)[i[kept], j[kept]]
        return values[~np.isnan(values)]

    rows: list[dict[str, str | float]] = []
    for group, other in combinations_with_replacement(groups, 2):
        between, inside = pairs(group, other), pairs(group, group)
        if not len(between):
            continue
        low, median, high = np.quantile(between, [0.25, 0.5, 0.75]).tolist()
        row = {"group": group, "other": other, "num_pairs": len(between), "low": low, "median": median, "high": high}
        gap = median - float(np.median(inside)) if len(inside) else math.nan
        below = [np.searchsorted(np.sort(inside), between, side).mean() for side in ("left", "right")]
        larger = float(np.mean(below)) / len(inside) if len(inside) else math.nan
        rows.append(row | {"gap": gap, "larger": larger})
    return pd.DataFrame(rows, columns=["group", "other", "num_pairs", "low", "median", "high", "gap", "larger"])
