import itertools
from importlib import import_module

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import FillBetweenPolyCollection

from graphmod._family import members
from graphmod.plots.alluvial import plot_alluvial
from graphmod.plots.conditions import plot_conditions
from graphmod.plots.curve import plot_curve
from graphmod.plots.mixing import plot_mixing
from graphmod.plots.panels import plot_panels
from graphmod.plots.sweep import plot_sweep
from graphmod.plots.training import plot_training
from graphmod.published import published_curve
from graphmod.trajectories import community_flows


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", members("graphmod.plots"))
def test_contract(name: str) -> None:
    function = getattr(import_module(f"graphmod.plots.{name}"), f"plot_{name}")
    for section in ("Args:", "Returns:", "Example:"):
        assert section in function.__doc__


def curve(num_layers: int = 5, std: float = 0.02) -> pd.DataFrame:
    q = np.linspace(0.1, 0.8, num_layers)
    layers = [f"layer{i}" for i in range(num_layers)]
    return pd.DataFrame(
        {"layer": layers, "depth": range(1, num_layers + 1), "modularity": q, "maximum": 0.9, "modularity_std": std}
    )


def test_the_line_and_the_band_show_the_table() -> None:
    table = curve()
    ax = plot_curve(table, label="ours")
    line = ax.lines[0]
    np.testing.assert_allclose(line.get_ydata(), table.modularity)
    np.testing.assert_allclose(line.get_xdata(), table.depth)
    (band,) = [artist for artist in ax.collections if isinstance(artist, FillBetweenPolyCollection)]
    assert band.get_paths()[0].get_extents().ymax == pytest.approx(0.82)
    assert [label.get_text() for label in ax.get_xticklabels()] == list(table.layer)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ours", "largest possible Q"]


def test_no_band_for_a_single_repeat() -> None:
    assert not plot_curve(curve(std=np.nan)).collections


def test_curves_beside_are_stretched_from_first_to_last_layer() -> None:
    ax = plot_curve(curve(), beside={"ResNet18": published_curve("ResNet18")})
    dashed = ax.lines[-1]
    assert dashed.get_linestyle() == "--"
    assert (dashed.get_xdata()[0], dashed.get_xdata()[-1], len(dashed.get_xdata())) == (1, 5, 9)


def test_curves_beside_have_their_own_depths_and_the_metric_that_is_drawn() -> None:
    other = pd.DataFrame({"depth": [3, 1, 2], "maximum": [0.3, 0.1, 0.2], "modularity": 0.0})
    other.loc[0, "depth"] = 11
    line = plot_curve(curve(), metric="maximum", beside={"other": other}).lines[-1]
    assert line.get_xdata().tolist() == pytest.approx([1, 1.4, 5])
    assert line.get_ydata().tolist() == [0.1, 0.2, 0.3]
    with pytest.raises(ValueError, match="the table has no column 'maximum'; it has layer, depth"):
        plot_curve(curve(), metric="maximum", beside={"other": other[["depth"]].assign(layer="a")[["layer", "depth"]]})


def test_many_layers_are_counted_not_named() -> None:
    labels = [label.get_text() for label in plot_curve(curve(100)).get_xticklabels()]
    assert labels[0] == "1"
    assert len(labels) <= 30


def test_draws_where_it_is_told_to_and_another_metric() -> None:
    ax = plt.subplots()[1]
    assert plot_curve(curve(), metric="maximum", ax=ax) is ax
    assert ax.get_ylabel() == "maximum"
    with pytest.raises(ValueError, match="the table has no column 'q'; it has layer, depth, modularity"):
        plot_curve(curve(), metric="q")


def test_training() -> None:
    table = pd.DataFrame({"epoch": [1, 2], "train_accuracy": [0.5, 0.6], "test_accuracy": [0.4, 0.5], "loss": [1, 2]})
    assert [line.get_label() for line in plot_training(table).lines] == ["train", "test"]


# --- panels ---


def test_panels_show_their_columns_with_the_band_that_there_is() -> None:
    table = curve().assign(ami=0.5, null_mean=0.0, null_low=-0.1, null_high=0.3)
    first = plot_panels(table, {"Q": ["modularity", "null_mean"], "agreement": ["ami"]})
    axes = first.figure.axes
    assert [ax.get_title(loc="left") for ax in axes] == ["Q", "agreement"]
    np.testing.assert_allclose(first.lines[0].get_ydata(), table.modularity)
    q, null = first.collections
    assert q.get_paths()[0].get_extents().ymax == pytest.approx(0.82)
    assert null.get_paths()[0].get_extents().get_points()[:, 1] == pytest.approx([-0.1, 0.3])
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["modularity", "null mean"]
    assert axes[1].get_legend() is None
    assert [label.get_text() for label in axes[1].get_xticklabels()] == list(table.layer)
    with pytest.raises(ValueError, match="the table has no column 'q'; it has layer, depth"):
        plot_panels(table, {"Q": ["q"]})


# --- mixing ---


def test_mixing_colours_the_ratios() -> None:
    matrix = torch.tensor([[4.0, 0.0], [0.0, 1.0]])
    first = plot_mixing({"conv1": matrix, "fc": matrix}, ["cat", "dog"])
    (mesh,) = first.collections
    assert mesh.get_array().flatten().tolist() == pytest.approx([4, 1 / 16, 1 / 16, 1])
    assert [ax.get_title() for ax in first.figure.axes[:2]] == ["conv1", "fc"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["cat", "dog"]
    with pytest.raises(ValueError, match=r"matrix 'conv1' must be \[3, 3\], one row for each class"):
        plot_mixing({"conv1": matrix}, ["cat", "dog", "frog"])


# --- alluvial ---


def test_alluvial_bars_hold_every_sample_and_streams_meet_them() -> None:
    generator = torch.Generator().manual_seed(0)
    found = torch.randint(0, 5, (4, 100), generator=generator)
    labels = torch.randint(0, 3, (100,), generator=generator)
    ax = plot_alluvial(community_flows(found, labels), ["a", "b", "c", "d"], ["cat", "dog", "frog"])
    bars: dict[int, list[tuple[float, float, tuple]]] = {}
    for bar in ax.patches:
        bars.setdefault(round(bar.get_x() + bar.get_width() / 2), []).append(
            (bar.get_y(), bar.get_y() + bar.get_height(), bar.get_facecolor())
        )
    assert {x: sum(high - low for low, high, _ in found) for x, found in bars.items()} == dict.fromkeys(
        range(1, 5), 100
    )
    for x in range(1, 5):  # no two bars of a layer overlap
        ordered = sorted(bars[x])
        assert all(after[0] >= before[1] - 1e-9 for before, after in itertools.pairwise(ordered))
    for x in (2, 3):  # streams that arrive at a layer stand on the places of its bars, class by class
        arriving = [path.get_paths()[0].vertices for path in ax.collections]
        ends = [(v[v[:, 0] > x - 0.07], c) for v, c in zip(arriving, ax.collections, strict=True) if v[0, 0] < x - 0.5]
        ends = [(v[:, 1].min(), v[:, 1].max(), c) for v, c in ends if len(v) and abs(v[:, 0].max() - (x - 0.06)) < 1e-6]
        assert sum(high - low for low, high, _ in ends) == pytest.approx(100)
        for low, high, stream in ends:
            middle = (low + high) / 2
            colour = next(color for below, above, color in bars[x] if below <= middle <= above)
            assert colour[:3] == pytest.approx(tuple(stream.get_facecolor()[0][:3]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["frog", "dog", "cat"]
    with pytest.raises(ValueError, match="expected names of 4 layers and at least 3 classes; got 2 and 3"):
        plot_alluvial(community_flows(found, labels), ["a", "b"], ["cat", "dog", "frog"])


def test_conditions_have_their_line_band_and_colour() -> None:
    table = pd.concat([curve().assign(condition=name, standard_error=0.01) for name in ("clean", "pgd", "noise")])
    ax = plot_conditions(table, ["noise"], {"pgd": published_curve("ResNet18", condition="PGD")})
    assert [line.get_label() for line in ax.lines] == ["clean", "pgd", "noise"]
    assert [line.get_linestyle() for line in ax.lines] == ["-", "-", "--"]
    assert len(ax.collections) == 3
    other = ax.figure.axes[1]
    assert other.lines[0].get_color() == ax.lines[1].get_color()
    assert other.get_ylim() == ax.get_ylim()
    assert len(plot_conditions(table).figure.axes) == 1


def test_long_names_end_where_they_differ() -> None:
    names = [f"network.encoder.layers.encoder_layer_{i}" for i in range(12)]
    ax = plot_curve(pd.DataFrame({"layer": names, "depth": range(1, 13), "modularity": 0.5}))
    shown = [label.get_text() for label in ax.get_xticklabels()]
    assert shown[11] == "…ers.encoder_layer_11"
    assert len(set(shown)) == 12
    ax.figure.canvas.draw()
    assert ax.get_window_extent().height > 0.4 * ax.figure.bbox.height
    plt.close("all")


def test_a_long_title_of_a_panel_is_broken() -> None:
    curve = pd.DataFrame({"layer": list("abcd"), "depth": range(1, 5), "q": 0.5})
    ax = plot_panels(curve, {"words " * 20: ["q"]})
    ax.figure.canvas.draw()
    assert ax._left_title.get_window_extent().x1 <= ax.figure.bbox.x1
    plt.close("all")


def test_many_values_of_a_setting_have_many_colours_and_a_legend_outside() -> None:
    names = [f"network {i}" for i in range(12)]
    table = pd.DataFrame([(name, "ab"[d - 1], d, 0.5) for name in names for d in (1, 2)])
    ax = plot_sweep(table.set_axis(["network", "layer", "depth", "modularity"], axis=1), "network")
    assert len({line.get_color() for line in ax.lines}) == 12
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1
    plt.close("all")


def test_conditions_at_one_layer_are_points() -> None:
    curves = pd.DataFrame({"condition": ["clean", "pgd"], "layer": "fc", "depth": 1, "modularity": [0.8, 0.2]})
    ax = plot_conditions(curves.assign(standard_error=0.01))
    points = [line for line in ax.lines if not line.get_label().startswith("_")]
    assert [line.get_marker() for line in points] == ["o", "o"]
    plt.close("all")
