"""Modularity: how much more edge weight lies inside the classes than chance would put there."""

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.index import index2ptr
from torch_geometric.utils import scatter, segment

from ._inputs import check_resolution, count_classes, edge_weights, graph_of_node, node_labels

MAX_PAIRS = 2**20
"""Up to so many pairs of classes the edges of each are summed on a CPU, in one pass over the edges; 5 times as fast."""

SMALL = torch.uint8, torch.int16, torch.int32
"""What the number of a pair is held in: the fewer bytes an edge takes, the faster."""


def modularity(graph: Data, labels: Tensor | None = None, *, resolution: float = 1.0) -> Tensor:
    """Returns the modularity Q of a partition of a graph's nodes.

        Q = 1/2W Σ_ij (a_ij − γ s_i s_j / 2W) δ(c_i, c_j) = Σ_c [w_c / W − γ (s_c / 2W)²]

    where a_ij are the edge weights, s_i = Σ_j a_ij the strength of node i, W = ½ Σ_ij a_ij the total weight, w_c the
    weight of the edges inside class c, s_c the sum of its strengths, and γ the resolution.

    Args:
        graph: A `Data`, or a `Batch` of them, with `edge_index` and, unless every edge counts 1, `edge_weight`. It is
            read as undirected, A = (D + Dᵀ) / 2 for whatever D it holds: edges listed in one direction or in both give
            the same number, and a directed neighbour graph gives that of its symmetric form. A loop counts once.
        labels: Any partition of the nodes, integers `[N]` of at least 0 (for a batch those of all its nodes);
            `graph.y` if None.
        resolution: γ, at least 0; 1 is Newman's modularity.

    Returns:
        Q in [−½, 1) for γ = 1, float64: `[]`, or `[B]` for a batch of B graphs, all scored in one pass. 0 if all nodes
        have one label (1 − γ for other γ), NaN if a graph has no edge weight, where Q is undefined.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If edges or labels are missing, labels negative or of another length; if an edge weight is negative
            or not finite (the negative weights of `compat="lu2022"` are scored by the formula above, as published); if
            γ < 0.

    Example:
        >>> two_pairs = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
        >>> modularity(two_pairs, torch.tensor([0, 0, 1, 1]))
        tensor(0.5000, dtype=torch.float64)

    Reference:
        Newman, "Analysis of weighted networks", Physical Review E 70, 2004, eq. 9; the resolution is that of
        Reichardt and Bornholdt, Physical Review E 74, 2006.
    """
    return modularity_terms(graph, labels, resolution=resolution)["modularity"]


def modularity_terms(graph: Data, labels: Tensor | None = None, *, resolution: float = 1.0) -> dict[str, Tensor]:
    """Returns modularity with the terms that make it up and the bound that makes it comparable.

    The first term of Q is the share of the edge weight that joins samples of one class. On a neighbour graph
    A = (D + Dᵀ) / 2 that is the label overlap: how many of a sample's neighbours, by weight, have its class. Networks
    can be compared by Q on the same labels; data sets with other numbers of classes only by `normalized`.

    Args:
        graph: As in `modularity`.
        labels: As in `modularity`.
        resolution: As in `modularity`.

    Returns:
        Float64 tensors, `[]` or `[B]`, by name:

        - `modularity`: Q = overlap − expected;
        - `overlap`: Σ_c w_c / W, in [0, 1];
        - `expected`: γ Σ_c (s_c / 2W)², the overlap of a random graph with the same strengths;
        - `maximum`: Qmax = 1 − expected, where every edge joins one class; 0.9 for ten balanced classes;
        - `normalized`: Q / Qmax, at most 1; NaN where Qmax is not positive, as for one class.

    Raises:
        TypeError: As `modularity`.
        ValueError: As `modularity`.

    Example:
        >>> two_pairs = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
        >>> {name: float(value) for name, value in modularity_terms(two_pairs, torch.tensor([0, 0, 1, 1])).items()}
        {'modularity': 0.5, 'overlap': 1.0, 'expected': 0.5, 'maximum': 0.5, 'normalized': 1.0}

    Reference:
        Q / Qmax for γ = 1 is the assortativity coefficient: Newman, "Mixing patterns in networks", Physical Review E
        67, 2003, eq. 2.
    """
    labels = node_labels(graph, labels)
    check_resolution(resolution)
    node_graph, num_graphs = graph_of_node(graph)
    num_classes = count_classes(labels)
    sums = _class_sums(graph, labels + num_classes * node_graph, num_classes * num_graphs)
    inside, strength = (values.view(num_graphs, num_classes) for values in sums)
    total = strength.sum(dim=1)  # 2W

    overlap = inside.sum(dim=1) / total
    expected = resolution * (strength / total[:, None]).square().sum(dim=1)
    q, maximum = overlap - expected, 1 - expected
    terms = {
        "modularity": q,
        "overlap": overlap,
        "expected": expected,
        "maximum": maximum,
        "normalized": torch.where(maximum > 0, q / maximum, torch.nan),
    }
    return terms if isinstance(graph, Batch) else {name: value.squeeze(0) for name, value in terms.items()}


def _class_sums(graph: Data, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Returns of each class the weight of the edges inside it, each way counted, and its strength, float64 `[C]` both.

    Args:
        graph: As in `modularity`.
        labels: Int64 `[N]`, in 0 … C − 1; nodes of different graphs have different ones.
        num_classes: C.
    """
    weight = edge_weights(graph)
    source, target = graph.edge_index.contiguous()  # index2ptr is wrong for a strided view such as `pairs.T`
    num_pairs = num_classes**2
    if weight.is_cpu and num_pairs <= MAX_PAIRS and not weight.requires_grad:  # bincount has no derivative
        small = labels.to(next(kind for kind in SMALL if num_pairs <= torch.iinfo(kind).max))
        pair = small.index_select(0, source).mul_(num_classes).add_(small.index_select(0, target))
        matrix = torch.bincount(pair, weight, num_pairs).double().view(num_classes, num_classes)
        return matrix.diagonal(), (matrix.sum(dim=0) + matrix.sum(dim=1)) / 2
    num_nodes = len(labels)
    same = labels.index_select(0, source) == labels.index_select(0, target)
    kept = torch.where(same, weight, 0.0)
    if (source[1:] >= source[:-1]).all():  # sorted, as every graph of this package: segment sums
        pointer = index2ptr(source, num_nodes)
        leaving, inside = segment(weight, pointer), segment(kept, pointer)
    else:
        leaving, inside = (scatter(values, source, dim_size=num_nodes) for values in (weight, kept))
    strength = (leaving + scatter(weight, target, dim_size=num_nodes)) / 2
    inside, strength = (scatter(values, labels, dim_size=num_classes) for values in (inside, strength))
    return inside, strength
