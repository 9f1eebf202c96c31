"""How alike two layers are: by their activations, by their graphs, and by the one number that Q makes of a graph."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from ._names import unknown
from .metrics._inputs import chosen_edges, mean_over_nodes, undirected_edges

Activations = Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]
"""Features `[N, D]` by layer, or pairs of both that come one after the other, so that not all need be in memory."""

FLAT = 1e-10
"""An unbiased HSIC of so small a part of the squared Gram matrix is rounding."""

CHUNK = 2**24
"""Elements of a temporary float64 matrix (128 MB): features are taken in chunks of this size."""


# --- by activations ---


def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """Returns the linear centred kernel alignment of two representations of the same samples.

        CKA = HSIC(K, L) / √(HSIC(K, K) · HSIC(L, L)),   K = X Xᵀ,  L = Y Yᵀ
        HSIC(K, L) ∝ Σ_ij K_ij L_ij − N/(N−2) Σ_i K_ii L_ii + 1/((N−1)(N−2)) Σ_i K_ii Σ_i L_ii

    with the columns of X and Y centred. This is the unbiased estimator of HSIC: rows of a centred Gram matrix sum to 0,
    which leaves three terms of it. Unlike the biased one it does not grow towards 1 where there are more features than
    samples. It does not change if the features are rotated, shifted or all scaled alike.

    Args:
        x: Features `[N, D1]`, floating, finite, of at least four samples.
        y: Features `[N, D2]` of the same samples.

    Returns:
        CKA in [−1, 1], float64 `[]`: exactly 1 for the same tensor, about 0 for independent ones. It carries gradients.

    Raises:
        TypeError: If `x` or `y` is not a floating tensor.
        ValueError: If they are not `[N, D]` of the same N ≥ 4, or hold NaN or Inf; if CKA is
            undefined because one of them is constant, or every sample differs from the others in its own direction
            (orthogonal rows), so that its unbiased HSIC is 0.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [3.0, 2.0]])
        >>> float(linear_cka(x, x)), round(float(linear_cka(x, 5 * x.flip(1) + 7)), 9)
        (1.0, 1.0)

    Reference:
        Kornblith et al., "Similarity of neural network representations revisited", ICML 2019, section 3; the estimator
        is that of Song et al., "Feature selection via dependence maximization", JMLR 13, 2012, eq. 5, which Nguyen,
        Raghu and Kornblith (ICLR 2021) put into CKA.
    """
    for name, features in (("x", x), ("y", y)):
        _check_features(features, name)
    if len(x) != len(y):
        raise ValueError(f"x and y must hold the same samples; got {len(x)} and {len(y)}")
    narrow = max(x.shape[1], y.shape[1]) < len(x)  # then XᵀY, D1 × D2, is smaller than K and L
    sides = [_centred(side, _scale(side)) if narrow else _gram(side) for side in (x, y)]
    own = [side.square().sum(dim=1) if narrow else side.diagonal() for side in sides]

    def hsic(i: int, j: int) -> Tensor:
        products = ((sides[i].T @ sides[j]).square() if narrow else sides[i] * sides[j]).sum()
        found = _unbiased(products, own[i] @ own[j], own[i].sum() * own[j].sum(), len(x))
        return found if i != j or found > FLAT * products else torch.zeros_like(found)

    for i, name in enumerate("xy"):
        if own[i].sum() == 0:
            raise ValueError(f"CKA is undefined: {name} is the same for every sample")
        if hsic(i, i) == 0:
            raise ValueError(f"CKA is undefined: every sample of {name} differs from the others in its own direction")
    return (hsic(0, 1) / (hsic(0, 0) * hsic(1, 1)).sqrt()).clamp(-1, 1)


def cka_matrix(activations: Activations, others: Activations | None = None) -> pd.DataFrame:
    """Returns the `linear_cka` of all pairs of layers.

    One float64 Gram matrix, 8 N² bytes, is kept of each layer, and all pairs are one matrix product.

    Args:
        activations: Features `[N, D]` of the same samples by layer, or pairs of a name and features.
        others: The layers of a second network on these samples; the same layers if None.

    Returns:
        CKA in [−1, 1]: a row for each layer and a column for each layer (of `others`), by name. Without `others` it is
        symmetric with a diagonal of exactly 1. A layer for which CKA is undefined (see `linear_cka`) has NaN in its row
        or column, and on the diagonal.

    Raises:
        TypeError: If features are not floating tensors.
        ValueError: If there are no layers, if features are not `[N, D]` of the same N ≥ 4, or if they hold NaN or Inf.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [3.0, 2.0]])
        >>> cka_matrix({"a": x, "b": -x, "dead": torch.zeros(4, 2)})
                a    b  dead
        a     1.0  1.0   NaN
        b     1.0  1.0   NaN
        dead  NaN  NaN   NaN
    """
    rows, grams, own = _grams(activations)
    columns, other_grams, other_own = (rows, grams, own) if others is None else _grams(others)
    if own.shape[1] != other_own.shape[1]:
        raise ValueError(f"both networks must be given the same samples; got {own.shape[1]} and {other_own.shape[1]}")
    norm, other_norm = _norms(grams, own), _norms(other_grams, other_own)
    traces = own.sum(dim=1)[:, None] * other_own.sum(dim=1)
    cka = _unbiased(grams @ other_grams.T, own @ other_own.T, traces, own.shape[1]) / (norm[:, None] * other_norm)
    if others is None:
        cka = (cka + cka.T) / 2
        cka.diagonal().copy_(torch.where(norm.isnan(), torch.nan, 1.0))
    return pd.DataFrame(cka.clamp(-1, 1).cpu().numpy(), rows, columns)


# --- by graphs ---


def edge_jaccard(a: Data, b: Data) -> Tensor:
    """Returns the share of the edges of two graphs that both have.

    Args:
        a: A graph, read as undirected; its weights do not count.
        b: A graph of the same nodes.

    Returns:
        Edges of both / edges of either, in [0, 1], float64 `[]`; NaN if there are none.

    Raises:
        TypeError: If one is a batch.
        ValueError: If their nodes differ; as `modularity`.

    Example:
        >>> path = Data(edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=4)
        >>> pairs = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
        >>> edge_jaccard(path, pairs)
        tensor(0.6667, dtype=torch.float64)
    """
    _check_graphs(a, b)
    first, second = (source * a.num_nodes + target for source, target, _ in map(undirected_edges, (a, b)))
    shared = torch.isin(first, second).sum().double()
    return shared / (len(first) + len(second) - shared)


def mutual_neighbors(a: Data, b: Data) -> Tensor:
    """Returns how many of a sample's neighbours are its neighbours in both graphs, as a share, on average.

    Neighbours are those that the sample chose (`edge_chosen`), all that it has where the graph has no such mark. Two
    unrelated graphs of N samples and k neighbours each share k / (N − 1).

    Args:
        a: A graph.
        b: A graph of the same nodes.

    Returns:
        The mean over the samples of `|neighbours in both| / k`, in [0, 1], float64 `[]`. Where a sample has more
        neighbours in one graph than in the other k is the larger number. A sample without any is left out; NaN if none
        has any.

    Raises:
        TypeError: If one is a batch.
        ValueError: If their nodes differ; as `modularity`.

    Example:
        >>> from graphmod import knn_graph
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> mutual_neighbors(knn_graph(x, k=1), knn_graph(x.flip(1), k=1))
        tensor(1., dtype=torch.float64)

    Reference:
        Huh et al., "The Platonic Representation Hypothesis", ICML 2024, section 2 and appendix A.
    """
    _check_graphs(a, b)
    num_nodes = a.num_nodes
    first, second = ((edges[0] * num_nodes + edges[1]).unique() for edges, _ in map(chosen_edges, (a, b)))
    shared = first[torch.isin(first, second)]
    counts = [(edges // num_nodes).bincount(minlength=num_nodes) for edges in (shared, first, second)]
    return mean_over_nodes(a, counts[0].double() / counts[1].maximum(counts[2]))


def graph_matrix(
    graphs: Mapping[str, Data], measure: Callable[[Data, Data], Tensor], others: Mapping[str, Data] | None = None
) -> pd.DataFrame:
    """Compares the graphs of all pairs of layers.

    Args:
        graphs: Graphs of the same samples by layer, such as a `DynamicGraph`.
        measure: A function of two graphs, the same in both orders: `edge_jaccard`, `mutual_neighbors`.
        others: The graphs of a second network; the same graphs if None.

    Returns:
        What the function returns, as a number: a row for each layer and a column for each layer (of `others`), by name.

    Raises:
        TypeError: As the function.
        ValueError: If there are no graphs; as the function.

    Example:
        >>> path = Data(edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=4)
        >>> pairs = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
        >>> graph_matrix({"a": path, "b": pairs}, edge_jaccard).round(2)
              a     b
        a  1.00  0.67
        b  0.67  1.00
    """
    if not graphs or (others is not None and not others):
        raise ValueError("expected at least one graph; got none")
    if others is not None:
        values = [[float(measure(graph, other)) for other in others.values()] for graph in graphs.values()]
        return pd.DataFrame(values, list(graphs), list(others))
    square = np.empty((len(graphs), len(graphs)))
    for (i, a), (j, b) in combinations_with_replacement(enumerate(graphs.values()), 2):
        square[i, j] = square[j, i] = float(measure(a, b))
    return pd.DataFrame(square, list(graphs), list(graphs))


# --- by one number a layer ---


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


# --- what the matrices say ---


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
    inside = [one for one in layers if any(one.startswith(f"{other}.") for other in layers)]
    holding = [one for one in layers if any(other.startswith(f"{one}.") for other in layers)]
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


# --- Gram matrices ---


def _grams(activations: Activations) -> tuple[list[str], Tensor, Tensor]:
    """Returns the layers' names, their Gram matrices `[L, N²]`, and the diagonals of these `[L, N]`."""
    grams: dict[str, Tensor] = {}
    if activations is None or isinstance(activations, Tensor):
        kind = type(activations).__name__
        raise TypeError(f"activations must be a mapping from layers to tensors, or such pairs; got {kind}")
    for name, x in activations.items() if isinstance(activations, Mapping) else activations:
        _check_features(x, f"layer {name!r}")
        first, other = next(iter(grams.items()), (name, x))
        if len(x) != len(other):
            raise ValueError(f"layers must hold the same samples; {first!r} has {len(other)}, {name!r} has {len(x)}")
        grams[name] = _gram(x.detach())
    if not grams:
        raise ValueError("expected at least one layer; got none")
    names, own = list(grams), torch.stack([gram.diagonal() for gram in grams.values()])
    rows = own.new_empty(len(names), own.shape[1] ** 2)
    for row, name in zip(rows, names, strict=True):  # each is let go as it is copied, so that none is held twice
        row.copy_(grams.pop(name).flatten())
    return names, rows, own


def _gram(x: Tensor) -> Tensor:
    """Returns the Gram matrix of the centred features, float64 `[N, N]`, in chunks of the features."""
    gram, scale = torch.zeros(len(x), len(x), dtype=torch.float64, device=x.device), _scale(x)
    for part in x.split(max(1, CHUNK // len(x)), dim=1):
        centred = _centred(part, scale)
        gram.addmm_(centred, centred.T)
    return gram


def _scale(x: Tensor) -> Tensor:
    """Returns the largest value, by which all are divided so that their products do not overflow; 1 where it is 0."""
    largest = x.abs().max().double()
    return torch.where(largest > 0, largest, 1.0)


def _centred(x: Tensor, scale: Tensor) -> Tensor:
    """Takes the mean from each column; the first row comes off before, so that a constant column gives exact zeros."""
    x = x.double() / scale
    x = x - x[0]
    return x - x.mean(dim=0)


def _unbiased(products: Tensor, cross: Tensor, traces: Tensor, n: int) -> Tensor:
    """Returns N (N − 3) HSIC of centred K and L, of Σ_ij K_ij L_ij, Σ_i K_ii L_ii and Σ_i K_ii Σ_i L_ii."""
    return products - n / (n - 2) * cross + traces / ((n - 1) * (n - 2))


def _norms(grams: Tensor, own: Tensor) -> Tensor:
    """Returns √(N (N − 3) HSIC(K, K)) of each layer `[L]`; NaN where that is 0 but for rounding."""
    products = grams.square().sum(dim=1)
    found = _unbiased(products, own.square().sum(dim=1), own.sum(dim=1).square(), own.shape[1])
    return torch.where(found > FLAT * products, found.clamp(min=0).sqrt(), torch.nan)


# --- what may be compared ---


def _check_features(x: Tensor, name: str) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"{name} must be a floating tensor; got {getattr(x, 'dtype', type(x).__name__)}")
    if x.dim() != 2 or not x.shape[1]:
        hint = "; flatten it first" if x.dim() > 2 else ""
        raise ValueError(f"{name} must have shape [N, D]; got {list(x.shape)}{hint}")
    if len(x) < 4:
        raise ValueError(f"CKA is undefined for fewer than four samples; {name} has {len(x)}")
    if not x.isfinite().all():
        raise ValueError(f"{name} holds NaN or Inf")


def _check_graphs(a: Data, b: Data) -> None:
    for graph in (a, b):
        if not isinstance(graph, Data):
            raise TypeError(f"a graph must be a torch_geometric Data; got {type(graph).__name__}")
        if isinstance(graph, Batch):
            raise TypeError(f"expected one graph; got a Batch of {graph.num_graphs}: take them one by one")
    if a.num_nodes != b.num_nodes:
        raise ValueError(f"both graphs must have the same nodes; got {a.num_nodes} and {b.num_nodes}")
