"""The communities that a graph has by itself, found by Leiden, and how they compare with the labels.

Label modularity says how separated the given classes are, Leiden what structure there is to find; both are scored by
one ruler, `modularity(graph, labels)` and `modularity(graph, leiden(graph))`.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from .metrics._inputs import check_resolution, layer_graphs, node_labels, undirected_edges
from .metrics.modularity import modularity

if TYPE_CHECKING:
    import igraph

Flavor = Literal["igraph", "leidenalg"]


def leiden(
    graph: Data, *, resolution: float = 1.0, seed: int = 0, flavor: Flavor = "igraph", num_iterations: int = -1
) -> Tensor:
    """Finds the communities of a graph: the partition of largest modularity that Leiden comes to.

    Args:
        graph: One `Data`, read as undirected as in `modularity`.
        resolution: γ of the modularity that is maximised, at least 0; a larger one gives more and smaller communities.
        seed: Seed; the same one gives the same communities.
        flavor: The implementation, `"igraph"` or the slower `"leidenalg"`; both maximise one objective.
        num_iterations: Passes over the graph, each starting from the result of the one before; −1 for as many as
            improve it.

    Returns:
        Community of each node, int64 `[N]` on the device of the graph, numbered from the largest (0) to the smallest. A
        node without edges is a community of its own.

    Raises:
        TypeError: If the graph is a batch.
        ValueError: If an edge weight is negative or not finite, γ < 0, the seed is negative, the flavor unknown, or
            there are 0 iterations.

    Example:
        >>> two_pairs = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
        >>> leiden(two_pairs)
        tensor([0, 0, 1, 1])

    Reference:
        Traag, Waltman and van Eck, "From Louvain to Leiden: guaranteeing well-connected communities", Scientific
        Reports 9, 2019.
    """
    _check(resolution, seed, num_iterations)
    if flavor not in get_args(Flavor):
        raise ValueError(f"flavor must be 'igraph' or 'leidenalg'; got {flavor!r}")
    peer = _to_igraph(graph)
    if not peer.ecount():
        return torch.arange(graph.num_nodes, device=graph.edge_index.device)
    if flavor == "igraph":
        with _igraph_seed(seed):
            partition = _igraph_leiden(peer, resolution, num_iterations)
    else:
        import leidenalg

        rule = leidenalg.RBConfigurationVertexPartition
        partition = leidenalg.find_partition(
            peer, rule, weights="weight", resolution_parameter=resolution, n_iterations=num_iterations, seed=seed
        )
    return _by_size(torch.tensor(partition.membership)).to(graph.edge_index.device)


def _igraph_leiden(peer: "igraph.Graph", resolution: float, num_iterations: int) -> "igraph.VertexClustering":
    """The partition that igraph comes to in some passes, or, of −1, as long as a pass improves it.

    Modularity is CPM with strengths as the sizes of the nodes; igraph's own "modularity" loses the loops in them.
    """
    strength = peer.strength(weights="weight")
    passes = partial(
        peer.community_leiden, objective_function="CPM", weights="weight", node_weights=strength,
        resolution=resolution / sum(strength),
    )  # fmt: skip
    if num_iterations > 0:
        return passes(n_iterations=num_iterations)
    before, found = None, passes(n_iterations=1)
    while before is None or found.quality > before + 1e-12:  # igraph's own −1 may move nodes for nothing for ever
        before, found = found.quality, passes(n_iterations=1, initial_membership=found.membership)
    return found


def temporal_leiden(
    graphs: Mapping[str, Data] | Iterable[Data],
    *,
    coupling: float = 0.1,
    resolution: float = 1.0,
    seed: int = 0,
    num_iterations: int = 2,
) -> Tensor:
    """Finds communities of a dynamic graph, all layers at once, so that they keep their numbers from layer to layer.

    Every sample is coupled to itself in the next layer, and the multislice modularity is maximised:

        Σ_l Σ_ij (a_ijl − γ s_il s_jl / 2W_l) δ(g_il, g_jl) + 2 ω Σ_l Σ_i δ(g_il, g_i,l+1)

    with the weights of each layer scaled to a mean strength of 1, so that all layers count alike and ω has one meaning.

    Args:
        graphs: The layers' graphs over the same samples, in order, such as a `DynamicGraph`.
        coupling: ω ≥ 0, the weight of a sample's tie to itself in the next layer, in units of the mean strength of a
            node. 0 treats every layer alone. On a ResNet-56 (28 layers, 500 samples, k = 3) 0.1 costs the layers hardly
            any modularity and halves the switches of 0.02; at 0.5 most layers have one and the same partition.
        resolution: As in `leiden`.
        seed: As in `leiden`.
        num_iterations: As in `leiden`; the time grows with the square of the number of layers.

    Returns:
        Community of each sample in each layer, int64 `[L, N]` on the device of the graphs, numbered from the largest.

    Raises:
        TypeError: If one of the graphs is a batch, or there is one graph instead of several.
        ValueError: As `leiden`; if there are no graphs, their nodes differ, one has no edge weight, or ω < 0.

    Example:
        >>> two_pairs = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
        >>> temporal_leiden([two_pairs, two_pairs])
        tensor([[0, 0, 1, 1],
                [0, 0, 1, 1]])

    Reference:
        Mucha et al., "Community structure in time-dependent, multiscale, and multiplex networks", Science 328, 2010.
    """
    _check(resolution, seed, num_iterations)
    graphs = layer_graphs(graphs, "for one there is leiden")
    if not 0 <= coupling < float("inf"):
        raise ValueError(f"coupling must be at least 0; got {coupling}")
    import leidenalg

    slices = []
    for layer, graph in enumerate(graphs):
        peer = _to_igraph(graph)
        if not peer.ecount():
            raise ValueError(f"graph {layer} has no edge weight; leave it out")
        peer.es["weight"] = np.array(peer.es["weight"]) * (peer.vcount() / (2 * peer.ecount()))
        peer.vs["id"] = range(peer.vcount())
        slices.append(peer)
    communities, _ = leidenalg.find_partition_temporal(
        slices, leidenalg.RBConfigurationVertexPartition, interslice_weight=coupling,
        resolution_parameter=resolution, n_iterations=num_iterations, seed=seed,
    )  # fmt: skip
    found = torch.tensor(communities)
    # A heuristic: the communities of one layer held through all may be worth more, as they are for equal layers.
    constant = [layer.expand_as(found) for layer in found.unique(dim=0)]
    found = max([*constant, found], key=lambda one: _multislice(graphs, one, coupling, resolution))
    return _by_size(found.flatten()).view_as(found).to(graphs[0].edge_index.device)


def compare_communities(graph: Data, found: Tensor, labels: Tensor | None = None) -> dict[str, float]:
    """Compares the communities of a graph with the classes of its nodes.

    Args:
        graph: One `Data`.
        found: Community of each node, integers `[N]`, such as `leiden(graph)`.
        labels: Class of each node, integers `[N]`; `graph.y` if None.

    Returns:
        Numbers by name:

        - `modularity_labels`, `modularity_found`: Q of the classes and of the communities, on this graph;
        - `modularity_ratio`: the first divided by the second, how much of the structure that there is the classes
          explain; 1 if they are as good as what was found, negative if worse than chance, NaN if the second is 0;
        - `ami`, `ari`: adjusted mutual information and adjusted Rand index, 1 for equal partitions, 0 on average for
          unrelated ones;
        - `nmi`: mutual information by the mean of the two entropies, in [0, 1], not adjusted for chance;
        - `variation_of_information`: H(classes | communities) + H(communities | classes) in nats, 0 for equal ones;
        - `homogeneity`, `completeness`, `v_measure`: is a community of one class, is a class in one community, and the
          harmonic mean of both, in [0, 1]; `v_measure` equals `nmi`;
        - `purity`: share of the nodes whose class is the most frequent one of their community;
        - `num_communities`, `num_singletons` (communities of one node) and `largest_community_size` (its nodes).

    Raises:
        TypeError: If labels or communities are not integers; if the graph is a batch.
        ValueError: If labels or communities are missing, negative or not one for each node.

    Example:
        >>> two_pairs = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
        >>> scores = compare_communities(two_pairs, leiden(two_pairs), torch.tensor([0, 0, 1, 1]))
        >>> scores["ami"], scores["modularity_ratio"], scores["num_communities"]
        (1.0, 1.0, 2)

    Reference:
        AMI: Vinh, Epps and Bailey, JMLR 11, 2010. ARI: Hubert and Arabie, Journal of Classification 2, 1985. V-measure:
        Rosenberg and Hirschberg, EMNLP 2007. Variation of information: Meilă, Journal of Multivariate Analysis 98,
        2007. All but the last and purity by scikit-learn.
    """
    from sklearn import metrics

    labels, found = node_labels(graph, labels), node_labels(graph, found)
    q_labels, q_found = float(modularity(graph, labels)), float(modularity(graph, found))
    a, b = labels.cpu().numpy(), found.cpu().numpy()
    table = metrics.cluster.contingency_matrix(a, b)
    homogeneity, completeness, v_measure = metrics.homogeneity_completeness_v_measure(a, b)
    return {
        "modularity_labels": q_labels,
        "modularity_found": q_found,
        "modularity_ratio": q_labels / q_found if q_found else float("nan"),
        "ami": float(metrics.adjusted_mutual_info_score(a, b)),
        "ari": float(metrics.adjusted_rand_score(a, b)),
        "nmi": float(metrics.normalized_mutual_info_score(a, b)),
        "variation_of_information": abs(_conditional_entropy(table) + _conditional_entropy(table.T)),
        "homogeneity": float(homogeneity),
        "completeness": float(completeness),
        "v_measure": float(v_measure),
        "purity": float(table.max(axis=0).sum() / len(a)),
        "num_communities": table.shape[1],
        "num_singletons": int((table.sum(axis=0) == 1).sum()),
        "largest_community_size": int(table.sum(axis=0).max()),
    }


def _multislice(graphs: Sequence[Data], found: Tensor, coupling: float, resolution: float) -> float:
    """What `temporal_leiden` maximises."""
    layers = zip(graphs, found, strict=True)
    q = sum(float(modularity(graph, one.to(graph.edge_index.device), resolution=resolution)) for graph, one in layers)
    return found.shape[1] * q + 2 * coupling * float((found[1:] == found[:-1]).sum())


def _check(resolution: float, seed: int, num_iterations: int) -> None:
    check_resolution(resolution)
    if not 0 <= seed < 2**31:
        raise ValueError(f"seed must be in 0 … 2³¹ − 1; got {seed}")
    if num_iterations == 0:
        raise ValueError("num_iterations must be at least 1, or −1 for as many as improve the result; got 0")


def _to_igraph(graph: Data) -> "igraph.Graph":
    """The edges of positive weight as an igraph object, each pair once.

    The edge attribute `weight` has mean 1, because how randomly igraph's Leiden refines depends on its scale.
    """
    import igraph

    first, second, weight = undirected_edges(graph)
    if (weight < 0).any():
        raise ValueError("Leiden needs edge weights of at least 0; clamp them, or build the graph without compat")
    kept = weight > 0
    weight = weight[kept] / weight[kept].mean()
    first, second, weight = (part.detach().cpu().numpy().tolist() for part in (first[kept], second[kept], weight))
    return igraph.Graph(graph.num_nodes, zip(first, second, strict=True), edge_attrs={"weight": weight})


@contextmanager
def _igraph_seed(seed: int) -> Iterator[None]:
    """Lets igraph draw from a generator of its own for a while, and then from Python's `random` as it does at first."""
    import igraph

    igraph.set_random_number_generator(random.Random(seed))
    try:
        yield
    finally:
        igraph.set_random_number_generator(random)


def _by_size(membership: Tensor) -> Tensor:
    """The same communities numbered from the largest to the smallest, equal ones by their first node."""
    _, number, size = membership.unique(return_inverse=True, return_counts=True)
    first = scatter(torch.arange(len(membership)), number, reduce="min")
    rank = torch.from_numpy(np.lexsort((first.numpy(), -size.numpy())))
    return rank.argsort()[number]


def _conditional_entropy(table: np.ndarray) -> float:
    """H(row | column) in nats of a table of counts."""
    column = np.broadcast_to(table.sum(axis=0), table.shape)
    there = table > 0
    return float(-(table[there] / table.sum() * np.log(table[there] / column[there])).sum())
