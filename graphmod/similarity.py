"""How alike two layers are: by their activations, and by their graphs."""

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import Data

from ._tensors import is_plain, kind
from .metrics._inputs import check_one_graph, chosen_edges, mean_over_nodes, undirected_edges

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
            undefined because one of them is constant, or its unbiased HSIC is 0 but for rounding: every sample differs
            from the others in its own direction (orthogonal rows), or one lies 1e4 times as far out as the rest.

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


# --- Gram matrices ---


def _grams(activations: Activations) -> tuple[list[str], Tensor, Tensor]:
    """Returns the layers' names, their Gram matrices `[L, N²]`, and the diagonals of these `[L, N]`."""
    grams: dict[str, Tensor] = {}
    if activations is None or isinstance(activations, Tensor):
        kind = type(activations).__name__
        raise TypeError(f"activations must be a mapping from layers to tensors, or such pairs; got {kind}")
    for name, x in activations.items() if isinstance(activations, Mapping) else activations:
        _check_features(x, f"layer {name!r}")
        if name in grams:
            raise ValueError(f"layer {name!r} is there twice; give every layer a name of its own")
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


def _check_features(x: Tensor, name: str) -> None:
    if not is_plain(x):
        raise TypeError(f"{name} must be a tensor of floating type; got {kind(x)}")
    if x.dim() != 2 or not x.shape[1]:
        raise ValueError(f"{name} must have shape [N, D]; got {list(x.shape)}: flatten it first")
    if len(x) < 4:
        raise ValueError(f"CKA is undefined for fewer than four samples; {name} has {len(x)}")
    if not x.isfinite().all():
        raise ValueError(f"{name} holds NaN or Inf")


def _check_graphs(a: Data, b: Data) -> None:
    one, other = check_one_graph(a), check_one_graph(b)
    if one != other:
        raise ValueError(f"both graphs must have the same nodes; got {one} and {other}")
