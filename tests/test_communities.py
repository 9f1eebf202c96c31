"""Leiden against igraph, leidenalg and planted answers; the comparison against scikit-learn."""

import math
import random
import subprocess
import sys

import igraph
import leidenalg
import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import matrix
from sklearn import metrics
from strategies import weighted_graphs
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import from_networkx

from graphmod import DynamicGraph, knn_graph, modularity
from graphmod.communities import (
    _igraph_seed,
    _multislice,
    _to_igraph,
    compare_communities,
    leiden,
    temporal_leiden,
)

FLAVORS = ["igraph", "leidenalg"]


def karate() -> Data:
    return from_networkx(nx.Graph(nx.karate_club_graph().edges))


def planted(n: int = 400, classes: int = 4, inside: float = 0.2, between: float = 0.01, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    chance = torch.where(labels[:, None] == labels, inside, between)
    edges = (torch.rand(n, n, generator=generator) < chance).triu(diagonal=1).nonzero().T
    weight = 0.5 + torch.rand(edges.shape[1], generator=generator)
    return Data(edge_index=edges, edge_weight=weight, num_nodes=n, y=labels)


def leidenalg_quality(graph: Data, membership: Tensor) -> float:
    """leidenalg's own score of a partition."""
    edges = graph.edge_index.T.tolist()
    peer = igraph.Graph(graph.num_nodes, edges, edge_attrs={"weight": graph.edge_weight.tolist()})
    rule = leidenalg.ModularityVertexPartition
    return rule(peer, initial_membership=membership.tolist(), weights="weight").quality()


# --- finding ---


@pytest.mark.parametrize("flavor", FLAVORS)
def test_karate_club(flavor: str) -> None:
    found = leiden(karate(), flavor=flavor)
    assert float(modularity(karate(), found)) == pytest.approx(0.41979, abs=1e-5)  # the known optimum
    assert found.unique().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("flavor", FLAVORS)
def test_one_ruler(flavor: str) -> None:
    graph = planted(inside=0.05, between=0.02)
    found = leiden(graph, flavor=flavor)
    peer = igraph.Graph(graph.num_nodes, graph.edge_index.T.tolist())
    q = float(modularity(graph, found))
    assert q == pytest.approx(peer.modularity(found.tolist(), weights=graph.edge_weight.tolist()), abs=1e-9)
    assert q == pytest.approx(leidenalg_quality(graph, found), abs=1e-9)
    assert q >= float(modularity(graph))


@pytest.mark.parametrize("flavor", FLAVORS)
def test_planted_communities_are_found_in_the_order_of_their_size(flavor: str) -> None:
    graph = planted()
    assert metrics.adjusted_rand_score(leiden(graph, flavor=flavor), graph.y) == 1
    sizes = leiden(planted(inside=0.02, between=0.02), flavor=flavor).bincount()
    assert torch.equal(sizes, sizes.sort(descending=True).values)


@given(weighted_graphs(), st.sampled_from(FLAVORS))
def test_no_worse_than_one_community_or_none_merged(graph: tuple[Data, Tensor], flavor: str) -> None:
    data, _ = graph
    found = leiden(data, flavor=flavor)
    q = float(modularity(data, found))
    assert q >= -1e-9
    assert q >= float(modularity(data, torch.arange(data.num_nodes))) - 1e-9
    assert sorted(found.unique().tolist()) == list(range(int(found.max()) + 1))


def test_small_graphs_are_solved_as_by_trying_every_partition() -> None:
    generator = torch.Generator().manual_seed(0)
    partitions = [[0]]
    for _ in range(6):
        partitions = [[*head, new] for head in partitions for new in range(max(head) + 2)]
    for _ in range(10):
        weight = torch.rand(7, 7, generator=generator).triu(1) * (torch.rand(7, 7, generator=generator) < 0.4)
        edges = weight.nonzero().T
        graph = Data(edge_index=edges, edge_weight=weight[tuple(edges)], num_nodes=7)
        best = max(float(modularity(graph, torch.tensor(labels))) for labels in partitions)
        found = max(float(modularity(graph, leiden(graph, seed=seed))) for seed in range(5))
        assert found == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("flavor", FLAVORS)
def test_directions_duplicates_scale_and_seed(flavor: str) -> None:
    graph = planted(inside=0.05, between=0.03)
    found = leiden(graph, flavor=flavor, seed=3)
    both = Data(
        edge_index=torch.cat([graph.edge_index, graph.edge_index.flip(0)], dim=1),
        edge_weight=8 * graph.edge_weight.repeat(2),
        num_nodes=graph.num_nodes,
    )
    assert torch.equal(leiden(both, flavor=flavor, seed=3), found)
    assert torch.equal(leiden(graph, flavor=flavor, seed=3), found)
    assert any(not torch.equal(leiden(graph, flavor=flavor, seed=seed), found) for seed in range(4, 10))


def test_loops_count_as_in_modularity() -> None:
    edges = torch.tensor([[0, 1, 2, 0, 3], [1, 2, 3, 0, 3]])
    graph = Data(edge_index=edges, edge_weight=torch.tensor([1.0, 5.0, 1.0, 40.0, 40.0]), num_nodes=4)
    partitions = [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 1, 2], [0, 1, 2, 3], [0, 0, 0, 1], [0, 1, 1, 1]]
    best = max(float(modularity(graph, torch.tensor(labels))) for labels in partitions)
    for flavor in FLAVORS:
        assert float(modularity(graph, leiden(graph, flavor=flavor))) == pytest.approx(best, abs=1e-9)


def test_resolution() -> None:
    graph = planted()
    numbers = [len(leiden(graph, resolution=resolution).unique()) for resolution in (0.0, 1.0, 20.0)]
    assert numbers[0] <= 1 + int((leiden(graph, resolution=0.0).bincount() == 1).sum())
    assert numbers[1] == 4
    assert numbers[2] > 20


@pytest.mark.parametrize("flavor", FLAVORS)
def test_nodes_without_edges_stay_alone(flavor: str) -> None:
    empty = Data(edge_index=torch.empty(2, 0, dtype=torch.int64), num_nodes=3)
    weightless = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), edge_weight=torch.zeros(2), num_nodes=3)
    assert leiden(empty, flavor=flavor).tolist() == leiden(weightless, flavor=flavor).tolist() == [0, 1, 2]
    lonely = Data(edge_index=torch.tensor([[0, 1], [1, 2]]), num_nodes=5)
    assert leiden(lonely, flavor=flavor).tolist() == [0, 0, 0, 1, 2]
    assert leiden(Data(edge_index=torch.empty(2, 0, dtype=torch.int64), num_nodes=0), flavor=flavor).tolist() == []


def test_the_generators_of_others_are_left_alone() -> None:
    random.seed(5)
    state = random.getstate()
    leiden(planted())
    assert random.getstate() == state
    torch_state = torch.get_rng_state()
    leiden(planted(), flavor="leidenalg")
    assert torch.equal(torch.get_rng_state(), torch_state)
    drawn = []
    for _ in range(2):  # igraph draws from `random` again
        random.seed(1)
        drawn.append(igraph.Graph.Erdos_Renyi(20, 0.5).get_edgelist())
        leiden(planted())
    assert drawn[0] == drawn[1]
    found = igraph.Graph.Erdos_Renyi(20, 0.5)
    random.seed(1)
    assert igraph.Graph.Erdos_Renyi(20, 0.5).get_edgelist() == drawn[0] != found.get_edgelist()


def test_another_process_finds_the_same() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); from test_communities import planted, leiden;"
        "print(leiden(planted(inside=0.05, between=0.03), seed=3).tolist())"
    )
    root = str(__import__("pathlib").Path(__file__).resolve().parents[1])
    found = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True).stdout
    assert found.strip() == str(leiden(planted(inside=0.05, between=0.03), seed=3).tolist())


@pytest.mark.parametrize("flavor", FLAVORS)
def test_bad_weights(flavor: str) -> None:
    pair = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="edge weights must be at least 0"):
        leiden(Data(edge_index=pair, edge_weight=-torch.ones(2), num_nodes=2), flavor=flavor)
    with pytest.raises(ValueError, match="edge weights must be finite"):
        leiden(Data(edge_index=pair, edge_weight=torch.full((2,), torch.nan), num_nodes=2), flavor=flavor)
    x = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    with pytest.raises(ValueError, match="Leiden needs edge weights of at least 0; clamp them"):
        leiden(knn_graph(x, 2, compat="lu2022"), flavor=flavor)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": -1.0}, "resolution must be at least 0; got -1.0"),
        ({"resolution": math.nan}, "resolution must be at least 0; got nan"),
        ({"seed": -1}, "seed must be in 0"),
        ({"flavor": "louvain"}, "flavor must be 'igraph' or 'leidenalg'; got 'louvain'"),
        ({"num_iterations": 0}, "num_iterations must be at least 1"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        leiden(karate(), **options)


def test_a_batch_is_refused() -> None:
    with pytest.raises(TypeError, match="expected one graph; got a Batch of 2"):
        leiden(Batch.from_data_list([karate(), karate()]))


# --- over the layers ---


def multislice(graphs: list[Data], found: Tensor, coupling: float, resolution: float = 1.0) -> float:
    """The objective of temporal Leiden by its definition."""
    total = 0.0
    for graph, labels in zip(graphs, found, strict=True):
        a = matrix(graph)
        a = a * len(a) / a.sum()
        strength = a.sum(1)
        same = (labels[:, None] == labels).numpy()
        total += ((a - resolution * np.outer(strength, strength) / a.sum()) * same).sum()
    return total + 2 * coupling * float((found[1:] == found[:-1]).sum())


def drifting(layers: int = 4) -> list[Data]:
    """Two clusters that become four."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 4
    noise = torch.randn(120, 8, generator=generator)
    coarse, fine = torch.eye(8)[labels // 2], torch.eye(8)[labels + 4]
    steps = torch.linspace(0, 1, layers)
    return [knn_graph(noise * 0.3 + 2 * (1 - t) * coarse + 3 * t * fine, 6, y=labels) for t in steps]


@pytest.mark.parametrize("coupling", [0.0, 0.1, 0.5, 2.0])
def test_temporal_leiden_maximises_the_multislice_modularity(coupling: float) -> None:
    graphs = drifting()
    found = temporal_leiden(graphs, coupling=coupling, num_iterations=-1)
    value = multislice(graphs, found, coupling)
    assert value == pytest.approx(_multislice(graphs, found, coupling, 1.0), rel=1e-6)
    alone = torch.stack([leiden(graph) for graph in graphs])
    assert value >= 0.99 * multislice(graphs, alone, coupling)  # Leiden is a heuristic; so is `alone`
    for labels in (*alone, torch.arange(120) % 4, torch.zeros(120, dtype=torch.int64)):
        assert value >= multislice(graphs, labels.expand(4, -1), coupling) - 1e-6


def test_identical_layers_give_no_switches() -> None:
    for graph in (planted(n=200), drifting()[0], planted(n=150, inside=0.1, between=0.08)):
        for coupling in (0.01, 0.1, 1.0):
            found = temporal_leiden([graph] * 4, coupling=coupling)
            assert (found == found[0]).all()


def test_coupling_decides_how_much_is_switched() -> None:
    graphs = drifting()
    switches = [
        float((found[1:] != found[:-1]).double().mean())
        for found in (temporal_leiden(graphs, coupling=coupling) for coupling in (0.0, 0.3, 5.0))
    ]
    assert switches[0] > switches[1] > switches[2] == 0
    for graph, found in zip(graphs, temporal_leiden(graphs, coupling=0.0, num_iterations=-1), strict=True):
        assert float(modularity(graph, found)) == pytest.approx(float(modularity(graph, leiden(graph))), abs=0.01)


def test_temporal_leiden_follows_planted_classes_and_the_scale_of_a_layer_does_not_matter() -> None:
    graphs = drifting()
    found = temporal_leiden(graphs)
    assert metrics.adjusted_rand_score(found[-1], graphs[0].y) > 0.95
    assert metrics.adjusted_rand_score(found[0], graphs[0].y) < 0.9
    graphs[1] = graphs[1].clone()
    graphs[1].edge_weight = graphs[1].edge_weight * 1000
    assert torch.equal(temporal_leiden(graphs), found)


def test_temporal_leiden_takes_a_dynamic_graph() -> None:
    graphs = drifting()
    named = DynamicGraph({str(i): graph for i, graph in enumerate(graphs)})
    assert torch.equal(temporal_leiden(named), temporal_leiden(graphs))


def test_temporal_leiden_refuses() -> None:
    graph = karate()
    with pytest.raises(ValueError, match="expected the graphs of several layers; got none"):
        temporal_leiden([])
    with pytest.raises(ValueError, match=r"the graphs must have the same nodes; got \[34, 400\] nodes"):
        temporal_leiden([graph, planted()])
    with pytest.raises(
        TypeError, match="expected the graphs of several layers; got one graph: for one there is leiden"
    ):
        temporal_leiden(graph)
    with pytest.raises(ValueError, match="graph 1 has no edge weight"):
        temporal_leiden([graph, Data(edge_index=torch.empty(2, 0, dtype=torch.int64), num_nodes=34)])
    for coupling in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="coupling must be at least 0"):
            temporal_leiden([graph, graph], coupling=coupling)


# --- comparing ---


@given(st.integers(0, 10**6))
def test_scores_are_scikit_learns(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(4, 40))
    a, b = generator.integers(0, 4, n), generator.integers(0, 6, n)
    b = np.where(generator.random(n) < generator.random(), a, b)
    ring = torch.stack([torch.arange(n), (torch.arange(n) + 1) % n])
    graph = Data(edge_index=ring, num_nodes=n, y=torch.tensor(a))
    scores = compare_communities(graph, torch.tensor(b))
    assert scores["ami"] == pytest.approx(metrics.adjusted_mutual_info_score(a, b))
    assert scores["ari"] == pytest.approx(metrics.adjusted_rand_score(a, b))
    assert scores["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(a, b), abs=1e-9)
    assert scores["nmi"] == pytest.approx(scores["v_measure"], abs=1e-9)
    assert scores["homogeneity"] == pytest.approx(metrics.homogeneity_score(a, b))
    assert scores["completeness"] == pytest.approx(metrics.completeness_score(a, b))
    peer = igraph.compare_communities(a.tolist(), b.tolist(), method="vi")
    assert scores["variation_of_information"] == pytest.approx(peer, abs=1e-9)
    purity = sum(np.bincount(a[b == community]).max() for community in np.unique(b)) / n
    assert scores["purity"] == pytest.approx(purity)
    sizes = np.bincount(b)
    assert scores["num_communities"] == (sizes > 0).sum()
    assert scores["num_singletons"] == (sizes == 1).sum()
    assert scores["largest_community_size"] == sizes.max()
    assert scores["modularity_labels"] == pytest.approx(float(modularity(graph)))
    assert scores["modularity_found"] == pytest.approx(float(modularity(graph, torch.tensor(b))))


def test_equal_and_unrelated_partitions() -> None:
    graph = planted()
    same = compare_communities(graph, (graph.y + 1) % 4)
    assert [same[name] for name in ("ami", "ari", "purity", "modularity_ratio")] == pytest.approx([1] * 4)
    assert same["variation_of_information"] == pytest.approx(0, abs=1e-12)
    generator = torch.Generator().manual_seed(0)
    other = compare_communities(graph, torch.randint(0, 4, (400,), generator=generator))
    assert abs(other["ami"]) < 0.03
    assert compare_communities(graph, torch.zeros(400, dtype=torch.int64))["modularity_ratio"] != 1


def test_comparison_refuses_what_is_not_one_for_each_node() -> None:
    with pytest.raises(ValueError, match=r"labels must have shape \[400\]"):
        compare_communities(planted(), torch.tensor([0, 1]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("resolution", [1.0, 2.0])
def test_moves_that_gain_nothing_come_to_an_end(seed: int, resolution: float, monkeypatch: pytest.MonkeyPatch) -> None:
    real, passes = igraph.Graph.community_leiden, []
    monkeypatch.setattr(igraph.Graph, "community_leiden", lambda *a, **b: passes.append(b) or real(*a, **b))
    edges = torch.tensor([[1, 1, 8, 8, 5, 0, 1, 5, 7, 6, 5, 7], [9, 0, 5, 9, 7, 4, 0, 2, 5, 0, 1, 4]])
    weight = torch.tensor([0.5521624684333801, 0.34091129899024963, 0.9356296062469482])
    star = Data(edge_index=torch.tensor([[0, 0, 0], [1, 2, 3]]), edge_weight=weight, num_nodes=4)
    for graph in (Data(edge_index=edges, num_nodes=10), star):  # igraph's own -1 moves nodes of both for ever
        found, few = (leiden(graph, resolution=resolution, seed=seed, num_iterations=n) for n in (-1, 50))
        q, least = (modularity(graph, one, resolution=resolution) for one in (found, few))
        assert q >= least - 1e-9
    assert [one["n_iterations"] for one in passes].count(1) < 20
    assert -1 not in [one["n_iterations"] for one in passes]


@pytest.mark.parametrize("seed", range(8))
def test_passes_one_by_one_are_as_good_as_those_of_igraph(seed: int) -> None:
    x = torch.randn(200, 8, generator=torch.Generator().manual_seed(seed))
    peer = _to_igraph(graph := knn_graph(x + 2 * x[torch.arange(200) % 5], 3))
    strength = peer.strength(weights="weight")
    with _igraph_seed(seed):
        whole = peer.community_leiden(
            "CPM", weights="weight", resolution=1 / sum(strength), n_iterations=-1, node_weights=strength
        )
    assert modularity(graph, leiden(graph, seed=seed)) >= modularity(graph, torch.tensor(whole.membership)) - 1e-9
