"""The ablation's numbers are those of the graphs one by one; its stability is scipy's."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from graphmod import knn_graph, layer_activations, modularity
from graphmod.ablation import SETTINGS, ablation, rank_stability
from graphmod.graphs.euclidean_knn import euclidean_knn_graph
from graphmod.graphs.mutual_knn import mutual_knn_graph
from graphmod.plots.sweep import plot_sweep
from graphmod.samples import draw


@pytest.fixture
def network() -> tuple[nn.Module, Tensor, Tensor]:
    """Classes that come apart from layer to layer: each layer takes away some of the noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 4
    x = torch.cat([2 * torch.eye(4)[labels], 6 * torch.randn(200, 6, generator=generator)], dim=1)
    layers = [nn.Linear(10, 10, bias=False) for _ in range(4)]
    for layer in layers:
        layer.weight.data = torch.diag(torch.tensor([1.0] * 4 + [0.6] * 6))
    return nn.Sequential(*layers), x, labels


def test_every_number_is_that_of_its_graph(network: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, labels = network
    table = ablation(model, x, labels, "all", k=(3, 6), num_samples=(60, 100), draws=2, seed=4)
    assert len(table) == 4 * 2 * 2 * 2 * 2 * 3 * 2
    assert not table.duplicated(["layer", "draw", *SETTINGS]).any()
    activations = layer_activations(model, x, "all")
    graphs = {("cosine", "mean"): knn_graph, ("cosine", "mutual"): mutual_knn_graph}
    graphs["euclidean", "mean"] = euclidean_knn_graph
    for (metric, rule), graph in graphs.items():
        rows = table[(table.metric == metric) & (table.symmetrize == rule) & (table.weight == "similarity")]
        for row in rows.itertuples():
            chosen = draw(labels, row.num_samples, seed=4 + row.draw)[0]
            expected = modularity(graph(activations[row.layer][chosen], row.k), labels[chosen])
            assert row.modularity == pytest.approx(float(expected), abs=1e-7)
    binary = table[(table.metric == "cosine") & (table.symmetrize == "mean") & (table.weight == "binary")]
    for row in binary.itertuples():
        chosen = draw(labels, row.num_samples, seed=4 + row.draw)[0]
        graph = knn_graph(activations[row.layer][chosen], row.k)
        mutual = graph.edge_chosen & graph.edge_chosen  # an edge weighs 1 if both chose, else 1/2
        back = {pair: i for i, pair in enumerate(map(tuple, graph.edge_index.T.tolist()))}
        both = torch.tensor([bool(mutual[i]) and bool(mutual[back[j, k]]) for (k, j), i in back.items()])
        graph.edge_weight = torch.where(both, 1.0, 0.5)
        assert row.modularity == pytest.approx(float(modularity(graph, labels[chosen])), abs=1e-7)


def test_q_rises_with_depth_under_every_setting_and_the_order_is_stable(network) -> None:
    table = ablation(*network, "all", k=(3, 5), num_samples=(100, 200), draws=2)
    q = table.groupby([*SETTINGS, "depth"]).modularity.mean().unstack()
    assert (q[4] > q[1]).all()
    stability = rank_stability(table)
    assert stability.spearman.min() > 0.7
    default = (stability[SETTINGS] == [200, 3, "cosine", "mean", "similarity"]).all(axis=1)
    assert stability[default].spearman.item() == pytest.approx(1)
    assert stability[default].largest_difference.item() == 0
    row = stability[(stability[SETTINGS] == [100, 5, "euclidean", "union", "binary"]).all(axis=1)].iloc[0]
    mean = q.loc[(100, 5, "euclidean", "union", "binary")], q.loc[(200, 3, "cosine", "mean", "similarity")]
    assert row.spearman == pytest.approx(stats.spearmanr(*mean).statistic)
    assert row.largest_difference == pytest.approx((mean[0] - mean[1]).abs().max())


def test_a_class_no_larger_than_k_is_marked(network) -> None:
    model, x, labels = network
    table = ablation(model, x, labels, "0", k=(9, 10), num_samples=(40, 80), draws=1, metrics=["cosine"])
    marked = table.groupby(["num_samples", "k"]).k_reaches_class.all()
    assert marked.to_dict() == {(40, 9): False, (40, 10): True, (80, 9): False, (80, 10): False}
    stability = rank_stability(table, k=9)
    assert stability[stability.k_reaches_class].num_samples.tolist() == [40] * 6


def test_seed_and_memory_groups(network) -> None:
    model, x, labels = network
    settings = {"k": (3,), "num_samples": (50,), "draws": 2, "metrics": ["cosine"], "weights": ["similarity"]}
    table = ablation(model, x, labels, "all", **settings)
    pd.testing.assert_frame_equal(ablation(model, x, labels, "all", max_memory="9KB", **settings), table)
    assert not ablation(model, x, labels, "all", seed=9, **settings).equals(table)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ["l1"]}, "metrics must be one or more of cosine, euclidean; got l1"),
        ({"symmetrize": []}, "symmetrize must be one or more of mean, union, mutual; got none"),
        ({"weights": ["binary", "log"]}, "weights must be one or more of similarity, binary; got binary, log"),
        ({"k": ()}, r"k and num_samples must hold at least one number each .*; got \[\], .* and 3"),
        ({"draws": 0}, r"one number each and draws be at least 1; got \[.*\], \[.*\] and 0"),
        ({"k": (60,), "num_samples": (60,)}, "k must be at least 1 and smaller than the number of samples; got k=60"),
        ({"num_samples": (201,)}, "201 samples were asked for, there are 200"),
    ],
)
def test_bad_settings(network, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ablation(*network, "all", **settings)


def test_stability_needs_its_default(network) -> None:
    table = ablation(*network, "all", k=(5,), num_samples=(50,), draws=1)
    with pytest.raises(ValueError, match="the default .*'k': 3.* is not one of the settings in the table"):
        rank_stability(table)


def test_sweep_draws_a_line_for_each_value() -> None:
    table = pd.DataFrame({"layer": list("abab"), "depth": [1, 2, 1, 2], "k": [3, 3, 5, 5]})
    ax = plot_sweep(table.assign(modularity=[0.1, 0.2, 0.3, 0.4]), "k")
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.1, 0.2], [0.3, 0.4]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["3", "5"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
    with pytest.raises(ValueError, match="the table has no column 'metric'; it has layer, depth, k"):
        plot_sweep(table, "metric")
    plt.close("all")
    assert np.isfinite(ax.get_ylim()).all()


def test_a_setting_that_the_table_does_not_have(network) -> None:
    model, x, labels = network
    table = ablation(model, x, labels, "0", k=(3,), num_samples=(40,), draws=1, metrics=["cosine"])
    with pytest.raises(ValueError, match="there is no setting named 'weights'; the nearest are 'weight'"):
        rank_stability(table, weights="binary")


def test_a_setting_without_any_q_keeps_its_row() -> None:
    table = pd.DataFrame({"layer": ["a", "b"] * 2, "depth": [1, 2] * 2, "k": [3, 3, 5, 5]}).assign(
        num_samples=9, draw=0, metric="cosine", symmetrize="mean", weight="similarity", k_reaches_class=False,
        modularity=[0.1, 0.9, float("nan"), float("nan")],
    )  # fmt: skip
    assert rank_stability(table).k.tolist() == [3, 5]
