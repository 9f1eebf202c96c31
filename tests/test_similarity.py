"""Layers beside layers: against loops over the definitions, sets, and networks whose likeness is known beforehand."""

import itertools
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from graphmod import knn_graph
from graphmod.similarity import (
    cka_matrix,
    edge_jaccard,
    graph_matrix,
    linear_cka,
    mutual_neighbors,
)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grown(n: int = 40, layers: int = 6) -> dict[str, Tensor]:
    """Layers that drift away from the first one, each by new noise on top of the last."""
    x, found = randn(n, 30), {}
    for i in range(layers):
        found[f"layer{i}"] = x.clone()
        x += 0.7 * randn(n, 30, seed=i + 1)
    return found


# --- CKA ---


def naive_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """The unbiased estimator of Song et al. 2012, eq. 5, with every sum written out."""
    n = len(k)
    off = [(i, j) for i in range(n) for j in range(n) if i != j]
    trace = sum(k[i, j] * m[j, i] for i, j in off)
    sums = sum(k[i, j] for i, j in off) * sum(m[i, j] for i, j in off) / ((n - 1) * (n - 2))
    cross = sum(k[i, j] * m[j, q] for i, j in off for q in range(n) if q != j) * 2 / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))


def four_samples_hsic(k: np.ndarray, m: np.ndarray) -> float:
    """What it estimates: the mean over all choices of four different samples (a U-statistic)."""
    fours = itertools.permutations(range(len(k)), 4)
    return float(np.mean([k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in fours]))


def naive_cka(x: Tensor, y: Tensor, hsic: Callable[[np.ndarray, np.ndarray], float]) -> float:
    h = np.eye(len(x)) - 1 / len(x)
    k, m = (h @ z.numpy() @ z.numpy().T @ h for z in (x, y))
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


@pytest.mark.parametrize("hsic", [naive_hsic, four_samples_hsic])
@pytest.mark.parametrize("shapes", [(3, 5), (40, 5), (40, 60), (8, 8)])
def test_cka_is_that_of_the_definition(shapes: tuple[int, int], hsic: Callable) -> None:
    x = randn(8, shapes[0]) + 10
    y = torch.cat([x[:, :1] ** 2, randn(8, shapes[1] - 1, seed=1)], dim=1) - 3
    assert float(linear_cka(x, y)) == pytest.approx(naive_cka(x, y, hsic), abs=1e-10)
    assert cka_matrix({"x": x}, {"y": y}).loc["x", "y"] == pytest.approx(naive_cka(x, y, hsic), abs=1e-10)


@pytest.mark.parametrize("size", [5, 200])
def test_what_cka_does_not_see(size: int) -> None:
    x, y = randn(50, size), randn(50, size, seed=1)
    y[:, :3] = x[:, :3] ** 2 + x[:, :3]
    rotation = torch.linalg.qr(randn(size, size, seed=2)).Q
    expected = pytest.approx(float(linear_cka(x, y)), abs=1e-10)
    assert float(linear_cka(1e-3 * x @ rotation + 5, y)) == expected
    assert float(linear_cka(y, x)) == expected
    assert float(linear_cka(1e150 * x, 1e-150 * y)) == expected
    wider = torch.cat([x, torch.zeros(50, 100)], dim=1)  # zeros change the way it is computed: D > N, not D < N
    assert float(linear_cka(wider, y)) == expected
    assert float(linear_cka(x * torch.arange(1, size + 1), y)) != expected  # no invariance to every linear map


@pytest.mark.parametrize("size", [5, 1000])
def test_cka_of_independent_features_is_zero_on_average_and_of_the_same_ones_is_one(size: int) -> None:
    found = [float(linear_cka(randn(60, size, seed=i), randn(60, size, seed=100 + i))) for i in range(20)]
    assert np.mean(found) == pytest.approx(0, abs=0.02)
    assert min(found) < 0 < max(found)
    x = randn(60, size).float()
    assert linear_cka(x, x) == linear_cka(x, x.clone()) == 1
    assert linear_cka(x, x).dtype == torch.float64


def test_cka_has_gradients() -> None:
    x, y = randn(6, 3).requires_grad_(), randn(6, 9)
    assert torch.autograd.gradcheck(lambda x: linear_cka(x, y), x)
    assert not cka_matrix({"x": x}).isna().any(axis=None)


def test_matrix_is_symmetric_with_ones_and_that_of_the_pairs() -> None:
    layers = grown()
    matrix = cka_matrix(layers)
    assert list(matrix.index) == list(matrix.columns) == list(layers)
    assert (np.diag(matrix) == 1).all()
    assert (matrix == matrix.T).all(axis=None)
    for a, b in itertools.product(layers, layers):
        assert matrix.loc[a, b] == pytest.approx(float(linear_cka(layers[a], layers[b])), abs=1e-12)
    few = {name: layers[name] for name in ("layer1", "layer4")}
    np.testing.assert_allclose(cka_matrix(few, iter(layers.items())), matrix.loc[list(few)], atol=1e-12)


def test_features_in_chunks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = grown()
    whole = cka_matrix(layers)
    monkeypatch.setattr("graphmod.similarity.CHUNK", 40 * 7)
    np.testing.assert_allclose(cka_matrix(layers), whole, atol=1e-12)


def test_cka_falls_with_the_distance_of_planted_layers() -> None:
    matrix = cka_matrix(grown(n=300)).to_numpy()
    for row in range(len(matrix)):
        assert (np.diff(matrix[row, row:]) < 0).all()
        assert (np.diff(matrix[row, : row + 1]) > 0).all()


UNDEFINED = {
    "constant": (torch.full((5, 3), 0.1), "CKA is undefined: {} is the same for every sample"),
    "zero": (torch.zeros(5, 300), "CKA is undefined: {} is the same for every sample"),
    "orthogonal": (
        torch.eye(5) * torch.arange(1, 6),
        "every sample of {} differs from the others in its own direction",
    ),
    "simplex": (torch.eye(5)[:, :4], "every sample of {} differs from the others in its own direction"),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_cka_that_is_undefined_is_said(name: str) -> None:
    dead, message = UNDEFINED[name]
    alive = randn(5, 3)
    with pytest.raises(ValueError, match=message.format("x")):
        linear_cka(dead, alive)
    with pytest.raises(ValueError, match=message.format("y")):
        linear_cka(alive, dead)
    matrix = cka_matrix({"a": alive, "dead": dead, "b": alive**2})
    assert matrix.loc["dead"].isna().all()
    assert matrix["dead"].isna().all()
    assert matrix.drop(index="dead", columns="dead").notna().all(axis=None)
    assert cka_matrix({"a": alive}, {"dead": dead}).isna().all(axis=None)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.arange(8).view(4, 2), TypeError, "x must be a tensor of floating type; got torch.int64"),
        ([[1.0]], TypeError, "x must be a tensor of floating type; got list"),
        (torch.eye(4).to_sparse(), TypeError, "x must be a tensor of floating type; got torch.float32, not dense"),
        (torch.rand(5, 3, 2, 2), ValueError, r"x must have shape \[N, D\]; got \[5, 3, 2, 2\]: flatten it first"),
        (torch.rand(5), ValueError, r"x must have shape \[N, D\]; got \[5\]"),
        (torch.rand(3, 9), ValueError, "CKA is undefined for fewer than four samples; x has 3"),
        (torch.full((5, 2), torch.nan), ValueError, "x holds NaN or Inf"),
        (torch.rand(6, 2), ValueError, "x and y must hold the same samples; got 6 and 5"),
    ],
)
def test_bad_features(x: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        linear_cka(x, torch.rand(5, 2))


def test_bad_layers() -> None:
    with pytest.raises(ValueError, match="expected at least one layer; got none"):
        cka_matrix({})
    for activations in (None, torch.rand(5, 2)):
        with pytest.raises(TypeError, match="activations must be a mapping from layers to tensors, or such pairs; got"):
            cka_matrix(activations)
    with pytest.raises(ValueError, match="layers must hold the same samples; 'a' has 5, 'b' has 6"):
        cka_matrix({"a": torch.rand(5, 2), "b": torch.rand(6, 2)})
    with pytest.raises(ValueError, match="both networks must be given the same samples; got 5 and 6"):
        cka_matrix({"a": torch.rand(5, 2)}, {"b": torch.rand(6, 2)})
    with pytest.raises(ValueError, match="layer 'a' holds NaN or Inf"):
        cka_matrix({"a": torch.full((5, 2), torch.inf)})


# --- graphs ---


def test_graphs_against_sets() -> None:
    graphs = {name: knn_graph(x, 4) for name, x in grown(layers=3).items()}
    chosen = {}
    for name, graph in graphs.items():
        own = [(int(i), int(j)) for (i, j), mark in zip(graph.edge_index.T, graph.edge_chosen, strict=True) if mark]
        chosen[name] = [{j for i, j in own if i == node} for node in range(40)]
    edges = {name: {frozenset((i, j)) for i in range(40) for j in sets[i]} for name, sets in chosen.items()}
    jaccard, neighbors = graph_matrix(graphs, edge_jaccard), graph_matrix(graphs, mutual_neighbors)
    for a, b in itertools.product(graphs, graphs):
        assert jaccard.loc[a, b] == pytest.approx(len(edges[a] & edges[b]) / len(edges[a] | edges[b]))
        both = [len(first & second) / 4 for first, second in zip(chosen[a], chosen[b], strict=True)]
        assert neighbors.loc[a, b] == pytest.approx(np.mean(both))
    assert (np.diag(jaccard) == 1).all()
    assert neighbors.loc["layer0", "layer1"] > neighbors.loc["layer0", "layer2"]
    few = {"layer2": graphs["layer2"]}
    pd.testing.assert_frame_equal(graph_matrix(few, edge_jaccard, graphs), jaccard.loc[["layer2"]])


def test_unrelated_graphs_share_what_chance_gives() -> None:
    graphs = [knn_graph(randn(200, 20, seed=seed), 10) for seed in range(10)]
    found = [float(mutual_neighbors(a, b)) for a, b in itertools.combinations(graphs, 2)]
    assert np.mean(found) == pytest.approx(10 / 199, rel=0.1)


def test_uneven_numbers_of_neighbors() -> None:
    star = Data(edge_index=torch.tensor([[0, 0, 0, 1], [1, 2, 3, 0]]), num_nodes=5)
    pair = Data(edge_index=torch.tensor([[0, 1, 0], [1, 0, 1]]), num_nodes=5)  # (0, 1) listed twice
    # Unmarked graphs are read in both directions: of 0 … 3 the neighbours shared are 1 of 3, 1 of 1, 0 and 0 of 1.
    assert float(mutual_neighbors(star, pair)) == float(mutual_neighbors(pair, star)) == pytest.approx((1 / 3 + 1) / 4)
    assert float(edge_jaccard(star, pair)) == pytest.approx(1 / 3)
    empty = Data(edge_index=torch.empty(2, 0, dtype=torch.int64), num_nodes=5)
    assert edge_jaccard(empty, empty).isnan()
    assert mutual_neighbors(empty, empty).isnan()
    assert float(edge_jaccard(empty, pair)) == float(mutual_neighbors(empty, pair)) == 0


@pytest.mark.parametrize("measure", [edge_jaccard, mutual_neighbors])
def test_bad_graphs(measure: Callable) -> None:
    graph = knn_graph(randn(6, 2), 2)
    with pytest.raises(ValueError, match="both graphs must have the same nodes; got 6 and 7"):
        measure(graph, knn_graph(randn(7, 2), 2))
    with pytest.raises(TypeError, match="expected one graph; got a Batch of 2: take them one by one"):
        measure(graph, Batch.from_data_list([graph, graph]))
    for pair in ((None, graph), (graph, "graph")):
        with pytest.raises(TypeError, match="a graph must be a torch_geometric Data; got (NoneType|str)"):
            measure(*pair)
    for graphs, others in (({}, None), ({"a": graph}, {})):
        with pytest.raises(ValueError, match="expected at least one graph; got none"):
            graph_matrix(graphs, measure, others)


def test_a_layer_that_comes_twice() -> None:
    x = torch.rand(6, 3)
    with pytest.raises(ValueError, match="layer 'conv1' is there twice; give every layer a name of its own"):
        cka_matrix([("conv1", x), ("conv1", x**2)])
