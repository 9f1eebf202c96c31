import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from oracles import networkx_modularity, published_modularity
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch_geometric.data import Data

from graphmod import (
    DynamicGraph,
    dynamic_graph,
    from_activations,
    knn_graph,
    layer_activations,
    measure,
    modularity,
    modularity_curve,
    modularity_terms,
    sample_modularity,
    summarize,
)  # fmt: skip
from graphmod import activations as activations_module
from graphmod._finished import finished_work
from graphmod.datasets import load
from graphmod.graphs import find_graph
from graphmod.graphs.mutual_knn import mutual_knn_graph
from graphmod.metrics import find_metric
from graphmod.models import build


class Separator(nn.Module):
    """Layer i pulls the classes i times as far apart: the answer is known beforehand."""

    def __init__(self, labels: Tensor, num_layers: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Identity() for _ in range(num_layers))
        self.labels = labels

    def forward(self, x: Tensor) -> Tensor:
        centres = torch.eye(int(self.labels.max()) + 1, x.shape[1])[self.labels[: len(x)]]
        for i, layer in enumerate(self.layers):
            layer(x + 1.0 * i * centres)
        return x


@pytest.fixture
def separated() -> tuple[nn.Module, Tensor, Tensor]:
    labels = torch.arange(120) % 4
    x = torch.randn(120, 10, generator=torch.Generator().manual_seed(0))
    return Separator(labels), x, labels


def test_planted_separation_rises_from_nothing_to_the_maximum(separated) -> None:
    curve = modularity_curve(*separated, layers="layers.*", order="file")
    assert list(curve.layer) == [f"layers.{i}" for i in range(4)]
    assert list(curve.depth) == [1, 2, 3, 4]
    assert curve.modularity.is_monotonic_increasing
    assert abs(curve.modularity[0]) < 0.1
    assert curve.normalized[3] > 0.85
    np.testing.assert_allclose(curve.modularity, curve.overlap - curve.expected, atol=1e-12)


def test_every_layer_equals_networkx(separated) -> None:
    graphs = dynamic_graph(*separated, "layers.*", k=5)
    for graph in graphs.values():
        assert float(modularity(graph)) == pytest.approx(networkx_modularity(graph, graph.y), abs=1e-9)


def test_a_loader_gives_what_tensors_give(separated) -> None:
    _, x, labels = separated
    model = nn.Sequential(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 3))
    loader = DataLoader(TensorDataset(x, labels), batch_size=50)
    options = {"layers": "all", "num_samples": 40, "repeats": 2}
    for order in ("file", "stratified"):
        pd.testing.assert_frame_equal(
            modularity_curve(model, loader, order=order, **options),
            modularity_curve(model, x, labels, order=order, **options),
        )


def test_repeats_are_averaged(separated) -> None:
    _, x, labels = separated
    model = nn.Sequential(nn.Linear(10, 5), nn.ReLU())
    curve = modularity_curve(model, x, labels, layers="all", num_samples=40, repeats=3, order="file")
    single = [
        modularity_curve(model, x[rows], labels[rows], layers="all", order="file")
        for rows in (slice(0, 40), slice(40, 80), slice(80, 120))
    ]
    values = np.array([one.modularity for one in single])
    np.testing.assert_allclose(curve.modularity, values.mean(0))
    np.testing.assert_allclose(curve.modularity_std, values.std(0, ddof=1))
    assert list(curve.num_repeats) == [3, 3]
    assert single[0].modularity_std.isna().all()


def test_the_same_seed_gives_the_same_table_and_another_another(separated) -> None:
    _, x, labels = separated
    model = nn.Sequential(nn.Linear(10, 5))
    curves = [modularity_curve(model, x, labels, num_samples=30, repeats=2, seed=seed) for seed in (1, 1, 2)]
    pd.testing.assert_frame_equal(curves[0], curves[1])
    assert not curves[0].equals(curves[2])


def test_other_graphs_and_options(separated) -> None:
    mutual = dynamic_graph(*separated, "layers.*", graph=mutual_knn_graph, k=5, keep_x=True)
    assert mutual["layers.0"].x.shape == (120, 10)
    assert mutual["layers.0"].layer == "layers.0"
    published = dynamic_graph(*separated, "layers.*", graph=partial(knn_graph, compat="lu2022"))
    assert published["layers.0"].compat == "lu2022"


def test_little_memory_gives_the_same(separated, monkeypatch: pytest.MonkeyPatch) -> None:
    _, x, labels = separated
    model = nn.Sequential(nn.Linear(10, 50), nn.ReLU(), nn.Linear(50, 20), nn.ReLU(), nn.Linear(20, 5))
    expected = measure(dynamic_graph(model, x, labels, "all"))
    passes = []

    def counted(model, samples, layers, **options):
        if len(samples) > 2:
            passes.append(layers)
        return layer_activations(model, samples, layers, **options)

    monkeypatch.setattr(activations_module, "layer_activations", counted)
    two_middle_layers = 120 * (50 + 20) * 4
    pd.testing.assert_frame_equal(
        measure(dynamic_graph(model, x, labels, "all", max_memory=two_middle_layers)), expected
    )
    assert passes == [["0"], ["1", "2"], ["3", "4"]]
    pd.testing.assert_frame_equal(measure(dynamic_graph(model, x, labels, "all", max_memory="0.1 kB")), expected)
    assert passes[3:] == [["0"], ["1"], ["2"], ["3"], ["4"]]
    with pytest.raises(
        ValueError, match="must be a number of bytes or a size such as '500MB' or '2GB'; got '2 apples'"
    ):
        dynamic_graph(model, x, labels, "all", max_memory="2 apples")


# --- tables ---


def test_measure_and_summarize(separated) -> None:
    graphs = dynamic_graph(*separated, "layers.*")

    def edges(graph) -> Tensor:
        return torch.tensor(graph.num_edges)

    values = measure([graphs, graphs], [modularity, edges, lambda graph: {"finer": modularity(graph, resolution=2.0)}])
    assert list(values.columns) == ["repeat", "layer", "depth", "metric", "value"]
    assert len(values) == 2 * 4 * 3
    table = summarize(measure([graphs, graphs], [modularity, edges]))
    assert list(table.columns) == [
        "layer",
        "depth",
        "modularity",
        "edges",
        "modularity_std",
        "edges_std",
        "num_repeats",
    ]
    assert (table.modularity_std == 0).all()


# --- saved graphs ---


def test_save_and_load(separated, tmp_path: Path) -> None:
    graphs = dynamic_graph(*separated, "layers.*")
    graphs.save(tmp_path / "deep/graphs.safetensors")
    loaded = DynamicGraph.load(tmp_path / "deep/graphs.safetensors")
    assert list(loaded) == list(graphs)
    assert repr(loaded) == "DynamicGraph(4 layers, 120 samples, layers.0 … layers.3)"
    for layer, graph in graphs.items():
        for key in ("edge_index", "edge_weight", "y"):
            assert torch.equal(graph[key], loaded[layer][key])
        assert loaded[layer].layer == layer
        assert loaded[layer].num_nodes == graph.num_nodes
    pd.testing.assert_frame_equal(measure(loaded), measure(graphs))


def test_a_published_rule_survives_saving(separated, tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match="class 0 has 30 samples: with k = 100 each of them is joined to other classes"
    ):
        graphs = dynamic_graph(*separated, "layers.*", compat="lu2022", k=100)
    assert (graphs["layers.0"].edge_weight < 0).any()
    graphs.save(tmp_path / "graphs.safetensors")
    pd.testing.assert_frame_equal(measure(DynamicGraph.load(tmp_path / "graphs.safetensors")), measure(graphs))


def test_wrong_files(tmp_path: Path) -> None:
    path = tmp_path / "graphs.safetensors"
    with pytest.raises(FileNotFoundError, match="there is no file of graphs"):
        DynamicGraph.load(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match="is not a saved dynamic graph"):
        DynamicGraph.load(path)
    save_file({"x": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="is not a saved dynamic graph"):
        DynamicGraph.load(path)
    tensors = {"y": torch.zeros(2), "0.edge_index": torch.tensor([[0, 7], [7, 0]]), "0.edge_weight": torch.ones(2)}
    save_file(tensors, path, metadata={"graphs": '[{"layer": "a"}]'})
    with pytest.raises(ValueError, match="is not a saved dynamic graph: edge_index must hold numbers of 2 nodes"):
        DynamicGraph.load(path)


def test_graphs_of_other_samples_do_not_mix() -> None:
    a, b = (knn_graph(torch.eye(4), y=y) for y in (torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])))
    with pytest.raises(ValueError, match="the graph of layer 'b' must have the same labels y"):
        DynamicGraph({"a": a, "b": b})
    with pytest.raises(ValueError, match="the graph of layer 'a' has no labels y; build it with y"):
        DynamicGraph({"a": knn_graph(torch.eye(4))})
    b = a.clone()
    b.num_nodes = len(a.y) + 1
    with pytest.raises(ValueError, match="graph of layer 'b' must have the same labels y"):
        DynamicGraph({"a": a, "b": b})
    with pytest.raises(ValueError, match="a dynamic graph needs at least one layer; got none"):
        DynamicGraph({})
    with pytest.raises(TypeError, match="graphs must be a mapping from layers to graphs; got list"):
        DynamicGraph([a])


def test_metrics_by_name() -> None:
    graphs = DynamicGraph({"a": knn_graph(torch.eye(4), y=torch.tensor([0, 0, 1, 1]))})
    pd.testing.assert_frame_equal(measure(graphs, "modularity"), measure(graphs, modularity))
    assert measure(graphs, ["modularity", "knn_accuracy"]).metric.tolist() == ["modularity", "knn_accuracy"]


def test_wrong_kinds() -> None:
    graphs = DynamicGraph({"a": knn_graph(torch.eye(4), y=torch.tensor([0, 0, 1, 1]))})
    for other in (None, {"a": graphs["a"]}, graphs["a"]):
        with pytest.raises(TypeError, match="graphs must be one DynamicGraph, or several; got"):
            measure(other)
    for metrics in (3, None):
        with pytest.raises(
            TypeError, match=f"metrics must be names such as 'modularity' or functions of a graph; got {metrics}"
        ):
            measure(graphs, [metrics])
    with pytest.raises(ValueError, match="no graphmod.metrics member named 'modularty'; the nearest are 'modularity'"):
        measure(graphs, "modularty")
    for activations in (None, [torch.eye(4)], torch.eye(4)):
        with pytest.raises(TypeError, match="activations must be a mapping from layers to arrays, or a path; got"):
            from_activations(activations, [0, 0, 1, 1])


# --- bad input: one sentence, which names the layer ---


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "layer 'bad' holds NaN or Inf in 120 of 120 samples"),
        (0.0, "layer 'bad' is zero for every sample: a dead layer has no neighbours"),
        (1.0, "layer 'bad' is the same for every sample"),
    ],
)
def test_layers_without_a_graph(value: float, message: str, separated) -> None:
    class Bad(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full_like(x, value)

    model = nn.Sequential()
    model.add_module("bad", Bad())
    with pytest.raises(ValueError, match=message):
        modularity_curve(model, separated[1], separated[2], layers="bad")


def test_copies_among_the_samples_are_reported(separated) -> None:
    _, x, labels = separated
    x = x.clone()
    x[7], x[9] = x[0], x[0]
    with pytest.warns(UserWarning, match="2 of 120 samples are exact copies of others; .* raise Q: remove them"):
        dynamic_graph(nn.Sequential(nn.Linear(10, 5)), x, labels)


def test_a_class_that_is_too_small_for_k_is_named(separated) -> None:
    model, x, _labels = separated
    with pytest.warns(UserWarning, match="has 3 samples: with k = 3 .* lower k or take more samples"):
        dynamic_graph(model, x, torch.where(torch.arange(len(x)) < 3, 1, 0), "layers.*", k=3)
    dynamic_graph(model, x, torch.where(torch.arange(len(x)) < 4, 1, 0), "layers.*", k=3)


def test_saving_keeps_who_chose_whom(separated, tmp_path: Path) -> None:
    graphs = dynamic_graph(*separated, "layers.*")
    graphs.save(tmp_path / "graphs.safetensors")
    for layer, graph in DynamicGraph.load(tmp_path / "graphs.safetensors").items():
        assert torch.equal(graph.edge_chosen, graphs[layer].edge_chosen)
        assert int(graph.edge_chosen.sum()) == 3 * graph.num_nodes
        del graphs[layer].edge_chosen
    graphs.save(tmp_path / "older.safetensors")  # a file of a graph that does not say
    assert all("edge_chosen" not in graph for graph in DynamicGraph.load(tmp_path / "older.safetensors").values())


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    y, path = torch.tensor([0, 1, 0]), tmp_path / "graphs.safetensors"
    pair = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    plain = Data(edge_index=pair, num_nodes=3, y=y)
    DynamicGraph({"a": plain, "b": plain}).save(path)
    loaded = DynamicGraph.load(path)
    assert list(loaded) == ["a", "b"]
    assert float(modularity(loaded["b"])) == float(modularity(plain))
    one_way = Data(edge_index=pair[:, ::2], num_nodes=3, y=y)
    with pytest.raises(ValueError, match="graph of layer 'c' cannot be saved: edges must be sorted, each pair in both"):
        DynamicGraph({"c": one_way}).save(path)
    assert list(DynamicGraph.load(path)) == ["a", "b"]


@pytest.mark.parametrize(
    ("function", "option", "nearest"), [(modularity_curve, "repeat", "repeats"), (dynamic_graph, "keepx", "keep_x")]
)
def test_a_misspelt_option_is_named_before_anything_runs(function, option: str, nearest: str, separated) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    model, x, y = separated
    model.register_forward_pre_hook(never)
    with pytest.raises(TypeError, match=f"there is no option '{option}'; the nearest are '{nearest}'"):
        function(model, x, y, **{option: 2})


def test_metrics_may_come_one_by_one(separated) -> None:
    graphs = dynamic_graph(*separated, "all", progress=False)
    both = [find_metric(name) for name in ("modularity", "homophily")]
    pd.testing.assert_frame_equal(measure(graphs, iter(both)), measure(graphs, both))


def test_shuffled_labels_are_chance_and_the_same_in_every_layer(separated) -> None:
    graphs = dynamic_graph(*separated, "layers.*")
    before = graphs.y.clone()
    shuffled = graphs.shuffled(seed=3)
    assert torch.equal(graphs.y, before)
    assert torch.equal(shuffled.y.sort().values, before.sort().values)
    assert torch.equal(shuffled.y, graphs.shuffled(seed=3).y)
    assert not torch.equal(shuffled.y, graphs.shuffled(seed=4).y)
    q = measure(shuffled).query("metric == 'modularity'").value
    assert q.abs().max() < 0.15 < measure(graphs).query("metric == 'modularity'").value.max()


def test_too_few_samples(separated) -> None:
    with pytest.raises(ValueError, match="smaller than the number of samples; got k=120 for 120 samples"):
        modularity_curve(*separated, layers="layers.*", k=120)
    with pytest.raises(ValueError, match="num_samples and repeats must be at least 1; got 100 and 0"):
        modularity_curve(*separated, layers="layers.*", num_samples=100, repeats=0)


# --- real networks on real images ---


@pytest.mark.parametrize("name", ["resnet20", "resnet56"])
def test_cifar_equals_networkx_and_the_published_procedure(name: str, shared: Path, cifar: Path) -> None:
    samples = load(f"folder:{cifar}", num_samples=500)
    model = build(name, weights=shared / f"{name}-cifar10.pt")
    graphs = dynamic_graph(model, samples.images, samples.labels)
    replayed = dynamic_graph(model, samples.images, samples.labels, compat="lu2022")
    assert len(graphs) == {"resnet20": 10, "resnet56": 28}[name]
    activations = layer_activations(model, samples.images)
    for layer, graph in graphs.items():
        assert float(modularity(graph)) == pytest.approx(networkx_modularity(graph, graph.y), abs=1e-9)
        published = published_modularity(activations[layer], samples.labels)
        assert float(modularity(replayed[layer])) == pytest.approx(published, abs=1e-6)
    last = float(modularity(list(graphs.values())[-1]))
    assert last == pytest.approx({"resnet20": 0.789, "resnet56": 0.824}[name], abs=0.005)


@pytest.mark.slow
def test_five_thousand_images_through_resnet56_stay_under_eight_gigabytes(
    shared: Path, cifar: Path, tmp_path: Path
) -> None:
    code = f"""
import resource
from pathlib import Path
from analyses.modularity_curve import main
table = main(
    model="resnet56", weights="{shared}/resnet56-cifar10.pt", dataset="folder:{cifar}", split="train",
    num_samples=5000, repeats=1, order="file", out=Path("result"),
)
print(len(table), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    num_layers, kilobytes = map(int, ran.stdout.splitlines()[-1].split())
    assert num_layers == 28
    assert kilobytes < 8e6


def test_graphs_by_name(separated) -> None:
    model, x, y = separated
    for name in ("knn", "mutual_knn"):
        function = find_graph(name)
        assert find_graph(function) is function
        curves = [modularity_curve(model, x, y, layers="all", graph=one, k=5) for one in (name, function)]
        pd.testing.assert_frame_equal(*curves)
        graphs = from_activations({"a": x.flatten(1)}, y, graph=name), dynamic_graph(model, x, y, "all", graph=name)
        assert all(isinstance(graph, Data) for one in graphs for graph in one.values())
    with pytest.raises(ValueError, match="there is no graphmod.graphs member named 'knm'"):
        modularity_curve(model, x, y, graph="knm")
    with pytest.raises(TypeError, match="graph must be a name such as 'knn' or a function; got int"):
        dynamic_graph(model, x, y, graph=3)


@pytest.mark.parametrize("name", ["x", "y", "layer"])
def test_what_the_graph_is_given_in_any_case_is_no_option(name: str) -> None:
    with pytest.raises(TypeError, match=f"there is no option '{name}'"):
        dynamic_graph(torch.nn.Linear(2, 2), torch.rand(8, 2), torch.arange(8) % 2, "all", **{name: "all"})
    with pytest.raises(TypeError, match=f"there is no option '{name}'"):
        from_activations({"a": torch.rand(8, 2)}, torch.arange(8) % 2, **{name: "all"})


def test_a_size_that_is_none_is_said_although_all_graphs_are_there(tmp_path: Path) -> None:
    model, x, y = torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.rand(8, 2), torch.arange(8) % 2
    with finished_work(tmp_path / "work"):
        dynamic_graph(model, x, y, "all")
        with pytest.raises(ValueError, match="max_memory must be a number of bytes"):
            dynamic_graph(model, x, y, "all", max_memory="2XB")


def test_two_metrics_of_one_name_and_metrics_that_are_no_numbers(separated) -> None:
    graphs = dynamic_graph(*separated, ["layers.0", "layers.1"])
    for twice in ([modularity, modularity_terms], [partial(modularity, resolution=g) for g in (1, 2)]):
        with pytest.raises(ValueError, match="two metrics are called 'modularity'; let one return a dict with another"):
            measure(graphs, twice)
    with pytest.raises(TypeError, match="metric 'sample_modularity' must give a number, or some by name; got Tensor"):
        measure(graphs, sample_modularity)

    class Degree:
        def __call__(self, graph) -> float:
            return graph.num_edges / graph.num_nodes

    assert set(measure(graphs, Degree()).metric) == {"Degree"}


def test_layers_have_names_and_graphs(separated, tmp_path: Path) -> None:
    x = torch.rand(20, 4)
    graphs = from_activations({0: x, 1: x**2}, torch.arange(20) % 2)
    graphs.save(tmp_path / "graphs.safetensors")
    assert list(DynamicGraph.load(tmp_path / "graphs.safetensors")) == list(graphs) == ["0", "1"]
    for wrong in ({"a": torch.eye(3)}, {0: graphs["0"]}):
        with pytest.raises(TypeError, match="graphs must be torch_geometric Data by names of layers; got"):
            DynamicGraph(wrong)
