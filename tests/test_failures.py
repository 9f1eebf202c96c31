"""Wrong samples are found where the graph knows them, and nowhere else."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch_geometric.data import Data

from graphmod import DynamicGraph, failures, knn_graph
from graphmod._finished import finished_work
from graphmod.failures import TwoLayers, _fit, _vote, failure_prediction, sample_features, summarize_failures
from graphmod.pyg import DynamicGraphDataset


def samples(told: str, num_samples: int = 200) -> tuple[DynamicGraphDataset, Tensor]:
    """Samples of which a fifth is wrong: those of one corner of the layer, of low confidence, or any."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(num_samples, 6, generator=generator)
    wrong = torch.arange(num_samples) % 5 == 0
    if told == "corner":
        x[wrong, 0] += 8
    sure = torch.full((num_samples,), 0.9)
    if told == "confidence":
        sure[wrong] = 0.6
    y = torch.arange(num_samples) % 3
    taken = torch.where(wrong, (y + 1) % 3, y)
    probabilities = ((1 - sure) / 2)[:, None].repeat(1, 3).scatter(1, taken[:, None], sure[:, None])
    graphs = DynamicGraph({"fc": knn_graph(x, 5, y=y, layer="fc", keep_x=True)})
    return DynamicGraphDataset(graphs), probabilities


def scores(told: str, **options: int) -> pd.Series:
    layers, probabilities = samples(told)
    table = failure_prediction(layers, probabilities, **{"splits": 2, "epochs": 30} | options)
    assert set(table.wrong) == {0.2}
    return table.groupby("method").auroc.mean()


def test_it_finds_them_where_they_are() -> None:
    corner = scores("corner")
    assert corner[["gcn", "mlp", "knn"]].min() > 0.95
    assert 0.3 < corner.confidence < 0.7
    assert scores("confidence").confidence == 1
    assert scores("confidence").mlp > 0.95
    assert scores("nothing").between(0.25, 0.75).all()


def test_the_table_repeats_with_its_seed() -> None:
    layers, probabilities = samples("corner")
    tables = [
        failure_prediction(layers, probabilities, splits=2, epochs=3, seed=seed, progress=False) for seed in (0, 0, 1)
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])
    assert list(tables[0].method) == ["gcn", "mlp", "knn", "confidence"] * 2
    summary = summarize_failures(tables[0])
    by_hand = tables[0][tables[0].method == "knn"].auroc
    assert summary[["knn", "knn_std"]].to_numpy().tolist() == [[by_hand.mean(), by_hand.std()]]


def test_the_vote_by_hand() -> None:

    x = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    wrong, fitted = torch.tensor([1, 0, 0, 0]), torch.tensor([0, 2, 3])
    found = _vote(x, wrong, fitted, k=1)
    assert found.tolist() == [0.0, 1.0, 0.0, 0.0]  # a fitted sample has no say in its own case


def test_without_edges_there_is_no_neighbour() -> None:
    x = torch.rand(4, 3)
    alone = Data(x=x, edge_index=torch.empty(2, 0, dtype=torch.int64), edge_weight=torch.empty(0))
    joined = Data(x=x, edge_index=torch.tensor([[0, 1], [1, 0]]), edge_weight=torch.ones(2))
    for edges in (False, True):
        model = TwoLayers(3, 5, edges=edges).eval()
        assert torch.equal(model(alone), model(joined)) is not edges


def test_features() -> None:
    _, probabilities = samples("confidence")
    x = torch.randn(200, 4, 3, 3)
    features = sample_features(x, probabilities, width=8)
    assert features.shape == (200, 8 + 3)
    torch.testing.assert_close(features.mean(0), torch.zeros(11), atol=1e-5, rtol=0)
    wrong = torch.arange(200) % 5 == 0
    assert roc_auc_score(wrong, -features[:, 8]) == 1  # the first after the components is how sure it is


def test_what_cannot_be_learned() -> None:
    layers, probabilities = samples("corner")
    right = torch.nn.functional.one_hot(layers[0].y).float()
    with pytest.raises(ValueError, match="at least ten samples must be wrong and ten right; 0 of 200 are wrong"):
        failure_prediction(layers, right)
    for name in ("splits", "width", "hidden", "epochs", "k"):
        with pytest.raises(ValueError, match=r"splits, width, hidden, epochs and k must be at least 1; got .*\b0\b"):
            failure_prediction(layers, probabilities, **{name: 0})
    bare = DynamicGraphDataset(DynamicGraph({"fc": knn_graph(layers[0].x, y=layers[0].y)}))
    with pytest.raises(ValueError, match="layer 'fc' has no features x; build the graphs with keep_x=True"):
        failure_prediction(bare, probabilities)


def test_the_generators_of_gpus_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def everywhere(seed: int) -> None:
        raise AssertionError(f"all generators of all devices are seeded with {seed}")

    monkeypatch.setattr(torch, "manual_seed", everywhere)
    x, wrong = torch.rand(40, 4), torch.arange(40) % 2
    graph = knn_graph(x, 3, keep_x=True)
    before = torch.get_rng_state()
    _fit(graph, wrong, list(torch.arange(40).split([20, 10, 10])), 4, 1, 777, edges=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_layers_that_are_finished_are_not_learned_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    graphs = [knn_graph(torch.rand(60, 4, generator=generator), 3, y=torch.arange(60) % 2, keep_x=True) for _ in "ab"]
    for depth, graph in enumerate(graphs, start=1):
        graph.layer, graph.depth = "ab"[depth - 1], depth
    probabilities = torch.rand(60, 2, generator=generator).softmax(1)
    plain = failure_prediction(graphs, probabilities, splits=1, epochs=2)
    with finished_work(tmp_path / "work"):
        failure_prediction(graphs[:1], probabilities, splits=1, epochs=2)
        learned = []
        monkeypatch.setattr(failures, "_fit", lambda *a, **b: learned.append(a) or _fit(*a, **b))
        both = failure_prediction(graphs, probabilities, splits=1, epochs=2)
    assert len(learned) == 2, "the two networks of the second layer"
    pd.testing.assert_frame_equal(both, plain)


def test_features_are_the_same_at_any_scale() -> None:
    x, p = torch.randn(50, 10).double(), torch.randn(50, 3).softmax(1)
    expected = sample_features(x, p, 3).abs()
    for scale in (1e-200, 1e-13, 1e20, 1e100):
        torch.testing.assert_close(sample_features(x * scale, p, 3).abs(), expected, rtol=1e-4, atol=1e-4)
