"""Modularity against igraph, networkx, its definition, closed forms and theorems."""

import sys

import numpy as np
import pytest
import torch
import torch_geometric.typing
from hypothesis import given
from hypothesis import strategies as st
from oracles import definition_modularity, igraph_modularity, matrix, networkx_modularity
from strategies import weighted_graphs
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import to_undirected

from graphmod import knn_graph, modularity, modularity_terms

MODULE = sys.modules["graphmod.metrics.modularity"]


def cliques(count: int, size: int, ring: bool) -> tuple[Data, Tensor]:
    """Cliques side by side, or in a ring with one edge from each to the next."""
    edges = [(c * size + i, c * size + j) for c in range(count) for i in range(size) for j in range(i)]
    edges += [(c * size, (c + 1) % count * size + 1) for c in range(count)] if ring else []
    index = to_undirected(torch.tensor(edges).T)
    return Data(edge_index=index, num_nodes=count * size), torch.arange(count).repeat_interleave(size)


# --- the same number by other means ---


@given(weighted_graphs(), st.sampled_from([0.0, 0.5, 1.0, 2.5]))
def test_equals_igraph_networkx_and_the_definition(graph: tuple[Data, Tensor], resolution: float) -> None:
    data, labels = graph
    q = float(modularity(data, labels, resolution=resolution))
    with pytest.MonkeyPatch.context() as patch:  # as for many classes, and on a GPU
        patch.setattr(MODULE, "MAX_PAIRS", 0)
        assert q == pytest.approx(float(modularity(data, labels, resolution=resolution)), abs=1e-12)
    assert q == pytest.approx(igraph_modularity(data, labels, resolution), abs=1e-12)
    assert q == pytest.approx(networkx_modularity(data, labels, resolution), abs=1e-12)
    assert q == pytest.approx(definition_modularity(matrix(data), labels.numpy(), resolution), abs=1e-12)


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("size", [3, 5])
def test_cliques(count: int, size: int) -> None:
    graph, labels = cliques(count, size, ring=False)
    assert float(modularity(graph, labels)) == pytest.approx(1 - 1 / count, abs=1e-12)
    if count > 2:
        graph, labels = cliques(count, size, ring=True)
        inside = size * (size - 1) / 2
        assert float(modularity(graph, labels)) == pytest.approx(inside / (inside + 1) - 1 / count, abs=1e-12)


def test_bounds_are_reached() -> None:
    bipartite = Data(edge_index=torch.tensor([[0, 1, 2, 3], [2, 3, 0, 1]]), num_nodes=4)
    assert float(modularity(bipartite, torch.tensor([0, 0, 1, 1]))) == -0.5
    assert float(modularity(bipartite, torch.zeros(4, dtype=torch.int64))) == 0


# --- theorems ---


@given(weighted_graphs(), st.randoms(use_true_random=False), st.floats(0.001, 1000))
def test_names_order_and_scale_do_not_matter(graph: tuple[Data, Tensor], random, scale: float) -> None:
    data, labels = graph
    q = float(modularity(data, labels))
    names = torch.tensor(random.sample(range(10**6), 5))
    assert float(modularity(data, names[labels])) == pytest.approx(q, abs=1e-12)
    order = torch.tensor(random.sample(range(data.num_nodes), data.num_nodes))
    place = order.argsort()
    edges = torch.tensor(random.sample(range(data.num_edges), data.num_edges))
    other = Data(
        edge_index=place[data.edge_index[:, edges]],
        edge_weight=scale * data.edge_weight[edges],
        num_nodes=data.num_nodes,
    )
    assert float(modularity(other, labels[order])) == pytest.approx(q, abs=1e-12)


@given(weighted_graphs())
def test_one_direction_is_as_good_as_both(graph: tuple[Data, Tensor]) -> None:
    data, labels = graph
    once = data.edge_index[0] < data.edge_index[1]
    half = Data(edge_index=data.edge_index[:, once], edge_weight=data.edge_weight[once], num_nodes=data.num_nodes)
    assert float(modularity(half, labels)) == pytest.approx(float(modularity(data, labels)), abs=1e-12)


@given(weighted_graphs())
def test_strided_views_are_read_right(graph: tuple[Data, Tensor]) -> None:
    data, labels = graph
    view = Data(edge_index=data.edge_index.T.contiguous().T, num_nodes=data.num_nodes)
    view.edge_weight = torch.stack([data.edge_weight, -data.edge_weight], dim=1)[:, 0]
    assert not view.edge_index.is_contiguous() or data.num_edges == 1
    assert float(modularity(view, labels)) == pytest.approx(float(modularity(data, labels)), abs=1e-12)


def test_a_directed_neighbour_graph_gives_the_q_of_its_symmetric_form() -> None:
    x, labels = torch.randn(80, 5), torch.arange(80) % 4
    from graphmod.graphs._topk import nearest_neighbors

    similarity, index = nearest_neighbors(x, 3)
    source = torch.arange(80).repeat_interleave(3)
    directed = Data(edge_index=torch.stack([source, index.flatten()]), edge_weight=similarity.flatten().clamp(min=0))
    directed.num_nodes = 80
    assert float(modularity(directed, labels)) == pytest.approx(float(modularity(knn_graph(x, 3), labels)), abs=1e-7)


@given(weighted_graphs(), st.sampled_from([0.5, 1.0, 2.0]))
def test_terms(graph: tuple[Data, Tensor], resolution: float) -> None:
    data, labels = graph
    terms = modularity_terms(data, labels, resolution=resolution)
    a = matrix(data)
    same = labels[:, None] == labels
    share = np.array([a[labels == c].sum() for c in labels.unique()]) / a.sum()
    assert float(terms["overlap"]) == pytest.approx((a * same.numpy()).sum() / a.sum(), abs=1e-12)
    assert float(terms["expected"]) == pytest.approx(resolution * (share**2).sum(), abs=1e-12)
    assert float(terms["modularity"]) == pytest.approx(float(terms["overlap"] - terms["expected"]), abs=1e-12)
    assert float(terms["maximum"]) == pytest.approx(float(1 - terms["expected"]), abs=1e-12)
    if resolution == 1 and len(labels.unique()) > 1 and terms["maximum"] > 1e-9:
        assert float(terms["normalized"]) == pytest.approx(float(terms["modularity"] / terms["maximum"]))
        assert float(terms["normalized"]) <= 1 + 1e-12


def test_overlap_of_a_neighbour_graph_is_the_weighted_share_of_neighbours_of_the_same_class(clusters) -> None:
    from graphmod.graphs._topk import nearest_neighbors

    x, labels = clusters
    similarity, index = nearest_neighbors(x, 5)
    same = labels[index] == labels[:, None]
    expected = float((similarity * same).sum() / similarity.sum())
    assert float(modularity_terms(knn_graph(x, 5), labels)["overlap"]) == pytest.approx(expected, abs=1e-7)


# --- batches, types, ways to sum ---


@given(st.lists(weighted_graphs(), min_size=1, max_size=4))
def test_a_batch_equals_its_graphs_one_by_one(graphs: list[tuple[Data, Tensor]]) -> None:
    for data, labels in graphs:
        data.y = labels
    found = modularity(Batch.from_data_list([data for data, _ in graphs]))
    assert found.shape == (len(graphs),)
    for q, (data, _) in zip(found, graphs, strict=True):
        assert float(q) == pytest.approx(float(modularity(data)), abs=1e-12)


@pytest.mark.parametrize("num_classes", [1, 2, 15, 16, 181, 182, 1024, 1025, 2000])
def test_any_number_of_classes(num_classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(2000, (2, 10_000), generator=generator).sort(dim=0).values
    pairs = pairs[:, pairs[0] < pairs[1]]
    weight = torch.rand(pairs.shape[1], generator=generator)
    graph, labels = Data(edge_index=pairs, edge_weight=weight, num_nodes=2000), torch.arange(2000) % num_classes
    found = float(modularity(graph, labels))
    assert found == pytest.approx(igraph_modularity(graph, labels), abs=1e-12)
    order = pairs[0].argsort()
    graph = Data(edge_index=pairs[:, order], edge_weight=weight[order], num_nodes=2000)
    assert found == pytest.approx(float(modularity(graph, labels)), abs=1e-12)


def test_float64_whatever_the_weights_are() -> None:
    graph, labels = cliques(3, 4, ring=True)
    for weight in (None, torch.ones(graph.num_edges), torch.ones(graph.num_edges, dtype=torch.float16)):
        graph.edge_weight = weight
        q = modularity(graph, labels)
        assert q.dtype == torch.float64
        assert q.shape == ()
        assert float(q) == pytest.approx(6 / 7 - 1 / 3, abs=1e-12)


@pytest.mark.skipif(
    not torch_geometric.typing.WITH_TORCH_SCATTER, reason="torch-scatter is not installed (make scatter)"
)
def test_torch_scatter_gives_the_same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = torch.randn(500, 16), torch.randint(0, 10, (500,))
    graph = knn_graph(x, 7)
    monkeypatch.setattr(MODULE, "MAX_PAIRS", 0)
    with_kernels = modularity(graph, labels)
    monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SCATTER", False)
    assert float(modularity(graph, labels)) == pytest.approx(float(with_kernels), abs=1e-15)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_same_number() -> None:
    graph, labels = knn_graph(torch.randn(500, 16), 7), torch.randint(0, 10, (500,))
    found = modularity(graph.clone().to("cuda"), labels.cuda())
    assert found.is_cuda
    assert float(found) == pytest.approx(float(modularity(graph, labels)), abs=1e-12)


# --- where Q is undefined, and bad input ---


def test_no_edges_is_nan() -> None:
    empty = Data(edge_index=torch.empty(2, 0, dtype=torch.int64), num_nodes=4)
    weightless = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), edge_weight=torch.zeros(2), num_nodes=4)
    for graph in (empty, weightless):
        assert modularity(graph, torch.tensor([0, 0, 1, 1])).isnan()


def test_one_class_has_q_zero_and_no_normalized() -> None:
    graph, labels = cliques(2, 3, ring=False)
    terms = modularity_terms(graph, torch.zeros_like(labels))
    assert float(terms["modularity"]) == 0
    assert terms["normalized"].isnan()


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (None, ValueError, "the graph has no labels y; pass labels"),
        (torch.rand(6), TypeError, "labels must be integers; got torch.float32"),
        (torch.zeros(5, dtype=torch.int64), ValueError, r"labels must have shape \[6\], one for each node; got \[5\]"),
        (torch.tensor([0, 0, 1, 1, -1, 2]), ValueError, "labels must be at least 0; got -1"),
    ],
)
def test_wrong_labels(labels: Tensor | None, error: type[Exception], message: str) -> None:
    graph, _ = cliques(2, 3, ring=False)
    with pytest.raises(error, match=message):
        modularity(graph, labels)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (-torch.ones(12), "edge weights must be at least 0"),
        (torch.full((12,), torch.nan), "edge weights must be finite"),
        (torch.ones(5), r"edge_weight must have shape \[12\], one for each edge; got \[5\]"),
    ],
)
def test_wrong_weights(weight: Tensor, message: str) -> None:
    graph, labels = cliques(2, 3, ring=False)
    graph.edge_weight = weight
    with pytest.raises(ValueError, match=message):
        modularity(graph, labels)


def test_what_is_no_graph() -> None:
    for other in (None, torch.eye(3), {"edge_index": torch.tensor([[0], [1]])}):
        with pytest.raises(TypeError, match="a graph must be a torch_geometric Data; got (NoneType|Tensor|dict)"):
            modularity(other, torch.tensor([0, 1, 1]))


def test_no_edge_index() -> None:
    with pytest.raises(ValueError, match="the graph has no edge_index; build it with knn_graph, or set it"):
        modularity(Data(num_nodes=2), torch.tensor([0, 1]))


def test_wrong_resolution() -> None:
    graph, labels = cliques(2, 3, ring=False)
    for resolution in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="resolution must be at least 0"):
            modularity(graph, labels, resolution=resolution)
