"""Neighbour search, the door, and every member of the family."""

import inspect
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from graphmod._family import member, members
from graphmod.graphs import _candidates, _topk, find_graph
from graphmod.graphs._build import make_graph, neighbor_graph
from graphmod.graphs._dynamic import DynamicGraph
from graphmod.graphs._topk import nearest_neighbors
from graphmod.graphs.euclidean_knn import euclidean_knn_graph
from graphmod.graphs.knn import knn_graph
from graphmod.graphs.mutual_knn import mutual_knn_graph

FAMILY = members("graphmod.graphs")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def brute_force(x: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All similarities in float64, sorted by (−similarity, index); what is 1e-12 apart counts as equal."""
    rows = x.double().numpy()
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    similarity = np.round(unit @ unit.T / _topk.TIE) * _topk.TIE
    np.fill_diagonal(similarity, -np.inf)
    index = np.stack([np.lexsort((np.arange(len(row)), -row))[:k] for row in similarity])
    return np.take_along_axis(similarity, index, 1), index


# --- nearest neighbours ---


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("n", "d", "k"), [(4, 2, 3), (50, 7, 1), (200, 33, 15)])
def test_equals_brute_force(n: int, d: int, k: int, dtype: torch.dtype, device: str) -> None:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(n)).to(dtype)
    similarity, index = nearest_neighbors(x.to(device), k)
    expected = brute_force(x, k)
    np.testing.assert_allclose(similarity.cpu(), expected[0], atol=1e-11)
    np.testing.assert_array_equal(index.cpu(), expected[1])


def test_equals_scikit_learn() -> None:
    x = torch.randn(300, 20)
    distance, index = NearestNeighbors(n_neighbors=6, metric="cosine").fit(x.double()).kneighbors(x.double())
    similarity, found = nearest_neighbors(x, 5)
    np.testing.assert_array_equal(found, index[:, 1:])
    np.testing.assert_allclose(similarity, 1 - distance[:, 1:], atol=1e-9)


@pytest.mark.filterwarnings("ignore:all samples of x point the same way")
@given(
    arrays.arrays(np.float32, st.tuples(st.integers(3, 12), st.integers(1, 4)), elements=st.integers(-2, 2)), st.data()
)
def test_ties_go_by_index(x: np.ndarray, data: st.DataObject) -> None:
    if (x == x[0]).all():
        return
    k = data.draw(st.integers(1, len(x) - 1))
    np.testing.assert_array_equal(nearest_neighbors(torch.from_numpy(x), k)[1], brute_force(torch.from_numpy(x), k)[1])


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(101, 9).round()
    whole = nearest_neighbors(x, 4)
    monkeypatch.setattr(_topk, "CHUNK", 101 * 7)
    parts = nearest_neighbors(x, 4)
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Makes every search take the way over 16-bit candidates, in small tiles; tells which ended there."""
    ended = []
    found_by = _candidates.candidates

    def watched(x: Tensor, norm: Tensor, k: int):
        found = found_by(x, norm, k)
        ended.append(found is not None)
        return found

    monkeypatch.setattr(_topk, "SMALL", 0)
    monkeypatch.setattr(_candidates, "TILE", 32)
    monkeypatch.setattr(_candidates, "STRIP", 4)
    monkeypatch.setattr(_topk, "has_bfloat16", lambda: True)
    monkeypatch.setattr(_topk, "candidates", watched)
    return ended


KINDS = {
    "gaussian": lambda n, d, g: torch.randn(n, d, generator=g),
    "relu": lambda n, d, g: torch.randn(n, d, generator=g).relu(),
    "one direction": lambda n, d, g: 1 + 0.01 * torch.randn(n, d, generator=g),
    "integers": lambda n, d, g: torch.randint(-2, 3, (n, d), generator=g).float(),
    "copies": lambda n, d, g: torch.randn(n // 3 + 1, d, generator=g).repeat(3, 1)[:n],
    "nearly copies": lambda n, d, g: (
        torch.cat([-torch.ones(1, d), torch.ones(n - 1, d)]) + 1e-6 * torch.randn(n, d, generator=g)
    ),
    "dead rows": lambda n, d, g: torch.randn(n, d, generator=g) * (torch.rand(n, 1, generator=g) < 0.5),
    "unlike lengths": lambda n, d, g: torch.randn(n, d, generator=g) * 10 ** (4 * torch.randn(n, 1, generator=g)),
    "sorted classes": lambda n, d, g: torch.eye(4, d)[torch.arange(n) * 4 // n] + 0.1 * torch.randn(n, d, generator=g),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d", "k"), [(130, 40, 3), (200, 7, 15), (97, 300, 1)])
def test_candidates_equal_brute_force(n: int, d: int, k: int, kind: str, dtype: torch.dtype, fast: list[bool]) -> None:
    x = KINDS[kind](n, d, torch.Generator().manual_seed(d)).to(dtype)
    similarity, index = nearest_neighbors(x, k)
    expected = brute_force(x, k)
    np.testing.assert_allclose(similarity, expected[0], atol=2e-12)
    np.testing.assert_array_equal(index, expected[1])
    assert len(fast) == 1


def test_candidates_are_few_and_the_way_over_them_is_taken(fast: list[bool]) -> None:
    x = torch.randn(500, 64, generator=torch.Generator().manual_seed(0)).relu()
    source, target = _topk.candidates(x, x.double().norm(dim=1), 5)
    assert (source < target).all()
    assert 5 * 500 / 2 <= len(source) < 20 * 500
    nearest_neighbors(x, 5)
    assert fast == [True, True]


def test_where_the_bound_fails_the_plain_form_answers(fast: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    expected = brute_force(x, 5)[1]
    tiny = x.clone()
    tiny[3] *= 1e-30
    np.testing.assert_array_equal(nearest_neighbors(tiny, 5)[1], expected)
    monkeypatch.setattr(_candidates, "MAX_CANDIDATES", 2)
    np.testing.assert_array_equal(nearest_neighbors(x, 5)[1], expected)
    assert fast == [False, False]


def test_scores_that_are_not_kept_are_computed_again(fast: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(150, 20)
    expected = nearest_neighbors(x, 5)[1]
    monkeypatch.setattr(_candidates, "KEEP", 0)
    assert torch.equal(nearest_neighbors(x, 5)[1], expected)
    assert fast == [True, True]


def test_a_large_search_equals_float64_throughout() -> None:
    x = torch.randn(3000, 257, generator=torch.Generator().manual_seed(0)).relu()
    fast, plain = nearest_neighbors(x, 10), _topk._search_cosine(x, x.double().norm(dim=1), 10)
    assert torch.equal(fast[1], plain[1])
    torch.testing.assert_close(fast[0], plain[0], atol=2e-12, rtol=0)


@pytest.mark.parametrize(("n", "d", "k"), [(40, 3, 5), (300, 50, 10), (1500, 20, 3)])
def test_euclidean_is_scikit_learns(n: int, d: int, k: int) -> None:
    x = 100 + torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)  # far from the origin
    similarity, index = nearest_neighbors(x, k, metric="euclidean")
    distance, expected = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x.numpy()).kneighbors()
    assert torch.equal(index, torch.from_numpy(expected))
    torch.testing.assert_close(-similarity, torch.from_numpy(distance), rtol=1e-9, atol=1e-9)


def test_euclidean_duplicates_ties_and_the_unknown() -> None:
    x = torch.tensor([[1e4, 0.0], [1e4, 0.0], [1e4, 1.0], [1e4, -1.0], [0.0, 0.0]])
    similarity, index = nearest_neighbors(x, 3, metric="euclidean")
    assert index[:2].tolist() == [[1, 2, 3], [0, 2, 3]]
    assert similarity[0].tolist() == pytest.approx([0, -1, -1], abs=1e-5)
    assert nearest_neighbors(torch.tensor([[0.0], [1.0], [3.0]]), 1, metric="euclidean")[1].tolist() == [[1], [0], [1]]
    with pytest.raises(ValueError, match="metric must be one of cosine, euclidean; got 'l1'"):
        nearest_neighbors(x, 1, metric="l1")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_smaller_k_is_a_slice(metric: str) -> None:
    for n in (100, 1500):  # by the plain form and by candidates
        x = torch.randn(n, 8, generator=torch.Generator().manual_seed(0)).relu()
        similarity, index = nearest_neighbors(x, 11, metric=metric)
        for k in (1, 4, 10):
            smaller = nearest_neighbors(x, k, metric=metric)
            assert torch.equal(smaller[1], index[:, :k])
            torch.testing.assert_close(smaller[0], similarity[:, :k], atol=1e-12, rtol=0)


def test_duplicates_zero_rows_and_views() -> None:
    x = torch.randn(20, 30)[:, ::3]
    x[3], x[7], x[11], x[12] = x[0], 2 * x[0], 0, 0
    similarity, index = nearest_neighbors(x, 3)
    assert index[0, :2].tolist() == [3, 7]
    assert index[7, :2].tolist() == [0, 3]
    assert index[11].tolist() == [0, 1, 2]
    assert similarity[11].tolist() == [0, 0, 0]
    assert (index != torch.arange(20)[:, None]).all()
    assert similarity.max() <= 1


def test_huge_and_tiny_values_do_not_overflow() -> None:
    x = torch.rand(10, 4) + torch.eye(10, 4)
    for scale in (1e-30, 1e30):
        assert torch.equal(nearest_neighbors(x * scale, 3)[1], nearest_neighbors(x, 3)[1])


def test_arguments_are_not_changed() -> None:
    x = torch.randn(10, 4)
    before = x.clone()
    nearest_neighbors(x, 3)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("x", "k", "error", "message"),
    [
        (
            torch.rand(5, 2, 2),
            3,
            ValueError,
            r"layer 'conv1' must have shape \[N, D\]; got \[5, 2, 2\]: flatten it first",
        ),
        (torch.rand(5, 0), 3, ValueError, r"layer 'conv1' must have shape \[N, D\] with D of at least 1; got \[5, 0\]"),
        (torch.ones(5, 2, dtype=torch.int64), 3, TypeError, "must be a tensor of floating type; got torch.int64"),
        ([[1.0]], 1, TypeError, "must be a tensor of floating type; got list"),
        (torch.rand(3, 2), 3, ValueError, "k must be at least 1 and smaller than the number of samples; got k=3 for 3"),
        (torch.rand(3, 2), 1.5, TypeError, "k must be an integer; got 1.5"),
        (torch.rand(3, 2), True, TypeError, "k must be an integer; got True"),
        (torch.rand(3, 2), 0, ValueError, "got k=0 for 3 samples"),
        (torch.tensor([[1.0], [torch.nan], [torch.inf]]), 1, ValueError, "layer 'conv1' holds NaN or Inf in 2 of 3"),
        (torch.zeros(5, 2), 3, ValueError, "layer 'conv1' is zero for every sample"),
        (torch.ones(5, 2), 3, ValueError, "layer 'conv1' is the same for every sample"),
    ],
)
def test_wrong_features(x, k: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nearest_neighbors(x, k, layer="conv1")


# --- the door ---


def test_symmetrisation_against_matrices() -> None:
    similarity, index = nearest_neighbors(torch.rand(30, 4), 5)
    directed = torch.zeros(30, 30, dtype=torch.float64).scatter_(1, index, similarity)
    there = directed != 0
    for rule, expected in {
        "mean": (directed + directed.T) / 2,
        "union": torch.maximum(directed, directed.T),
        "mutual": directed * (there & there.T),
    }.items():
        graph = neighbor_graph(index, similarity, symmetrize=rule)
        matrix = torch.zeros(30, 30).index_put_(tuple(graph.edge_index), graph.edge_weight)
        torch.testing.assert_close(matrix, expected.float())
        assert torch.equal(graph.edge_chosen, there[tuple(graph.edge_index)])


@pytest.mark.parametrize(
    ("edges", "weight", "message"),
    [
        ([[0, 1], [1, 0]], [1.0], r"edge_index must be int64 \[2, E\]"),
        ([[0, 3], [3, 0]], [1.0, 1.0], "edge_index must hold numbers of 3 nodes; got one outside"),
        ([[0], [1]], [1.0], "each pair in both directions"),
        ([[1, 0], [0, 1]], [1.0, 1.0], "must be sorted"),
        ([[0, 1, 1], [1, 0, 1]], [1.0, 1.0, 1.0], "none from a node to itself"),
        ([[0, 0, 1, 1], [1, 1, 0, 0]], [1.0] * 4, "none twice"),
        ([[0, 1], [1, 0]], [1.0, torch.nan], "edge weights must be finite; got NaN or Inf"),
    ],
)
def test_the_door_refuses(edges: list[list[int]], weight: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_graph(torch.tensor(edges), torch.tensor(weight), 3)


def test_the_door_refuses_a_mark_of_another_kind() -> None:
    edges, weight = torch.tensor([[0, 1], [1, 0]]), torch.ones(2)
    for chosen in (torch.ones(2), torch.ones(3, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"edge_chosen must be bool \[2\]; got"):
            make_graph(edges, weight, 2, edge_chosen=chosen)


def test_the_door_refuses_neighbours() -> None:
    index, weight = torch.tensor([[1], [0]]), torch.ones(2, 1)
    with pytest.raises(ValueError, match=r"index and weight must both be \[N, k\]; got \[2, 1\] and \[2\]"):
        neighbor_graph(index, weight.flatten())
    with pytest.raises(ValueError, match="symmetrize must be one of mean, union, mutual; got 'max'"):
        neighbor_graph(index, weight, symmetrize="max")
    with pytest.raises(ValueError, match=r"y must have one row for each of 2 samples; got \[3\]"):
        neighbor_graph(index, weight, y=torch.zeros(3))


# --- every member of the family ---


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.filterwarnings("ignore:all samples of")  # of a single feature
@settings(max_examples=25)
@given(
    st.integers(2, 40).flatmap(
        lambda n: st.tuples(st.just(n), st.integers(1, 6), st.integers(1, n - 1), st.integers(0, 9))
    )
)
def test_contract(name: str, device: str, sizes: tuple[int, int, int, int]) -> None:
    n, d, k, seed = sizes
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).to(device)
    y = (torch.arange(n) % 2).to(device)
    before = x.clone()
    graph = find_graph(name)(x, k, y=y, layer="conv1", keep_x=True)
    graph.validate(raise_on_error=True)
    assert graph.num_nodes == n
    assert graph.is_undirected()
    assert graph.is_coalesced()
    assert not graph.has_self_loops()
    assert graph.edge_weight.dtype == torch.float32
    assert graph.edge_weight.isfinite().all()
    assert (graph.edge_weight >= 0).all()
    assert (graph.edge_weight <= 1).all()
    assert graph.edge_index.device == x.device
    assert graph.edge_chosen.dtype == torch.bool
    there, back = graph.edge_index[:, graph.edge_chosen], graph.edge_index[:, ~graph.edge_chosen]
    assert {*zip(*back.tolist(), strict=False)} <= {(j, i) for i, j in zip(*there.tolist(), strict=False)}
    assert int(there[0].bincount().max() if there.numel() else 0) <= k
    assert graph.layer == "conv1"
    assert torch.equal(graph.y, y)
    assert torch.equal(graph.x, before)
    assert "y" not in find_graph(name)(x, k)


@pytest.mark.parametrize("name", FAMILY)
def test_order_of_samples_does_not_matter(name: str) -> None:
    x, order = torch.randn(40, 5), torch.randperm(40)
    whole, permuted = find_graph(name)(x, 4), find_graph(name)(x[order], 4)
    matrix = torch.zeros(2, 40, 40)
    matrix[0].index_put_(tuple(whole.edge_index), whole.edge_weight)
    matrix[1].index_put_(tuple(order[permuted.edge_index]), permuted.edge_weight)
    torch.testing.assert_close(matrix[0], matrix[1])


@pytest.mark.parametrize("name", FAMILY)
def test_signature_and_docstring(name: str) -> None:
    function = member("graphmod.graphs", name, "_graph")
    assert list(inspect.signature(function).parameters)[:2] == ["x", "k"]
    for section in ("Args:", "Returns:", "Raises:", "Example:", "Reference:"):
        assert section in function.__doc__


def test_unknown_member() -> None:
    with pytest.raises(ValueError, match="there is no graphmod.graphs member named 'kn'; the nearest are 'knn'"):
        find_graph("kn")


# --- the members themselves ---


def test_knn_has_k_neighbours_a_node() -> None:
    x = torch.randn(100, 8)
    graph = knn_graph(x, 4)
    total = graph.edge_weight.double().sum()
    assert total == pytest.approx(float(nearest_neighbors(x, 4)[0].clamp(min=0).sum()), rel=1e-6)
    assert int(graph.edge_index[0].bincount().min()) >= 4


def test_mutual_knn_is_where_both_chose() -> None:
    x = torch.randn(60, 4)
    index = nearest_neighbors(x, 5)[1]
    chosen = {(i, int(j)) for i in range(60) for j in index[i]}
    graph = mutual_knn_graph(x, 5)
    assert {tuple(pair) for pair in graph.edge_index.T.tolist()} == {(i, j) for i, j in chosen if (j, i) in chosen}


def test_lu2022_keeps_negative_weights_and_loses_the_edges_of_lonely_samples() -> None:
    x = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])  # all cosines −1/3
    ours, published = knn_graph(x, 2), knn_graph(x, 2, compat="lu2022")
    assert (ours.edge_weight >= 0).all()
    assert (published.edge_weight < 0).any()
    assert published.num_edges < ours.num_edges
    assert published.compat == "lu2022"
    with pytest.raises(ValueError, match="compat must be None or 'lu2022'; got 'lu2021'"):
        knn_graph(x, 2, compat="lu2021")


def test_euclidean_weights_by_hand() -> None:
    x = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    graph = euclidean_knn_graph(x, 2)
    sigma = [3.0, 2.0, 3.0, 6.0]  # distance to the second neighbour
    directed = torch.zeros(4, 4)
    for i, neighbors in enumerate([(1, 2), (0, 2), (1, 0), (2, 1)]):
        for j in neighbors:
            directed[i, j] = float(torch.exp(-((x[i] - x[j]) ** 2) / (sigma[i] * sigma[j])))
    matrix = torch.zeros(4, 4).index_put_(tuple(graph.edge_index), graph.edge_weight)
    torch.testing.assert_close(matrix, (directed + directed.T) / 2)
    scaled = euclidean_knn_graph(1000 * x, 2)
    torch.testing.assert_close(scaled.edge_weight, graph.edge_weight)


def test_euclidean_copies_weigh_one_and_nothing_is_nan() -> None:
    x = torch.tensor([[0.0], [0.0], [0.0], [1.0], [2.0]])
    graph = euclidean_knn_graph(x, 2)
    assert graph.edge_weight.isfinite().all()
    copies = (graph.edge_index < 3).all(dim=0)
    assert (graph.edge_weight[copies] == 1).all()


@pytest.mark.parametrize("name", members("graphmod.graphs"))
def test_k_may_be_a_number_of_numpy(name: str) -> None:
    make, x = find_graph(name), torch.rand(9, 4)
    assert torch.equal(make(x, np.int64(3)).edge_index, make(x, 3).edge_index)


def test_features_with_a_large_offset_are_told() -> None:
    x = torch.randn(40, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="all samples of layer 'fc' point the same way to eleven digits"):
        knn_graph(x + 1e7, 3, layer="fc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        knn_graph(x + 1e4, 3)
        knn_graph(x.clone().index_fill_(0, torch.arange(5), 0.0), 3)
        euclidean_knn_graph(x + 1e7, 3)


def test_a_graph_with_a_rule_of_its_own_comes_back(tmp_path: Path) -> None:
    index = torch.tensor([[1], [0], [1]])
    graph = neighbor_graph(index, torch.ones(3, 1), y=torch.tensor([0, 0, 1]), compat="mine")
    DynamicGraph({"a": graph}).save(tmp_path / "a.safetensors")
    assert DynamicGraph.load(tmp_path / "a.safetensors")["a"].compat == "mine"
