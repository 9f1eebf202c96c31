"""Whether a modularity is more than chance: what labels give that are shuffled on the same graph."""

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from ._tensors import in_chunks
from .metrics._inputs import check_resolution, count_classes, edge_shares, node_labels
from .metrics.modularity import modularity

ROUNDING = 3e-14
"""A variance that is smaller than this share of the largest of the terms that it is the sum of is their rounding."""


def permutation_test(
    graph: Data,
    labels: Tensor | None = None,
    *,
    num_permutations: int = 1000,
    seed: int = 0,
    resolution: float = 1.0,
) -> dict[str, Tensor]:
    """Tests whether the classes are further apart than labels given to the same samples at random.

    The graph stays as it is and the labels are shuffled, so that the sizes of the classes stay too.

    Args:
        graph: One `Data`, read as in `modularity`.
        labels: Integers `[N]`; `graph.y` if None.
        num_permutations: Shuffles, at least 1.
        seed: Seed of the shuffles.
        resolution: γ.

    Returns:
        Float64 tensors `[]` by name:

        - `null_mean`, `null_std`: mean and standard deviation of Q over all shuffles, in closed form (`null_moments`);
        - `null_low`, `null_high`: the 2.5th and 97.5th percentile of the shuffles;
        - `z`: (Q − null_mean) / null_std; NaN if all shuffles have one Q, but for rounding;
        - `p_value`: (1 + number of shuffles with at least the Q of the labels) / (1 + number of shuffles). It cannot
          fall below 1 / (1 + num_permutations), and is exact: uniform if labels and graph are unrelated.

    Raises:
        TypeError: If labels are not integers, or the graph is a batch.
        ValueError: As `modularity`; if there are no shuffles.

    Example:
        >>> pairs = torch.arange(40).view(20, 2).T
        >>> test = permutation_test(Data(edge_index=pairs, num_nodes=40), torch.arange(40) // 4)
        >>> round(float(test["p_value"]), 4)
        0.001

    Reference:
        Phipson and Smyth, "Permutation p-values should never be zero", Statistical Applications in Genetics and
        Molecular Biology 9, 2010.
    """
    labels = node_labels(graph, labels)
    q = modularity(graph, labels, resolution=resolution)
    shuffled = shuffled_modularity(graph, labels, num_shuffles=num_permutations, seed=seed, resolution=resolution)
    mean, std = null_moments(graph, labels, resolution=resolution)
    reached = (shuffled >= q - 1e-12).sum().double()  # equal up to rounding counts as equal
    p_value = torch.where(q.isnan(), torch.nan, (1 + reached) / (1 + num_permutations))
    low, high = shuffled.quantile(shuffled.new_tensor([0.025, 0.975]))
    null = {"null_mean": mean, "null_std": std, "null_low": low, "null_high": high}
    z = torch.where(std > 0, (q - mean) / std, torch.nan)
    return {**null, "z": z, "p_value": p_value}


def shuffled_modularity(
    graph: Data, labels: Tensor | None = None, *, num_shuffles: int = 1000, seed: int = 0, resolution: float = 1.0
) -> Tensor:
    """Returns Q of the same graph with the labels shuffled, thousands of times in one batched scatter.

    Args:
        graph: One `Data`, read as in `modularity`.
        labels: Integers `[N]`; `graph.y` if None.
        num_shuffles: R, at least 1.
        seed: Seed of the shuffles.
        resolution: γ.

    Returns:
        Float64 `[R]`.

    Raises:
        TypeError: If labels are not integers, or the graph is a batch.
        ValueError: As `modularity`; if there are no shuffles.

    Example:
        >>> two_pairs = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
        >>> shuffled_modularity(two_pairs, torch.tensor([0, 0, 1, 1])).unique()
        tensor([-0.5000,  0.5000], dtype=torch.float64)
    """
    if num_shuffles < 1:
        raise ValueError(f"there must be at least 1 shuffle; got {num_shuffles}")
    check_resolution(resolution)
    labels = node_labels(graph, labels)
    first, second, strength, weight = edge_shares(graph)
    num_nodes, num_classes = len(labels), count_classes(labels)
    generator, found = torch.Generator().manual_seed(seed), []
    for part in in_chunks(num_shuffles, max(len(first), num_nodes)):
        order = torch.rand(len(part), num_nodes, generator=generator, dtype=torch.float64).argsort(dim=1)
        shuffled = labels[order.to(labels.device)]
        by_node = shuffled.T.to(torch.int32).contiguous()
        overlap = weight @ (by_node[first] == by_node[second]).double()
        classes = torch.zeros(len(part), num_classes, dtype=torch.float64, device=labels.device)
        classes.scatter_add_(1, shuffled, strength.expand(len(part), -1))
        found.append(overlap - resolution * classes.square().sum(dim=1))
    return torch.cat(found) + 0 / strength.sum()  # NaN without edge weight, without nodes too


def null_moments(graph: Data, labels: Tensor | None = None, *, resolution: float = 1.0) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of Q over all permutations of the labels, in closed form.

    Q is a sum over pairs, Q = Σ_i b_ii + Σ_{i≠j} b_ij δ(c_i, c_j) with b_ij = (a_ij − γ s_i s_j / 2W) / 2W, and its
    moments under permutation follow from how often two pairs share two, one or no nodes. With m = Σ_c n_c (n_c − 1)
    the mean is Σ_i b_ii + Σ_{i≠j} b_ij · m / N(N − 1).

    Args:
        graph: One `Data`, read as in `modularity`.
        labels: Integers `[N]`; `graph.y` if None. Only the sizes of the classes matter.
        resolution: γ.

    Returns:
        Mean and standard deviation, float64 `[]` both; the deviation of fewer than 4 samples is NaN.

    Raises:
        TypeError: If labels are not integers, or the graph is a batch.
        ValueError: As `modularity`.

    Example:
        >>> two_pairs = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
        >>> [round(float(value), 4) for value in null_moments(two_pairs, torch.tensor([0, 0, 1, 1]))]
        [-0.1667, 0.4714]

    Reference:
        Mantel, "The detection of disease clustering and a generalized regression approach", Cancer Research 27, 1967.
    """
    check_resolution(resolution)
    labels = node_labels(graph, labels)
    first, second, strength, weight = edge_shares(graph)
    n, size = len(labels), labels.bincount().double()
    loop = first == second
    between = torch.where(loop, 0.0, weight) / 2  # a_ij / 2W, each pair once
    own = scatter(torch.where(loop, weight, 0.0), first, dim_size=n)  # a_ii / 2W

    # Of x_ij = b_ij and of y_ij = δ(c_i, c_j), i ≠ j: the sum, the sum of squares, the sum of the squared row sums.
    row = strength - own - resolution * strength * (1 - strength)
    pair = strength[first] * strength[second]
    square = strength.square().sum()
    squares = 2 * (between.square() - 2 * resolution * between * pair).sum()
    squares = squares + resolution**2 * (square.square() - strength.pow(4).sum())
    x = row.sum(), squares, row.square().sum()
    y = (size * (size - 1)).sum(), (size * (size - 1)).sum(), (size * (size - 1).square()).sum()

    constant = (own - resolution * strength.square()).sum() + 0 / strength.sum()  # NaN without edge weight or nodes
    mean = x[0] * y[0] / max(1, n * (n - 1))
    if n < 4:
        return constant + mean, torch.full_like(mean, torch.nan)
    same = 2 * x[1] * y[1] / (n * (n - 1))
    one = 4 * (x[2] - x[1]) * (y[2] - y[1]) / (n * (n - 1) * (n - 2))
    none = (x[0].square() - 4 * x[2] + 2 * x[1]) * (y[0].square() - 4 * y[2] + 2 * y[1])
    parts = torch.stack([same, one, none / (float(n) * (n - 1) * (n - 2) * (n - 3)), -mean.square()])
    variance, rounding = parts.sum(), ROUNDING * parts.abs().max()
    return constant + mean, torch.where(variance <= rounding, 0.0, variance).sqrt()
