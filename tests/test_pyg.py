"""The graphs of the layers in torch_geometric's pipelines."""

from copy import copy
from pathlib import Path

import pytest
import torch
import torch_geometric.typing
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader, LinkNeighborLoader, NeighborLoader
from torch_geometric.transforms import AddSelfLoops, Compose, NormalizeFeatures, ToUndirected
from torch_geometric.utils import to_networkx

from graphmod import DynamicGraph, dynamic_graph, knn_graph, modularity
from graphmod.datasets import load
from graphmod.metrics.label_overlap import label_overlap
from graphmod.models import build
from graphmod.pyg import DynamicGraphDataset, ModularityGraph


@pytest.fixture(scope="module")
def graphs() -> DynamicGraph:
    data = load("digits", num_samples=80, order="stratified")
    return dynamic_graph(build("digits", weights="default"), data.images, data.labels, keep_x=True)


def test_a_layer_is_a_graph_with_all_it_had(graphs: DynamicGraph) -> None:
    dataset = DynamicGraphDataset(graphs)
    assert len(dataset) == len(graphs)
    assert dataset.num_classes == 10
    for depth, (one, (name, graph)) in enumerate(zip(dataset, graphs.items(), strict=True), start=1):
        assert (one.layer, one.depth) == (name, depth)
        assert float(label_overlap(one)) == float(label_overlap(graph))
        for key in ("edge_index", "edge_weight", "edge_chosen", "y", "x"):
            assert torch.equal(one[key], graph[key])
        assert one.is_undirected()
        assert float(modularity(one)) == float(modularity(graph))
    assert len(dataset[2:5]) == 3
    with pytest.raises(ValueError, match=r"x must have a row for each of the 80 samples; got \[79, 2\]"):
        DynamicGraphDataset(graphs, x=torch.rand(79, 2))


def test_the_published_rule_stays_with_its_graphs(graphs: DynamicGraph) -> None:
    x, y = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2
    graph = knn_graph(x, 5, y=y, compat="lu2022")
    assert float(modularity(DynamicGraphDataset(DynamicGraph({"a": graph}))[0])) == float(modularity(graph))


def test_nothing_of_the_old_edges_stays(graphs: DynamicGraph) -> None:
    data = Data(x=torch.rand(12, 3), y=torch.arange(12) % 2)
    data = ModularityGraph(2, compat="lu2022")(data)
    data.edge_attr, data.adj_t = torch.rand(data.num_edges, 4), data.edge_index  # as ToSparseTensor leaves it
    new = ModularityGraph(5)(copy(data))
    assert torch.equal(label_overlap(new), label_overlap(knn_graph(data.x, 5, y=data.y)))
    assert "edge_attr" not in new
    assert "compat" not in new
    assert "adj_t" not in new


def test_a_saved_study_opens(graphs: DynamicGraph, tmp_path: Path) -> None:
    from analyses.modularity_curve import SMOKE, main

    table = main(**{**SMOKE, "repeats": 1}, out=tmp_path / "study")
    folder = DynamicGraphDataset(tmp_path / "study")
    assert [one.layer for one in folder] == list(table.layer)
    assert [float(modularity(one)) for one in folder] == pytest.approx(table.modularity.tolist())
    graphs.save(tmp_path / "mine.safetensors")
    features = torch.rand(80, 5)
    assert torch.equal(DynamicGraphDataset(tmp_path / "mine.safetensors", x=features)[3].x, features)
    with pytest.raises(FileNotFoundError):
        DynamicGraphDataset(tmp_path / "nothing.safetensors")


def test_loaders_and_transforms_work_on_it(graphs: DynamicGraph) -> None:
    dataset = DynamicGraphDataset(graphs, x=torch.rand(80, 6), transform=Compose([ToUndirected(), NormalizeFeatures()]))
    (batch,) = DataLoader(dataset, batch_size=len(dataset))
    assert batch.num_graphs == len(dataset)
    assert batch.layer == list(graphs)
    torch.testing.assert_close(modularity(batch), torch.stack([modularity(graph) for graph in graphs.values()]))
    torch.testing.assert_close(batch.x.sum(1), torch.ones(len(batch.x)))


SAMPLERS = pytest.mark.skipif(
    not (torch_geometric.typing.WITH_PYG_LIB or torch_geometric.typing.WITH_TORCH_SPARSE),
    reason="the neighbour loaders of torch_geometric need pyg-lib or torch-sparse, which are built from source",
)


@SAMPLERS
@pytest.mark.filterwarnings("ignore:.*without a 'pyg-lib':UserWarning")  # torch-sparse will do
def test_neighbor_loaders_sample_from_a_layer(graphs: DynamicGraph) -> None:
    data = DynamicGraphDataset(graphs)[3]
    seen = []
    for batch in NeighborLoader(data, [2, 2], batch_size=30):
        seen += batch.input_id.tolist()
        assert torch.equal(batch.edge_weight, data.edge_weight[batch.e_id])
        assert torch.equal(batch.n_id[batch.edge_index], data.edge_index[:, batch.e_id])
        assert torch.equal(batch.x, data.x[batch.n_id])
        assert torch.equal(batch.y, data.y[batch.n_id])
    assert sorted(seen) == list(range(80))


@SAMPLERS
@pytest.mark.filterwarnings("ignore:.*without a 'pyg-lib':UserWarning")  # torch-sparse will do
def test_link_loaders_sample_from_a_layer(graphs: DynamicGraph) -> None:
    data = DynamicGraphDataset(graphs)[3]
    for batch in LinkNeighborLoader(data, [2, 2], batch_size=30, neg_sampling="binary"):
        asked = batch.n_id[batch.edge_label_index[:, batch.edge_label == 1]]
        edges = {tuple(edge) for edge in data.edge_index.T.tolist()}
        assert {tuple(edge) for edge in asked.T.tolist()} <= edges


def test_to_networkx_keeps_weights_and_labels(graphs: DynamicGraph) -> None:
    import networkx as nx

    one = DynamicGraphDataset(graphs)[-1]
    graph = to_networkx(one, node_attrs=["y"], edge_attrs=["edge_weight"], to_undirected=True)
    labels = nx.get_node_attributes(graph, "y")
    classes = [{node for node in graph if labels[node] == label} for label in range(10)]
    q = nx.community.modularity(graph, classes, weight="edge_weight")
    assert q == pytest.approx(float(modularity(one)), abs=1e-6)


def test_the_transform_makes_the_graph_of_the_features(graphs: DynamicGraph) -> None:
    graph = next(iter(graphs.values()))
    data = ModularityGraph(k=3)(Data(x=graph.x, y=graph.y))
    assert torch.equal(data.edge_index, graph.edge_index)
    assert torch.equal(data.edge_weight, graph.edge_weight)
    assert repr(ModularityGraph(k=5)) == "ModularityGraph(k=5, graph=knn_graph)"
    before = Data(x=graph.x)
    ModularityGraph()(before)
    assert before.edge_index is None  # a transform works on a shallow copy
    with pytest.raises(ValueError, match="the graph is made of the features x, and the Data has none"):
        ModularityGraph()(Data(y=graph.y))


def test_a_batch_is_no_graph_to_make() -> None:
    both = Batch.from_data_list([Data(x=torch.rand(6, 3)), Data(x=torch.rand(5, 3))])
    with pytest.raises(TypeError, match="expected one graph; got a Batch of 2: take them one by one"):
        ModularityGraph(k=2)(both)


def test_after_a_transform_that_adds_edges_the_message_says_what_to_do() -> None:
    graph = AddSelfLoops("edge_weight")(knn_graph(torch.rand(20, 3), 3, y=torch.arange(20) % 2))
    with pytest.raises(ValueError, match="one for each edge; del graph.edge_chosen after other edges"):
        label_overlap(graph)
    del graph.edge_chosen
    assert 0 <= float(label_overlap(graph)) <= 1
