"""Every metric of the family: its contract, and its number by other means. Modularity has a file of its own."""

import inspect

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import homophily as pyg_homophily

from graphmod import knn_graph, leiden, modularity, worst_samples
from graphmod._family import member, members
from graphmod.graphs._topk import nearest_neighbors
from graphmod.graphs.mutual_knn import mutual_knn_graph
from graphmod.metrics import find_metric
from graphmod.metrics._neighbors import vote
from graphmod.metrics.class_distance_variance import class_distance_variance
from graphmod.metrics.homophily import homophily
from graphmod.metrics.knn_accuracy import knn_accuracy
from graphmod.metrics.label_overlap import label_overlap
from graphmod.metrics.neural_collapse import neural_collapse
from graphmod.metrics.participation_ratio import participation_ratio
from graphmod.metrics.silhouette import silhouette

FAMILY = members("graphmod.metrics")
FEATURES = ["class_distance_variance", "neural_collapse", "participation_ratio", "silhouette"]
LABELLED = [name for name in FAMILY if name != "participation_ratio"]


def blobs(separation: float = 2.0, n: int = 300, d: int = 8, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(0)
    labels = np.arange(n) % classes
    return torch.tensor(generator.standard_normal((n, d)) + separation * np.eye(d)[labels]), torch.tensor(labels)


# --- every member ---


@pytest.mark.parametrize("name", FAMILY)
def test_contract(name: str, clusters: tuple[Tensor, Tensor]) -> None:
    metric = member("graphmod.metrics", name)
    assert next(iter(inspect.signature(metric).parameters)) == "graph"
    x, y = clusters
    graphs = [knn_graph(x + i, k, y=y, keep_x=True) for i, k in enumerate((3, 5))]
    before = [graph.clone() for graph in graphs]
    one, many = metric(graphs[0]), metric(Batch.from_data_list(graphs))
    assert one.dtype == many.dtype == torch.float64
    assert one.shape == ()
    assert many.shape == (2,)
    torch.testing.assert_close(many, torch.stack([metric(graph) for graph in graphs]))
    for graph, same in zip(graphs, before, strict=True):
        assert all(torch.equal(value, same[key]) for key, value in graph if isinstance(value, Tensor))
    for section in ("Args:", "Returns:", "Raises:", "Example:", "Reference:"):
        assert section in metric.__doc__


@pytest.mark.parametrize("name", FAMILY)
def test_order_of_samples_and_names_of_classes_do_not_matter(name: str) -> None:
    metric, (x, y) = member("graphmod.metrics", name), blobs()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    graph = knn_graph(x, 5, y=y, keep_x=True)
    other = knn_graph(x[order], 5, y=3 * y[order] + 7, keep_x=True)
    assert float(metric(other)) == pytest.approx(float(metric(graph)), abs=1e-6)


@pytest.mark.parametrize("name", LABELLED)
def test_wrong_labels(name: str, clusters: tuple[Tensor, Tensor]) -> None:
    metric, graph = member("graphmod.metrics", name), knn_graph(clusters[0], 3, keep_x=True)
    with pytest.raises(ValueError, match="the graph has no labels y; pass labels"):
        metric(graph)
    with pytest.raises(ValueError, match=r"labels must have shape \[60\], one for each node; got \[2\]"):
        metric(graph, torch.tensor([0, 1]))


@pytest.mark.parametrize("name", FEATURES)
def test_features_are_needed(name: str, clusters: tuple[Tensor, Tensor]) -> None:
    metric, (x, y) = member("graphmod.metrics", name), clusters
    with pytest.raises(ValueError, match="the graph has no features x; build it with keep_x=True"):
        metric(knn_graph(x, 3, y=y))
    graph = knn_graph(x, 3, y=y, keep_x=True)
    graph.x = torch.full_like(x, torch.nan)
    with pytest.raises(ValueError, match="the features x hold NaN or Inf"):
        metric(graph)


@pytest.mark.parametrize("name", [name for name in FAMILY if name not in ("participation_ratio", "modularity")])
def test_they_tell_separated_classes_from_mixed_ones(name: str) -> None:
    falls = name in ("neural_collapse", "class_distance_variance")
    metric = member("graphmod.metrics", name)
    found = [
        float(metric(knn_graph(x, 5, y=y, keep_x=True))) for x, y in (blobs(separation) for separation in (0, 1, 2, 4))
    ]
    assert found == sorted(found, reverse=falls)
    assert len(set(found)) == 4


# --- neighbours ---


@pytest.mark.parametrize(("k", "printed"), [(1, 0.7066666666666667), (3, 0.66), (10, 0.606)])
def test_label_overlap_is_what_dadapy_printed(k: int, printed: float) -> None:
    """DADApy 0.3.4, on the blobs divided by their norms, `labels` those of the blobs.

    data = dadapy.Data(x / np.linalg.norm(x, axis=1, keepdims=True))
    data.compute_distances(maxk=20)
    print(data.return_label_overlap(labels, k=k, weighted=False))
    """
    x, labels = blobs()
    assert float(label_overlap(knn_graph(x, k), labels)) == pytest.approx(printed, abs=1e-12)


def test_label_overlap_by_hand() -> None:
    x, labels = blobs()
    index = nearest_neighbors(x, 7)[1]
    assert float(label_overlap(knn_graph(x, 7), labels)) == pytest.approx(
        float((labels[index] == labels[:, None]).double().mean()), abs=1e-12
    )
    graph = mutual_knn_graph(x, 2)  # some nodes have no edge here
    shares = [
        float((labels[graph.edge_index[1, graph.edge_index[0] == i]] == labels[i]).double().mean())
        for i in range(len(x))
    ]
    assert np.isnan(shares).any()
    assert float(label_overlap(graph, labels)) == pytest.approx(np.nanmean(shares), abs=1e-12)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_knn_accuracy_is_scikit_learns(k: int) -> None:
    x, labels = blobs()
    index = nearest_neighbors(x, k)[1]
    guesses = []
    for i in range(len(x)):
        rest = np.arange(len(x)) != i
        classifier = KNeighborsClassifier(k, metric="cosine").fit(x[rest].numpy(), labels[rest].numpy())
        guesses.append(int(classifier.predict(x[i : i + 1].numpy())[0]))
    counts = torch.nn.functional.one_hot(labels[index]).sum(dim=1)
    clear = (counts == counts.max(dim=1, keepdim=True).values).sum(dim=1) == 1  # ties go by weight here, by name there
    ours = vote(knn_graph(x, k), labels)
    assert torch.equal(ours[clear], torch.tensor(guesses)[clear])
    assert clear.double().mean() > 0.5
    assert float(knn_accuracy(knn_graph(x, k), labels)) == pytest.approx(float((ours == labels).double().mean()))


def test_knn_accuracy_ties_go_by_weight_and_then_by_name() -> None:
    edges, weight = torch.tensor([[0, 0, 0], [1, 2, 3]]), torch.tensor([0.5, 0.9, 0.2])
    graph = Data(edge_index=edges, edge_weight=weight, num_nodes=5)
    assert vote(graph, torch.tensor([0, 1, 2, 2, 9])).tolist() == [2, 0, 0, 0, -1]
    assert vote(graph, torch.tensor([0, 1, 2, 3, 9])).tolist()[0] == 2
    graph.edge_weight = torch.ones(3)
    assert vote(graph, torch.tensor([0, 3, 2, 1, 9])).tolist()[0] == 1
    graph.edge_weight = torch.zeros(3)
    assert vote(graph, torch.tensor([0, 1, 2, 2, 9])).tolist()[0] == 2
    assert float(knn_accuracy(graph, torch.tensor([0, 1, 2, 2, 9]))) == 0.0


@pytest.mark.parametrize("metric", [label_overlap, knn_accuracy])
def test_without_marks_every_adjacent_node_is_a_neighbour_once(metric) -> None:
    x, labels = blobs(n=60)
    graph = knn_graph(x, 3)
    both = Data(edge_index=graph.edge_index, num_nodes=60)
    expected = float(metric(both, labels))
    once = graph.edge_index[:, graph.edge_index[0] < graph.edge_index[1]]
    loops = torch.arange(60).repeat(2, 1)
    for edges in (once, once.flip(0), torch.cat([graph.edge_index, once, loops], dim=1)):
        assert float(metric(Data(edge_index=edges, num_nodes=60), labels)) == pytest.approx(expected, abs=1e-12)
    assert (
        float(metric(Data(edge_index=torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]]), num_nodes=2), torch.tensor([0, 1])))
        == 0
    )


@pytest.mark.parametrize("name", [name for name in FAMILY if name not in FEATURES])
@pytest.mark.parametrize(
    ("edges", "error", "message"),
    [
        (torch.tensor([[0], [5]]), ValueError, "edge_index must hold numbers of 3 nodes; got 5"),
        (torch.tensor([[-1], [1]]), ValueError, "edge_index must hold numbers of 3 nodes; got -1"),
        (torch.tensor([[0], [1]], dtype=torch.int32), TypeError, "edge_index must be int64; got torch.int32"),
        (torch.tensor([0, 1]), ValueError, r"edge_index must have shape \[2, E\]; got \[2\]"),
    ],
)
def test_edges_that_are_none(name: str, edges: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        member("graphmod.metrics", name)(Data(edge_index=edges, num_nodes=3), torch.tensor([0, 1, 1]))


def test_labels_that_are_no_tensor() -> None:
    with pytest.raises(TypeError, match="labels must be a tensor of integers; got list"):
        label_overlap(knn_graph(torch.eye(4)), [0, 1, 1, 0])


@pytest.mark.parametrize("method", ["edge", "node", "edge_insensitive"])
def test_homophily_is_pygs(method: str) -> None:
    (x, y), (z, w) = blobs(), blobs(1.0)
    graphs = [knn_graph(x, 4, y=y), knn_graph(z, 4, y=w)]
    expected = [float(pyg_homophily(graph.edge_index, graph.y, method=method)) for graph in graphs]
    assert [float(homophily(graph, method=method)) for graph in graphs] == pytest.approx(expected, abs=1e-6)
    assert homophily(Batch.from_data_list(graphs), method=method).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("method", ["edge", "node", "edge_insensitive"])
def test_homophily_where_pyg_is_wrong(method: str) -> None:
    x, labels = blobs(n=60)
    graph = knn_graph(x, 4)
    found = float(homophily(graph, labels, method=method))
    assert float(homophily(graph, 10 * labels, method=method)) == pytest.approx(found, abs=1e-12)  # unused names
    few = knn_graph(x, 4, y=labels.clamp(max=1))
    alone = [float(homophily(one, method=method)) for one in (few, knn_graph(x, 4, y=labels))]
    batch = Batch.from_data_list([few, knn_graph(x, 4, y=labels)])
    assert homophily(batch, method=method).tolist() == pytest.approx(alone, abs=1e-12)
    assert homophily(
        Data(edge_index=torch.empty(2, 0).long(), num_nodes=3), torch.tensor([0, 0, 1]), method=method
    ).isnan()
    one_class = float(homophily(graph, torch.zeros(60).long(), method=method))
    assert np.isnan(one_class) if method == "edge_insensitive" else one_class == 1
    lonely = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=3)
    assert float(homophily(lonely, torch.tensor([0, 0, 1]), method="node")) == 1


def test_class_sizes_count_in_float64() -> None:
    pair = Data(edge_index=torch.tensor([[0], [1]]), num_nodes=7)
    found = homophily(pair, torch.tensor([0, 0, 1, 1, 2, 2, 2]), method="edge_insensitive")
    assert float(found) == pytest.approx((1 - 2 / 7) / 2, abs=1e-15)


def test_homophily_counts_in_float64() -> None:
    target = torch.ones(2**24 + 2**20, dtype=torch.int64)
    target[::2] = 2
    graph = Data(edge_index=torch.stack([torch.zeros_like(target), target]), num_nodes=3)
    assert float(homophily(graph, torch.tensor([0, 0, 1]))) == pytest.approx(0.5, abs=1e-6)


def test_homophily_of_an_unknown_kind() -> None:
    with pytest.raises(ValueError, match="method must be one of edge, node, edge_insensitive; got 'class'"):
        homophily(knn_graph(torch.eye(4)), torch.tensor([0, 1, 1, 0]), method="class")


# --- features ---


@pytest.mark.parametrize("name", ["silhouette", "class_distance_variance"])
@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1e200])
def test_features_of_any_scale(name: str, scale: float) -> None:
    x, y = torch.randn(60, 5, dtype=torch.float64), torch.arange(60) % 3
    x[:, 0] += 2 * y
    edges = torch.empty(2, 0, dtype=torch.int64)
    one, other = (
        member("graphmod.metrics", name)(Data(x=size * x, edge_index=edges, num_nodes=60, y=y)) for size in (1, scale)
    )
    torch.testing.assert_close(one, other)


def test_tensors_that_carry_gradients() -> None:
    x, y = torch.randn(40, 5, requires_grad=True), torch.arange(40) % 2
    graph = knn_graph(x, 3, y=y, keep_x=True)
    assert silhouette(graph).isfinite()
    graph.edge_weight = graph.edge_weight.clone().requires_grad_()
    assert len(leiden(graph)) == len(worst_samples(graph, num_samples=40)) == 40
    modularity(graph).backward()
    step = 1e-6 * torch.randn(len(graph.edge_weight), dtype=torch.float64)
    weight, slope = graph.edge_weight.detach().double(), graph.edge_weight.grad.double()
    ahead, behind = (float(modularity(graph.update({"edge_weight": weight + way * step}))) for way in (1, -1))
    assert (ahead - behind) / 2 == pytest.approx(float(slope @ step), rel=1e-4)


def test_silhouette_is_scikit_learns() -> None:
    x, labels = blobs()
    expected = silhouette_score(x.numpy(), labels.numpy(), metric="cosine")
    assert float(silhouette(knn_graph(x, 3, keep_x=True), labels)) == pytest.approx(expected, abs=1e-9)
    assert silhouette(knn_graph(x, 3, keep_x=True), torch.zeros_like(labels)).isnan()
    assert silhouette(knn_graph(x, 3, keep_x=True), torch.arange(300)).isnan()


@pytest.mark.parametrize("d", [8, 600])
def test_neural_collapse_by_dense_matrices(d: int) -> None:
    x, labels = blobs(d=d)
    means = np.stack([x[labels == c].numpy().mean(axis=0) for c in range(5)])
    within = x.numpy() - means[labels]
    between = means - means.mean(axis=0)
    expected = (
        np.trace(within.T @ within / len(x) @ np.linalg.pinv(between.T @ between / 5, rcond=1e-10, hermitian=True)) / 5
    )
    assert float(neural_collapse(knn_graph(x, 3, keep_x=True), labels)) == pytest.approx(expected, rel=1e-9)


def test_neural_collapse_of_collapsed_and_of_equal_classes() -> None:
    collapsed = torch.eye(4).repeat(3, 1)
    labels = torch.arange(12) % 4
    assert float(neural_collapse(knn_graph(collapsed, 2, keep_x=True), labels)) == pytest.approx(0, abs=1e-20)
    assert neural_collapse(knn_graph(collapsed, 2, keep_x=True), torch.arange(12) // 4).isnan()


def test_class_distance_variance_by_a_loop() -> None:
    x, labels = blobs()
    parts = [x[labels == c] for c in range(5)]
    variance = [float((part - part.mean(0)).square().sum(1).mean()) for part in parts]
    pairs = [
        (variance[c] + variance[d]) / (2 * float((parts[c].mean(0) - parts[d].mean(0)).square().sum()))
        for c in range(5)
        for d in range(5)
        if c != d
    ]
    assert float(class_distance_variance(knn_graph(x, 3, keep_x=True), labels)) == pytest.approx(np.mean(pairs))
    assert class_distance_variance(knn_graph(x, 3, keep_x=True), torch.zeros_like(labels)).isnan()


@pytest.mark.parametrize("d", [8, 600])
def test_participation_ratio_by_eigenvalues(d: int) -> None:
    x, _ = blobs(d=d)
    eigenvalues = np.linalg.eigvalsh(np.cov(x.numpy().T))
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert float(participation_ratio(knn_graph(x, 3, keep_x=True))) == pytest.approx(expected, rel=1e-9)


def test_participation_ratio_of_one_point_is_nan() -> None:
    graph = Data(x=torch.full((7, 3), 0.1), edge_index=torch.empty(2, 0, dtype=torch.int64))
    assert participation_ratio(graph).isnan()


def test_the_lightest_edges_decide_a_vote_too() -> None:
    edges = torch.tensor([[0, 0, 1, 2, 3, 4, 3], [1, 2, 0, 0, 4, 3, 4]])
    weight = torch.tensor([4e-25, 1.2e-24, 4e-25, 1.2e-24, 5.0, 5.0, 5.0], dtype=torch.float64)
    graph = Data(edge_index=edges[:, :6], edge_weight=weight[:6], num_nodes=5)
    for names in ([0, 0, 1, 1, 1], [1, 1, 0, 0, 0]):
        assert vote(graph, torch.tensor(names))[0] == names[2]


@pytest.mark.parametrize("v", [0.1, 0.3, 0.7])
def test_classes_at_one_point_are_that_point(v: float) -> None:
    x, y = torch.full((10, 4), v, dtype=torch.float64), torch.tensor([0] * 3 + [1] * 7)
    x = torch.cat([x, torch.full((2, 4), 5.0)])
    graph = Data(x=x, edge_index=torch.empty(2, 0, dtype=torch.int64))
    assert class_distance_variance(graph, torch.cat([y, torch.tensor([2, 2])])).isnan()


def test_class_distance_variance_of_many_classes_takes_no_memory_of_pairs_by_features() -> None:
    x, y = torch.randn(1200, 512, generator=torch.Generator().manual_seed(0)), torch.arange(1200) % 600
    graph = Data(x=x, edge_index=torch.empty(2, 0, dtype=torch.int64))
    with torch.profiler.profile(profile_memory=True) as profile:
        class_distance_variance(graph, y)
    largest = max(event.self_cpu_memory_usage for event in profile.key_averages())
    assert largest < 600 * 600 * 512  # bytes; a difference of each pair of means takes eight times as much


def test_a_metric_by_name_or_as_it_is() -> None:
    assert find_metric("modularity") is find_metric(find_metric("modularity"))
    with pytest.raises(TypeError, match="metrics must be names such as 'modularity' or functions of a graph; got 3"):
        find_metric(3)
