"""The null of Q: against every permutation, and many of them."""

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from strategies import weighted_graphs
from torch import Tensor
from torch_geometric.data import Batch, Data

from graphmod import _tensors, knn_graph, modularity
from graphmod.significance import null_moments, permutation_test, shuffled_modularity
from graphmod.uncertainty import bootstrap, confidence_interval, standard_error

FUNCTIONS = permutation_test, shuffled_modularity, null_moments, standard_error, confidence_interval, bootstrap


def blobs(n: int, separation: float, seed: int) -> tuple[Tensor, Tensor]:
    generator, labels = torch.Generator().manual_seed(seed), torch.arange(n) % 10
    return torch.randn(n, 32, generator=generator) + separation * torch.eye(32)[labels], labels


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
    monkeypatch.setattr(_tensors, "CHUNK", 1000)
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


def test_moments_of_a_graph_with_more_nodes_than_fit_a_product_of_four() -> None:
    n = 70_000
    graph = Data(edge_index=torch.arange(n).view(2, -1), num_nodes=n, y=torch.arange(n) % 7)
    mean, std = null_moments(graph)
    shuffled = shuffled_modularity(graph, num_shuffles=60)
    assert float(mean) == pytest.approx(float(shuffled.mean()), abs=4 * float(std) / 60**0.5)
    assert float(std) == pytest.approx(float(shuffled.std()), rel=0.4)


def test_z_of_a_class_of_one_among_thousands() -> None:
    x = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    graph, y = knn_graph(x, 3), (torch.arange(4000) == 5).long()
    places = [(torch.arange(4000) == i).long() for i in range(0, 4000, 10)]  # a permutation is the place of that one
    test = permutation_test(graph, y, num_permutations=10)
    exact = torch.tensor([float(modularity(graph, one)) for one in places], dtype=torch.float64)
    z = (float(modularity(graph, y)) - float(exact.mean())) / float(exact.std())
    assert float(test["z"]) == pytest.approx(z, abs=0.2)


def test_the_only_shuffle_of_one_node() -> None:
    loop = Data(edge_index=torch.zeros(2, 1, dtype=torch.int64), num_nodes=1, y=torch.tensor([0]))
    assert float(null_moments(loop, resolution=0.25)[0]) == float(modularity(loop, resolution=0.25)) == 0.75


def test_seed() -> None:
    x, labels = blobs(100, 0.5, seed=0)
    graph = knn_graph(x, 3)
    assert torch.equal(shuffled_modularity(graph, labels, seed=3), shuffled_modularity(graph, labels, seed=3))
    assert not torch.equal(shuffled_modularity(graph, labels, seed=3), shuffled_modularity(graph, labels, seed=4))


# --- bad input ---


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], []])
def test_without_edges_all_is_nan(labels: list[int]) -> None:
    y = torch.tensor(labels, dtype=torch.int64)
    empty = Data(edge_index=torch.empty(2, 0, dtype=torch.int64), num_nodes=len(y), y=y)
    assert all(value.isnan() for value in permutation_test(empty).values())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_input(function) -> None:
    x, labels = blobs(30, 1.0, seed=0)
    graph = knn_graph(x, 3, y=labels)
    with pytest.raises(ValueError, match="resolution must be at least 0; got -1"):
        function(graph, resolution=-1)
    with pytest.raises(ValueError, match=r"labels must have shape \[30\]"):
        function(graph, labels[:5])
    with pytest.raises(TypeError, match="expected one graph; got a Batch of 2"):
        function(Batch.from_data_list([graph, graph]))


def test_at_least_one() -> None:
    x, labels = blobs(30, 1.0, seed=0)
    graph = knn_graph(x, 3, y=labels)
    with pytest.raises(ValueError, match="there must be at least 1 shuffle; got 0"):
        permutation_test(graph, num_permutations=0)
