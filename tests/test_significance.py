"""The null and the error of Q: against every permutation, many permutations, and many draws."""

from itertools import permutations

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import weighted_graphs
from torch import Tensor
from torch_geometric.data import Batch, Data

from graphmod import knn_graph, modularity, significance
from graphmod.significance import (
    bootstrap,
    confidence_interval,
    null_moments,
    permutation_test,
    shuffled_modularity,
    standard_error,
)


def blobs(n: int, separation: float, seed: int) -> tuple[Tensor, Tensor]:
    generator, labels = torch.Generator().manual_seed(seed), torch.arange(n) % 10
    return torch.randn(n, 32, generator=generator) + separation * torch.eye(32)[labels], labels


# --- the null ---


@given(weighted_graphs(max_nodes=6), st.sampled_from([0.5, 1.0, 2.0]), st.booleans())
def test_null_moments_are_those_of_every_permutation(
    graph: tuple[Data, Tensor], resolution: float, loops: bool
) -> None:
    data, labels = graph
    if loops:
        data.edge_index = torch.cat([data.edge_index, torch.tensor([[0, 1], [0, 1]])], dim=1)
        data.edge_weight = torch.cat([data.edge_weight, torch.tensor([3.0, 0.5], dtype=torch.float64)])
    orders = permutations(range(data.num_nodes))
    every = np.array([float(modularity(data, labels[list(o)], resolution=resolution)) for o in orders])
    mean, std = null_moments(data, labels, resolution=resolution)
    assert float(mean) == pytest.approx(every.mean(), abs=1e-12)
    if data.num_nodes < 4:
        assert std.isnan()
    else:
        assert float(std) ** 2 == pytest.approx(every.var(), abs=1e-12)


def test_null_moments_agree_with_shuffles_of_a_neighbour_graph() -> None:
    x, labels = blobs(300, 1.0, seed=0)
    labels[:60] = 0  # classes of different sizes
    graph = knn_graph(x, 5)
    mean, std = null_moments(graph, labels)
    shuffled = shuffled_modularity(graph, labels, num_shuffles=20_000)
    assert float(shuffled.mean()) == pytest.approx(float(mean), abs=4 * float(std) / 20_000**0.5)
    assert float(shuffled.std()) == pytest.approx(float(std), rel=0.03)


@given(weighted_graphs(), st.integers(0, 100))
def test_shuffles_are_scored_as_one_by_one(graph: tuple[Data, Tensor], seed: int) -> None:
    data, labels = graph
    found = shuffled_modularity(data, labels, num_shuffles=7, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    orders = torch.rand(7, len(labels), generator=generator, dtype=torch.float64).argsort(dim=1)
    expected = [float(modularity(data, labels[order])) for order in orders]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_chunks_change_no_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = blobs(100, 0.0, seed=0)
    graph = knn_graph(x, 3)
    whole = shuffled_modularity(graph, labels, num_shuffles=50)
    monkeypatch.setattr(significance, "CHUNK", 1000)
    torch.testing.assert_close(shuffled_modularity(graph, labels, num_shuffles=50), whole)


def test_p_values_are_uniform_under_the_null() -> None:
    values = []
    for seed in range(300):
        x, _ = blobs(60, 0.0, seed)
        labels = torch.randint(0, 3, (60,), generator=torch.Generator().manual_seed(1000 + seed))
        values.append(float(permutation_test(knn_graph(x, 3), labels, num_permutations=199, seed=seed)["p_value"]))
    assert stats.kstest(values, "uniform").pvalue > 0.01
    assert np.mean(np.array(values) <= 0.05) == pytest.approx(0.05, abs=0.035)


def test_separated_classes_are_significant() -> None:
    x, labels = blobs(200, 3.0, seed=0)
    found = permutation_test(knn_graph(x, 3), labels, num_permutations=500)
    assert float(found["p_value"]) == pytest.approx(1 / 501)
    assert float(found["z"]) > 20
    assert all(value.dtype == torch.float64 and value.shape == () for value in found.values())
    q = float(modularity(knn_graph(x, 3), labels))
    assert float(found["z"]) == pytest.approx((q - float(found["null_mean"])) / float(found["null_std"]))


def test_equal_scores_count_as_reached() -> None:
    graph = Data(edge_index=torch.tensor([[0, 2, 4], [1, 3, 5]]), num_nodes=6)
    found = permutation_test(graph, torch.arange(6) // 2, num_permutations=3000)
    assert float(found["p_value"]) == pytest.approx(1 / 15, abs=0.02)  # 15 ways to pair six samples


def test_z_is_undefined_where_every_shuffle_is_the_same() -> None:
    complete = (1 - torch.eye(6)).nonzero().T
    found = permutation_test(Data(edge_index=complete, num_nodes=6), torch.arange(6) % 2)
    assert found["z"].isnan()
    assert float(found["p_value"]) == 1


def test_seed() -> None:
    x, labels = blobs(100, 0.5, seed=0)
    graph = knn_graph(x, 3)
    for function in (shuffled_modularity, bootstrap):
        assert torch.equal(function(graph, labels, seed=3), function(graph, labels, seed=3))
        assert not torch.equal(function(graph, labels, seed=3), function(graph, labels, seed=4))


# --- the error ---


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


# --- bad input ---


def test_without_edges_all_is_nan() -> None:
    empty = Data(edge_index=torch.empty(2, 0, dtype=torch.int64), num_nodes=4, y=torch.tensor([0, 0, 1, 1]))
    assert all(value.isnan() for value in permutation_test(empty).values())
    assert standard_error(empty).isnan()
    assert bootstrap(empty).isnan().all()


@pytest.mark.parametrize("function", [permutation_test, shuffled_modularity, null_moments, standard_error, bootstrap])
def test_bad_input(function) -> None:
    x, labels = blobs(30, 1.0, seed=0)
    graph = knn_graph(x, 3, y=labels)
    with pytest.raises(ValueError, match="resolution must be at least 0; got -1"):
        function(graph, resolution=-1)
    with pytest.raises(ValueError, match=r"labels must have shape \[30\]"):
        function(graph, labels[:5])
    with pytest.raises(TypeError, match="expected one graph; got a Batch of 2"):
        function(Batch.from_data_list([graph, graph]))


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


def test_at_least_one() -> None:
    x, labels = blobs(30, 1.0, seed=0)
    graph = knn_graph(x, 3, y=labels)
    with pytest.raises(ValueError, match="there must be at least 1 shuffle; got 0"):
        permutation_test(graph, num_permutations=0)
    with pytest.raises(ValueError, match="there must be at least 1 resample; got 0"):
        bootstrap(graph, num_resamples=0)


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
