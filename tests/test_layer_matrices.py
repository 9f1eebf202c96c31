"""Tables of pairs of layers: against loops, and on networks whose likeness is known beforehand."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from test_similarity import grown, randn
from torch import Tensor, nn
from torch_geometric.data import Data

from graphmod import knn_graph, layer_activations, layer_names
from graphmod.datasets import load
from graphmod.layer_matrices import compare_groups, layer_pairs, match_layers, modularity_difference, nested_layers
from graphmod.models import build
from graphmod.plots.heatmap import plot_heatmap
from graphmod.similarity import cka_matrix, edge_jaccard, graph_matrix, mutual_neighbors
from graphmod.training import train


def square(values: list[list[float]]) -> pd.DataFrame:
    names = list("abcdef"[: len(values)])
    return pd.DataFrame(values, names, names)


def test_modularity_difference_can_be_zero_for_layers_without_a_common_edge() -> None:
    first = Data(edge_index=torch.tensor([[0, 2], [1, 3]]), num_nodes=4)
    second = Data(edge_index=torch.tensor([[0, 1], [2, 3]]), num_nodes=4)
    curve = pd.DataFrame({"layer": ["a", "b", "c"], "modularity": [0.5, 0.5, 0.2], "z": [1, 2, 4]})
    matrix = modularity_difference(curve)
    assert matrix.loc["a", "b"] == edge_jaccard(first, second) == 0
    np.testing.assert_allclose(matrix, [[0, 0, 0.3], [0, 0, 0.3], [0.3, 0.3, 0]])
    assert modularity_difference(curve, "z").loc["c", "a"] == 3
    across = modularity_difference(curve, others=curve.tail(1))
    assert (list(across.index), list(across.columns)) == (["a", "b", "c"], ["c"])
    with pytest.raises(ValueError, match="the table has no column 'q'; it has layer, modularity, z"):
        modularity_difference(curve, "q")


def test_match_layers() -> None:
    matrix = pd.DataFrame(
        [[0.1, 0.9, 0.9], [np.nan, np.nan, np.nan], [np.nan, -0.5, -0.2]], ["a", "b", "c"], ["x", "y", "z"]
    )
    assert match_layers(matrix).to_dict("records") == [
        {"layer": "a", "match": "y", "depth": 1, "matched_depth": 2, "value": 0.9},
        {"layer": "c", "match": "z", "depth": 3, "matched_depth": 3, "value": -0.2},
    ]
    matches = match_layers(cka_matrix(grown()))
    assert (matches.depth == matches.matched_depth).all()


def test_layer_pairs() -> None:
    matrix = pd.DataFrame([[1, 2, 3], [4, 5, 6]], ["a", "b"], ["x", "y", "z"])
    table = layer_pairs({"one": matrix, "two": -matrix})
    assert all(matrix.loc[row.layer, row.other] == row.one == -row.two for row in table.itertuples())
    assert len(table) == 6
    with pytest.raises(ValueError, match="expected at least one matrix; got none"):
        layer_pairs({})
    with pytest.raises(ValueError, match="matrix 'two' must have the layers of the first one in its rows and columns"):
        layer_pairs({"one": matrix, "two": matrix.T})


def test_nested_layers() -> None:
    model = build("resnet20")
    names = layer_names(model, ["blocks", "layer*.*.conv*"])
    nested = nested_layers(names)
    assert nested["outputs"] == layer_names(model, "layer*.*")
    assert nested["inside"] == layer_names(model, "layer*.*.conv*")
    assert nested_layers(["layer1", "layer1.0", "layer1.0.conv1", "layer10"]) == {
        "outputs": ["layer1"],
        "inside": ["layer1.0", "layer1.0.conv1"],
    }
    assert nested_layers(["a", "b"]) == {"outputs": [], "inside": []}


def test_groups_against_loops() -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 4, (6, 6)).astype(float)
    matrix = square((values + values.T).tolist())
    matrix.loc["a", "f"] = matrix.loc["f", "a"] = np.nan
    groups = {"one": ["f", "a", "c"], "two": ["b", "e"]}  # d is in none
    group_of = {layer: group for group, layers in groups.items() for layer in layers}
    for reach in (None, 1, 2, 3):
        table = compare_groups(matrix, groups, max_distance=reach).set_index(["group", "other"])
        expected: dict[tuple[str, ...], list[float]] = {}
        for a, b in itertools.combinations("abcdef", 2):
            near = reach is None or ord(b) - ord(a) <= reach
            if near and a in group_of and b in group_of and not np.isnan(matrix.loc[a, b]):
                expected.setdefault(tuple(sorted([group_of[a], group_of[b]])), []).append(matrix.loc[a, b])
        assert set(table.index) == set(expected)
        for key, found in expected.items():
            inside = expected.get((key[0], key[0]), [])
            row = table.loc[key]
            assert row.num_pairs == len(found)
            assert row[["low", "median", "high"]].tolist() == np.quantile(found, [0.25, 0.5, 0.75]).tolist()
            wins = [(a > b) + (a == b) / 2 for a in found for b in inside]
            assert row.gap == pytest.approx(np.median(found) - np.median(inside) if inside else np.nan, nan_ok=True)
            assert row.larger == pytest.approx(np.mean(wins) if wins else np.nan, nan_ok=True)


def test_planted_groups_are_told_apart() -> None:
    side = {f"block{i}": x for i, x in enumerate(grown(layers=4).values())}
    inside = {f"block{i}.conv": x + 4 * randn(40, 30, seed=50 + i) for i, x in enumerate(side.values())}
    names = [name for pair in zip(inside, side, strict=True) for name in pair]
    matrix = 1 - cka_matrix({name: (side | inside)[name] for name in names})
    table = compare_groups(matrix, nested_layers(names)).set_index("other")
    assert table.loc["inside", "gap"].iloc[0] > 0.1
    assert table.loc["inside", "larger"].iloc[0] > 0.8
    assert compare_groups(matrix, {"outputs": [], "inside": []}).empty


def test_bad_groups() -> None:
    matrix = square([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="matrix must have the same layers in its rows and columns"):
        compare_groups(matrix.head(1), {})
    with pytest.raises(ValueError, match="max_distance must be at least 1; got 0"):
        compare_groups(matrix, {}, max_distance=0)
    with pytest.raises(ValueError, match="there is no layer named 'c'; the nearest are"):
        compare_groups(matrix, {"one": ["c"]})
    with pytest.raises(ValueError, match="layer 'a' must be in one group only"):
        compare_groups(matrix, {"one": ["a"], "two": ["a", "b"]})


def digits(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build("digits")


def activations(model: nn.Module) -> dict[str, Tensor]:
    return layer_activations(model, load("digits", num_samples=300).images, progress=False)


def test_random_networks_of_two_seeds_match_by_depth() -> None:
    layers = [activations(digits(seed)) for seed in (0, 1)]
    graphs = [{name: knn_graph(x, 10) for name, x in one.items()} for one in layers]
    matrices = [cka_matrix(*layers)]
    matrices += [graph_matrix(graphs[0], measure, graphs[1]) for measure in (mutual_neighbors, edge_jaccard)]
    for matches in map(match_layers, matrices):
        assert (matches.depth == matches.matched_depth).mean() >= 0.9


def test_cka_matches_trained_networks_of_two_seeds_by_depth() -> None:
    """Sixty epochs against four; the neighbours of such different networks do not match (measured: 1 of 10 layers)."""
    second, data = digits(1), load("digits", split="train")
    for _ in train(second, data.images, data.labels, epochs=4, seed=1, progress=False):
        pass
    matches = match_layers(cka_matrix(activations(build("digits", weights="default")), activations(second)))
    order = matches.depth.corr(matches.matched_depth, method="spearman")
    near = ((matches.depth - matches.matched_depth).abs() <= 1).mean()
    assert order >= 0.8, f"ρ = {order:.2f}"
    assert near >= 0.5, f"{near:.0%} at most one layer off"


# --- picture ---


def test_heatmap_shows_the_matrices() -> None:
    matrix = square([[1.0, 0.5, np.nan], [0.5, 1.0, 0.2], [np.nan, 0.2, 1.0]])
    wide = pd.DataFrame(np.arange(80.0).reshape(2, 40), ["x", "y"]).rename_axis("first").rename_axis(columns="second")
    first = plot_heatmap({"edge_jaccard": matrix, "wide": wide})
    axes = [ax for ax in first.figure.axes if ax.images]
    assert [ax.get_title() for ax in axes] == ["edge jaccard", "wide"]
    (image,) = first.images
    np.testing.assert_array_equal(image.get_array().filled(np.nan), matrix)
    assert image.get_clim() == (0.2, 1.0)
    assert axes[1].images[0].get_clim() == (0, 79)
    assert [label.get_text() for label in first.get_xticklabels()] == ["a", "b", "c"]
    assert first.get_yticks().tolist() == [1, 2, 3]
    assert first.images[0].get_extent() == [0.5, 3.5, 0.5, 3.5]
    assert first.images[0].origin == "lower"
    assert (first.get_xlabel(), axes[1].get_xlabel(), axes[1].get_ylabel()) == ("layer", "second", "first")
    assert [label.get_text() for label in axes[1].get_yticklabels()] == ["1"]
    numbers = [int(label.get_text()) for label in axes[1].get_xticklabels()]
    assert numbers == axes[1].get_xticks().tolist()
    assert len(numbers) <= 11
    plt.close("all")


def test_heatmaps_in_rows_of_two() -> None:
    matrix = square([[1.0, 0.5], [0.5, 1.0]])
    first = plot_heatmap({str(i): matrix for i in range(5)})
    axes = [ax for ax in first.figure.axes if ax.images]
    assert len(axes) == 5
    assert len(first.figure.axes) == 10, "five matrices, five bars of colour, no empty place"
    plt.close("all")


def test_light_is_alike_in_heatmaps_of_likenesses_and_of_distances() -> None:
    likeness = square([[1.0, 0.2], [0.2, 1.0]])
    first = plot_heatmap({"cka": likeness, "difference": 1 - likeness}, distances=["difference"])
    shown = [ax.images[0] for ax in first.figure.axes if ax.images]
    lightness = [image.cmap(image.norm(image.get_array()))[..., :3].mean(-1) for image in shown]
    np.testing.assert_allclose(lightness[0], lightness[1])
    assert lightness[0][0, 0] > 0.8 > 0.2 > lightness[0][0, 1]
    with pytest.raises(ValueError, match="no matrix is called 'differences'; there are: cka, difference"):
        plot_heatmap({"cka": likeness, "difference": 1 - likeness}, distances=["differences"])
    plt.close("all")


def test_heatmap_without_numbers() -> None:
    with pytest.raises(ValueError, match="expected at least one matrix; got none"):
        plot_heatmap({})
    with pytest.raises(ValueError, match="matrix 'dead' holds no number to draw"):
        plot_heatmap({"dead": square([[np.nan]])})
    plt.close("all")


def test_layers_that_run_several_times_hold_others() -> None:
    names = ["stem", "block.conv1@1", "block.conv2@1", "block@1", "block.conv1@2", "block@2", "other.conv1", "other"]
    inside = ["block.conv1@1", "block.conv2@1", "block.conv1@2", "other.conv1"]
    assert nested_layers(names) == {"outputs": ["block@1", "block@2", "other"], "inside": inside}
