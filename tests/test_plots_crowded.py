"""Pictures of very much or very little: many curves, long names, a single layer, numbers that are all the same."""

import warnings
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from graphmod.plots.alluvial import plot_alluvial
from graphmod.plots.conditions import plot_conditions
from graphmod.plots.curve import plot_curve
from graphmod.plots.dynamics import plot_dynamics
from graphmod.plots.embedding import plot_embedding
from graphmod.plots.grid import plot_grid
from graphmod.plots.mixing import plot_mixing
from graphmod.plots.pruning import plot_pruning
from graphmod.plots.removal import plot_removal
from graphmod.plots.scatter import plot_scatter
from graphmod.plots.sweep import plot_sweep


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def curve(num_layers: int = 2, **columns: object) -> pd.DataFrame:
    depth = np.arange(1, num_layers + 1)
    layers = [f"layer{i}" for i in depth]
    return pd.DataFrame({"layer": layers, "depth": depth, "modularity": depth / 10, "standard_error": 0.01} | columns)


def each(names: list, column: str) -> pd.DataFrame:
    return pd.concat([curve(**{column: name}) for name in names])


def check_room(ax: Axes) -> None:
    """The legend is whole, and the axes beside it are at least as wide as a small picture's."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax.figure.canvas.draw()
    legend = next(one.get_legend() for one in ax.figure.axes if one.get_legend())
    box, frame = legend.get_window_extent(), ax.figure.bbox
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= frame.x1 + 1
    assert box.y1 <= frame.y1 + 1
    assert ax.get_window_extent().width > 2 * ax.figure.dpi


# --- legends ---


def test_legends_of_many_lines_are_whole() -> None:
    check_room(plot_sweep(each(list(range(30)), "k"), "k"))
    check_room(plot_conditions(each([f"attack {i}" for i in range(30)], "condition")))
    check_room(plot_curve(curve(), beside={f"network {i}": curve() for i in range(30)}))
    stages = [f"features.block{i // 2}.{i % 2}" for i in range(60)]
    check_room(plot_scatter(pd.DataFrame({"layer": stages, "gain": range(60), "loss": range(60)}), ["gain"], "loss"))


def test_legends_of_long_names_leave_room_for_the_picture() -> None:
    names = [f"{i} {'n' * 60}" for i in range(7)]
    check_room(plot_sweep(each(names, "network"), "network"))
    check_room(plot_conditions(each(names, "condition")))
    check_room(plot_curve(curve(), beside={name: curve() for name in names}))
    flows = pd.DataFrame({"depth": 1, "community": [0, 1], "next_community": [0, 1], "label": [0, 1], "num_samples": 5})
    check_room(plot_alluvial(flows, ["conv1", "fc"], names))
    stages = [f"{'n' * 40}{i}.0" for i in range(3)]
    check_room(plot_scatter(pd.DataFrame({"layer": stages, "gain": range(3), "loss": range(3)}), ["gain"], "loss"))


def test_dollars_in_the_names_of_a_sweep_are_no_formulas() -> None:
    plot_sweep(each(["US$", "CA$ {x"], "network"), "network").figure.canvas.draw()


def test_fractions_are_short_in_a_legend() -> None:
    ax = plot_sweep(each([0.0, 2 / 255], "eps"), "eps")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "0.00784314"]


@pytest.mark.parametrize("name", ["embedding", "mixing"])
def test_titles_side_by_side_do_not_meet(name: str) -> None:
    layers = [f"network.features.denseblock3.denselayer{i}.conv2" for i in range(10, 13)]
    if name == "mixing":
        ax = plot_mixing({layer: np.ones((2, 2)) for layer in layers}, ["cat", "dog"])
    else:
        table = curve(12, layer=[f"layer{i}" for i in range(9)] + layers)
        ax = plot_embedding({layer: np.eye(2) for layer in layers}, [0, 1], ["cat", "dog"], table)
    ax.figure.canvas.draw()
    boxes = [one.title.get_window_extent() for one in ax.figure.axes[:3]]
    assert boxes[0].x0 >= 0
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_numbers_under_a_scatter_do_not_meet() -> None:
    table = pd.DataFrame({"layer": [f"a.{i}" for i in range(9)], "gain": np.linspace(-0.07, 0.08, 9), "loss": range(9)})
    ax = plot_scatter(table, ["gain"] * 3, "loss")
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(left.x1 + 8 < right.x0 for left, right in pairwise(boxes))


def test_the_largest_possible_q_is_named_above_its_line() -> None:
    table = curve(3, maximum=[0.5, 0.9, 0.6])
    ax = plot_embedding({"layer1": np.eye(2)}, [0, 1], ["cat", "dog"], table).figure.axes[-1]
    assert ax.texts[0].xy == (3, 0.9)


# --- what tells lines apart ---


def test_lines_of_more_than_ten_names_have_markers_of_their_own() -> None:
    names = [f"name {i}" for i in range(12)]
    sweep, few = plot_sweep(each(names, "network"), "network"), plot_sweep(each(names[:10], "network"), "network")
    assert [len({line.get_marker() for line in ax.lines}) for ax in (sweep, few)] == [12, 1]
    attacks, few = (plot_conditions(each(some, "condition")) for some in (names, names[:10]))
    assert [len({line.get_marker() for line in ax.lines}) for ax in (attacks, few)] == [12, 1]


def test_many_curves_beside_differ_in_hue() -> None:
    ax = plot_curve(curve(), beside={f"network {i}": curve() for i in range(6)})
    shades = np.array([line.get_color() for line in ax.lines[1:]])
    apart = np.linalg.norm(shades[:, None] - shades[None], axis=2)[np.triu_indices(6, 1)]
    assert apart.min() > 0.25


def test_a_condition_keeps_its_colour_where_others_are_left_out() -> None:
    curves = each(["clean", "pgd", "fgsm", "noise"], "condition")
    part = curves[curves.condition != "pgd"]
    whole, some = plot_conditions(curves, ["noise"]), plot_conditions(part, ["noise"], order=curves.condition)
    look = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in whole.lines}
    found = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in some.lines}
    assert found == {name: look[name] for name in ("clean", "fgsm", "noise")}


@pytest.mark.parametrize("column", ["network", "dataset"])
def test_long_titles_of_a_grid_differ_where_the_names_do(column: str) -> None:
    names = [f"folder:/home/someone/data/imagenet/{part}" for part in ("cats", "dogs")]
    table = pd.concat([curve(network="a", dataset="b", phase=None).assign(**{column: name}) for name in names])
    titles = [ax.get_title().split("\n")[0 if column == "network" else 1] for ax in plot_grid(table).figure.axes]
    assert [len(title) for title in titles] == [30, 30]
    assert [title[-4:] for title in titles] == ["cats", "dogs"]


# --- a single layer, numbers without an order ---


def test_what_is_counted_once_has_one_whole_tick() -> None:
    one = curve(1, network="a", dataset="b", phase=None)
    removed = pd.DataFrame({"criterion": "gain", "removed": [0], "accuracy": 0.9, "accuracy_reestimated": 0.9})
    epochs = pd.DataFrame({"epoch": [3], "layer": "fc", "depth": 1, "metric": "modularity", "value": 0.5})
    cloud = plot_embedding({"layer1": np.eye(2)}, [0, 1], ["cat", "dog"], one)
    for ax in (plot_grid(one), plot_removal(removed), plot_dynamics(epochs), cloud.figure.axes[-1]):
        low, high = ax.get_xlim()
        ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
        assert [tick % 1 for tick in ticks] == [0]


def test_the_accuracy_of_one_epoch_is_seen() -> None:
    table = pd.DataFrame({"epoch": 0, "layer": ["fc", ""], "depth": [1, 0], "metric": ["modularity", "accuracy"]})
    ax = plot_dynamics(table.assign(value=[0.5, 0.9]), accuracy="accuracy")
    assert all(line.get_marker() not in ("", "None") for line in ax.lines)


@pytest.mark.parametrize("loss", [[0.0, 0.0, 0.0], [0.0]])
def test_equal_numbers_have_no_rank_correlation(loss: list[float]) -> None:
    table = pd.DataFrame({"layer": ["a.0", "a.1", "b.0"], "gain": [0.1, 0.2, 0.3]})[: len(loss)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plot_scatter(table.assign(loss=loss), ["gain"], "loss").get_title() == "Spearman undefined"


def test_negative_numbers_have_the_minus_of_the_axes() -> None:
    table = pd.DataFrame({"layer": ["a.0", "a.1"], "gain": [1, 2], "loss": [2, 1]})
    assert plot_scatter(table, ["gain"], "loss").get_title() == "Spearman −1.00"
    networks = pd.DataFrame({"network": ["whole", "half"], "macs": [2, 1], "accuracy": 0.9, "accuracy_last": 0.8})
    gains = plot_pruning(networks).figure.axes[1]
    assert [text.get_text() for text in gains.texts] == ["−10.00", "−10.00"]


# --- many classes ---


def test_numbers_of_many_classes_can_be_read() -> None:
    ax = plot_mixing({name: np.ones((120, 120)) for name in "abc"}, [str(i) for i in range(120)])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("class", "class")
    assert ax.figure.get_size_inches()[0] < 18


# --- hardly any Q ---


def test_a_q_that_rounds_to_nought_is_not_negative() -> None:
    table = curve(1, modularity=-0.001)
    assert plot_embedding({"layer1": np.eye(2)}, [0, 1], ["cat", "dog"], table).get_title() == "layer1 (1)\nQ = 0.00"
