"""The error of Q: by its definition, and against many draws."""

import networkx
import numpy as np
import pytest
import torch
from scipy import stats
from test_significance import blobs
from torch import Tensor
from torch_geometric.data import Data

from graphmod import knn_graph, modularity
from graphmod.uncertainty import bootstrap, confidence_interval, standard_error


def standard_error_by_definition(graph: Data, labels: Tensor) -> float:
    """Each edge's influence by a numerical derivative of Q, and a double loop over pairs of edges."""
    n = graph.num_nodes
    pairs = [(i, j, w) for (i, j), w in zip(graph.edge_index.T.tolist(), graph.edge_weight.tolist(), strict=True)]
    once = [(i, j, w) for i, j, w in pairs if i < j]
    index = torch.tensor([(i, j) for i, j, _ in once]).T

    def q(weights: list[float]) -> float:
        weight = torch.tensor(weights, dtype=torch.float64)
        return float(modularity(Data(edge_index=index, edge_weight=weight, num_nodes=n), labels))

    weights = [w for *_, w in once]
    influence = []
    for e, w in enumerate(weights):  # dQ / dlog w
        up, down = list(weights), list(weights)
        up[e], down[e] = w * (1 + 1e-5), w * (1 - 1e-5)
        influence.append((q(up) - q(down)) / 2e-5)
    alone = sum(value**2 for value in influence)
    together = sum(
        influence[e] * influence[f]
        for e in range(len(once))
        for f in range(len(once))
        if e != f and {*once[e][:2]} & {*once[f][:2]}
    )
    return (alone + max(0.0, together)) ** 0.5


@pytest.mark.parametrize("separation", [0.0, 1.0, 3.0])
def test_standard_error_by_its_definition(separation: float) -> None:
    x, labels = blobs(40, separation, seed=1)
    graph = knn_graph(x, 3)
    expected = standard_error_by_definition(graph, labels)
    assert float(standard_error(graph, labels)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "separation", "k"), [(200, 2.0, 3), (300, 0.5, 3), (300, 3.0, 15)])
def test_standard_error_is_the_spread_of_new_draws_and_bootstrap_is_wider(n: int, separation: float, k: int) -> None:
    q, errors, resampled = [], [], []
    for seed in range(150):
        x, labels = blobs(n, separation, seed)
        graph = knn_graph(x, k)
        q.append(float(modularity(graph, labels)))
        errors.append(float(standard_error(graph, labels)))
        if seed < 10:
            resampled.append(float(bootstrap(graph, labels, num_resamples=200, seed=seed).std()))
    spread = np.std(q, ddof=1)
    assert np.mean(errors) == pytest.approx(spread, rel=0.2)
    covered = np.abs(np.array(q) - np.mean(q)) < 1.96 * np.array(errors)
    assert covered.mean() > 0.9
    pairs = np.abs(np.array(q) - np.roll(q, 1)) < 1.96 * 2**0.5 * np.array(errors)  # Q of another draw: √2 wider
    assert pairs.mean() > 0.9
    assert np.mean(resampled) > np.mean(errors)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "separation", "k"),
    [(200, 0.5, 3), (200, 2.0, 3), (500, 1.5, 3), (500, 2.0, 7), (500, 3.0, 3), (500, 3.0, 15), (1000, 3.0, 30)],
)
def test_coverage(n: int, separation: float, k: int) -> None:
    q, errors, resampled = [], [], []
    for seed in range(400):
        x, labels = blobs(n, separation, seed)
        graph = knn_graph(x, k)
        q.append(float(modularity(graph, labels)))
        errors.append(float(standard_error(graph, labels)))
        if seed < 20:
            resampled.append(float(bootstrap(graph, labels, num_resamples=300, seed=seed).std()))
    covered = (np.abs(np.array(q) - np.mean(q)) < 1.96 * np.array(errors)).mean()
    assert 0.93 <= covered <= 0.975
    assert 1 < np.mean(resampled) / np.std(q) < 2


@pytest.mark.slow
@pytest.mark.parametrize("shares", [[0.9, 0.05, 0.05], [0.95, 0.05]])
def test_coverage_of_rare_classes(shares: list[float]) -> None:
    """With about ten samples of a class the interval is too narrow, as its docstring says."""
    means = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    q, errors = [], []
    for seed in range(600):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.multinomial(torch.tensor(shares), 200, replacement=True, generator=generator)
        graph = knn_graph(means[labels] + 2 * torch.randn(200, 10, generator=generator), 3)
        q.append(float(modularity(graph, labels)))
        errors.append(float(standard_error(graph, labels)))
    covered = (np.abs(np.array(q) - np.mean(q)) < 1.96 * np.array(errors)).mean()
    assert 0.75 <= covered <= 0.91


def test_bootstrap_by_hand() -> None:
    x, labels = blobs(50, 1.0, seed=0)
    graph = knn_graph(x, 3)
    found = bootstrap(graph, labels, num_resamples=5, seed=9)
    drawn = torch.randint(50, (5, 50), generator=torch.Generator().manual_seed(9))
    for q, rows in zip(found, drawn, strict=True):
        times = rows.bincount(minlength=50).double()
        weight = graph.edge_weight.double() * times[graph.edge_index[0]] * times[graph.edge_index[1]]
        resampled = Data(edge_index=graph.edge_index, edge_weight=weight, num_nodes=50)
        assert float(q) == pytest.approx(float(modularity(resampled, labels)), abs=1e-12)


def test_confidence_interval() -> None:
    x, labels = blobs(60, 1.0, seed=0)
    graph = knn_graph(x, 3, y=labels)
    found = confidence_interval(graph, confidence=0.9)
    q, error = float(modularity(graph)), float(standard_error(graph))
    assert float(found["standard_error"]) == error
    reach = stats.norm.interval(0.9, q, error)
    assert (float(found["modularity_low"]), float(found["modularity_high"])) == pytest.approx(reach)
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\); got 2"):
        confidence_interval(graph, confidence=2)


def test_bootstrap_gives_each_copy_its_own_loop() -> None:
    edges = torch.tensor([[0, 1, 1, 2, 2, 0, 3, 1, 3], [1, 0, 2, 1, 0, 2, 3, 3, 1]])
    graph = Data(edge_index=edges, num_nodes=4, edge_weight=torch.ones(9))
    labels = torch.tensor([0, 0, 1, 1])
    found = bootstrap(graph, labels, num_resamples=50, seed=3)
    drawn = torch.randint(4, (50, 4), generator=torch.Generator().manual_seed(3))
    for q, nodes in zip(found.tolist(), drawn, strict=True):
        peer = networkx.Graph()
        peer.add_nodes_from(range(4))
        for i in range(4):
            for j in range(i, 4):
                a, b = int(nodes[i]), int(nodes[j])
                joined = bool(((edges[0] == a) & (edges[1] == b)).any())
                if joined and (i == j or a != b):  # copies of one sample are not joined; each has the sample's loop
                    peer.add_edge(i, j, weight=1 if i != j else 0.5)  # a loop stands once in edge_index
        if peer.number_of_edges():
            sides = [{i for i in range(4) if labels[nodes[i]] == c} for c in (0, 1)]
            assert q == pytest.approx(networkx.community.modularity(peer, sides), abs=1e-12)
        else:
            assert np.isnan(q)


def test_a_seed_gives_the_same_resamples() -> None:
    x, labels = blobs(100, 0.5, seed=0)
    graph = knn_graph(x, 3)
    assert torch.equal(bootstrap(graph, labels, seed=3), bootstrap(graph, labels, seed=3))
    assert not torch.equal(bootstrap(graph, labels, seed=3), bootstrap(graph, labels, seed=4))


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], []])
def test_without_edges_the_error_is_nan(labels: list[int]) -> None:
    y = torch.tensor(labels, dtype=torch.int64)
    empty = Data(edge_index=torch.empty(2, 0, dtype=torch.int64), num_nodes=len(y), y=y)
    assert standard_error(empty).isnan()
    assert bootstrap(empty).isnan().all()


def test_at_least_one_resample() -> None:
    x, labels = blobs(30, 1.0, seed=0)
    with pytest.raises(ValueError, match="there must be at least 1 resample; got 0"):
        bootstrap(knn_graph(x, 3), labels, num_resamples=0)
