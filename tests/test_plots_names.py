"""What is written beside a picture: names of layers that stay short, names of classes that all fit, and no gaps bridged."""

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image
from torch import Tensor, arange, stack

from graphmod.animations import write_gif
from graphmod.plots._axes import plain, short, short_titles
from graphmod.plots.alluvial import plot_alluvial
from graphmod.plots.conditions import plot_conditions
from graphmod.plots.curve import plot_curve
from graphmod.plots.dynamics import plot_dynamics
from graphmod.plots.embedding import plot_embedding
from graphmod.plots.graph_strip import plot_graph_strip
from graphmod.plots.grid import plot_grid
from graphmod.plots.heatmap import plot_heatmap
from graphmod.plots.mixing import plot_mixing
from graphmod.plots.panels import plot_panels
from graphmod.plots.pruning import plot_pruning
from graphmod.plots.scatter import plot_scatter
from graphmod.plots.sweep import plot_sweep
from graphmod.plots.training import plot_training
from graphmod.trajectories import community_flows

LAYERS = [f"bert.encoder.layer.{i}.attention.output.dense" for i in range(12)]


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def texts(ax: Axes) -> list[str]:
    """The legend of the axes, or of their figure."""
    legend = ax.get_legend() or ax.figure.legends[0]
    return [text.get_text() for text in legend.get_texts()]


def inside(ax: Axes) -> bool:
    """Whether the legend and the titles of all axes lie in the figure, once it is drawn."""
    ax.figure.canvas.draw()
    written = [ax.get_legend() or ax.figure.legends[0], *(one.title for one in ax.figure.axes if one.get_title())]
    boxes = [one.get_window_extent() for one in written]
    whole = ax.figure.bbox
    return all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= whole.x1 and box.y1 <= whole.y1 for box in boxes)


def curve(layers: list[str], **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"layer": layers, "depth": range(1, len(layers) + 1), "modularity": 0.5} | columns)


def flows(labels: Tensor) -> pd.DataFrame:
    return community_flows(stack([labels % 3] * 3), labels)


# --- layers ---


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (LAYERS, [f"…{i}…" for i in range(12)]),
        (["x." + "y" * 30, "z." + "y" * 30], ["x…", "z…"]),
        (["m.a." + "y" * 30, "m.b." + "y" * 30, "m.a." + "y" * 30], ["…a…", "…b…", "…a…"]),
        (["y" * 30, "z." + "y" * 30], ["1", "2"]),
        (["x" + "y" * 30, "z" + "y" * 30, "x" + "y" * 30], ["1", "2", "1"]),
        (["x" * 30] * 2, ["…" + "x" * 20] * 2),
        (["m." + "y" * 30, "m." + "y" * 30 + ".0.weight"], ["…" + "y" * 20, "…" + "y" * 11 + ".0.weight"]),
        ([1, 2], ["1", "2"]),
        ([], []),
    ],
)
def test_short_names_are_short_and_differ_as_the_names_do(names: list[str], expected: list[str]) -> None:
    assert short(names) == expected


def test_a_title_has_a_short_name_and_what_stands_under_it() -> None:
    assert short_titles([f"{name}\nQ = 0.5" for name in LAYERS[:2]]) == ["…0…\nQ = 0.5", "…1…\nQ = 0.5"]


def test_names_with_the_same_end_leave_room_for_the_curve() -> None:
    ax = plot_curve(curve(LAYERS))
    ax.figure.canvas.draw()
    assert ax.get_window_extent().height > 0.6 * ax.figure.bbox.height


def test_layers_have_short_names_in_every_picture() -> None:
    places, layers = np.random.default_rng(0).random((3, 6, 2)), LAYERS[:3]
    ax = plot_embedding(dict(zip(layers, places, strict=True)), arange(6), list("abcdef"), curve(layers))
    assert [one.get_title() for one in ax.figure.axes[:3]] == [f"…{i}… ({i + 1})\nQ = 0.50" for i in range(3)]
    assert inside(ax)
    ax = plot_graph_strip(places, [[[0], [1]]] * 3, arange(6), list("abcdef"), [f"{name}\nQ = 0.50" for name in layers])
    assert [one.get_title() for one in ax.figure.axes] == [f"…{i}…\nQ = 0.50" for i in range(3)]
    assert inside(ax)
    ax = plot_alluvial(flows(arange(6)), layers, list("abcdef"))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["…0…", "…1…", "…2…"]
    ax = plot_dynamics(curve(layers, metric="modularity", value=0.5, epoch=0))
    assert sorted(texts(ax)) == ["…0…", "…1…", "…2…"]
    assert [text.get_text() for text in ax.figure.axes[1].get_yticklabels()] == ["…0…", "…1…", "…2…"]


# --- classes ---


@pytest.mark.parametrize(("name", "num_classes"), [("c", 10), ("a name of forty letters, as ImageNet has", 60)])
def test_legends_of_classes_fit_and_name_those_that_are_there(name: str, num_classes: int) -> None:
    classes, labels = [f"{name} {c}" for c in range(1000)], 10 * arange(num_classes)
    places = np.random.default_rng(0).random((1, num_classes, 2))
    for ax in (
        plot_embedding({"fc": places[0]}, labels, classes),
        plot_graph_strip(places, [[[0], [1]]], labels, classes, ["fc"]),
        plot_alluvial(flows(labels), ["a", "b", "c"], classes),
    ):
        named = [classes[c] for c in labels[:50]] + ["and 10 more"] * (num_classes == 60)
        assert sorted(texts(ax)) == sorted(named)
        assert inside(ax)
        assert max(ax.figure.get_size_inches()) < 20


def test_names_that_begin_with_an_underscore_are_in_the_legends() -> None:
    places, classes = np.random.default_rng(0).random((1, 2, 2)), ["_cat", "dog"]
    assert texts(plot_embedding({"fc": places[0]}, [0, 1], classes)) == classes
    assert texts(plot_graph_strip(places, [[[0], [1]]], [0, 1], classes, ["fc"])) == classes
    assert set(texts(plot_alluvial(flows(arange(2)), list("abc"), classes))) == set(classes)
    table = curve(["_conv", "fc"], metric="modularity", value=0.5, epoch=0)
    assert set(texts(plot_dynamics(table))) == {"_conv", "fc"}


def test_numbers_are_names() -> None:
    places = np.random.default_rng(0).random((1, 3, 2))
    assert texts(plot_embedding({0: places[0]}, arange(3), [0, 1, 2])) == ["0", "1", "2"]
    assert texts(plot_graph_strip(places, [[[0], [1]]], arange(3), [0, 1, 2], [0])) == ["0", "1", "2"]
    ax = plot_alluvial(flows(arange(3)), [1, 2, 3], [0, 1, 2])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "2", "3"]
    assert set(texts(ax)) == {"0", "1", "2"}


@pytest.mark.parametrize(("num_classes", "size"), [(2, 100), (2000, 100), (2000, 480)])
def test_letters_of_a_gif_can_be_read_however_many_classes(num_classes: int, size: int, tmp_path: Path) -> None:
    labels = np.arange(0, num_classes, max(num_classes // 400, 1))
    places = np.random.default_rng(0).random((1, len(labels), 2)) * [1, 0.1]
    classes = [f"class {c}" for c in range(num_classes)]
    write_gif(tmp_path / "a.gif", places, [[[], []]], labels, classes, ["fc"], size=size)
    with Image.open(tmp_path / "a.gif") as image:
        pixels = np.array(image.convert("RGB"))
    right = pixels[round(0.08 * size) :, round(1.05 * size) :]
    lines = (right.min(axis=(1, 2)) < 235).astype(int)  # rows with letters
    starts = np.flatnonzero(np.diff(lines, prepend=0) == 1)
    assert len(starts) == min(num_classes, size // 9, 51)
    assert lines.sum() / len(starts) >= 6, "an l is at least 6 pixels high"


def test_more_classes_than_a_gif_has_colours_leave_its_own(tmp_path: Path) -> None:
    labels = np.arange(300)
    places = np.full((1, 300, 2), 0.5)
    places[0, 0], places[0, 299] = (0, 0), (0, 1)
    write_gif(tmp_path / "a.gif", places, [[[0], [299]]], labels, [str(c) for c in labels], ["fc"], size=400)
    with Image.open(tmp_path / "a.gif") as image:
        pixels = np.array(image.convert("RGB"))
    assert (pixels == 60).all(axis=2).any(), "what is written"
    assert (pixels[232, 8:17] == 200).all(axis=1).any(), "an edge between two classes"


# --- what is not there ---


def test_a_pair_of_classes_without_a_ratio_is_grey_and_not_white() -> None:
    ax = plot_mixing({"fc": [[1.0, np.nan], [np.nan, 1.0]]}, ["cat", "dog"])
    ax.figure.canvas.draw()
    place = ax.transData.transform((1.5, 0.5)).astype(int)
    pixels = np.asarray(ax.figure.canvas.buffer_rgba())[::-1]
    assert pixels[place[1], place[0], :3].tolist() == [204] * 3
    assert not [line for line in ax.get_xgridlines() if line.get_visible()]


def test_many_classes_are_numbered() -> None:
    ax = plot_mixing({"fc": np.ones((40, 40))}, [f"class {c}" for c in range(40)])
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["0", "10", "20", "30"]
    assert ax.collections[0].get_linewidth().tolist() == [0], "lines between cells would cover them"


def test_a_layer_without_q_is_a_gap() -> None:
    line = plot_curve(curve(list("abcd"), modularity=[0.1, np.nan, 0.3, 0.4])).lines[0]
    np.testing.assert_array_equal(line.get_ydata(), [0.1, np.nan, 0.3, 0.4])
    assert (line.get_marker(), line.get_markeredgecolor()) == ("o", "white")


def test_the_interval_of_a_single_layer_is_a_bar() -> None:
    one = curve(["fc"], modularity_std=0.1, condition="clean", standard_error=0.05, k=3)
    two = pd.concat([one.assign(modularity=q) for q in (0.4, 0.6)])
    for ax in (plot_curve(one), plot_panels(one, {"Q": ["modularity"]}), plot_conditions(one), plot_sweep(two, "k")):
        (bar,) = [found for found in ax.collections if hasattr(found, "get_segments")]
        np.testing.assert_allclose(bar.get_segments()[0], [[1, 0.4], [1, 0.6]])


# --- stages and networks ---


def test_many_stages_have_colours_of_their_own_and_a_legend_beside_the_points() -> None:
    layers = [f"stage{i // 2}.{i % 2}" for i in range(28)]
    ax = plot_scatter(
        pd.DataFrame({"layer": layers, "gain": range(28), "change": 1, "loss": range(28)}), ["gain"], "loss"
    )
    assert len(np.unique(ax.collections[0].get_facecolors(), axis=0)) == 14
    assert texts(ax) == [f"stage{i}" for i in range(14)]
    assert inside(ax)
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_the_name_of_a_network_stays_as_it_is() -> None:
    table = pd.DataFrame({"network": ["whole", "60% less"], "macs": [100, 40], "accuracy": [0.9, 0.4]})
    names = [text.get_text() for text in plot_pruning(table).get_yticklabels()]
    assert names == ["whole\n100 % of MACs", "60% less\n40 % of MACs"]


def test_a_strip_of_layers_numbers_them() -> None:
    wide = pd.DataFrame(
        np.random.default_rng(0).random((5, 40)), [f"a{i}" for i in range(5)], [f"b{i}" for i in range(40)]
    )
    ax = plot_heatmap({"cka": wide})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1"]
    ax.figure.canvas.draw()
    bar = next(one for one in ax.figure.axes if one is not ax)
    assert bar.get_window_extent().height < 2 * ax.get_window_extent().height


@pytest.mark.parametrize("letters", [5, 27, 33, 60])
def test_names_of_classes_of_any_length_fit_beside_the_mixing(letters: int) -> None:
    names = [f"{i} {'n' * (letters - 2)}" for i in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = plot_mixing({name: np.ones((3, 3)) for name in ("conv1", "layer2.0", "layer3.0")}, names)
        ax.figure.canvas.draw()
    frame = ax.figure.bbox
    for label in [*ax.get_yticklabels(), *ax.get_xticklabels(), ax.figure.axes[-1].yaxis.label]:
        box = label.get_window_extent()
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1
    assert ax.get_window_extent().width > 1.5 * ax.figure.dpi


def test_a_curve_of_one_layer_shows_what_stands_beside_it() -> None:
    curve = pd.DataFrame({"layer": ["fc"], "depth": [1], "modularity": [0.5], "maximum": [0.9]})
    ax = plot_curve(curve, label="mine", beside={"other": curve.assign(modularity=0.3)})
    assert all(line.get_marker() not in ("", "None") for line in ax.lines)


def test_dollars_are_no_formulas(tmp_path: Path) -> None:
    names = ["US$", "CA$ & AU$ {x", r"yen $\foo$"]
    assert plain("a$b") == r"a\$b"
    curve = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "modularity": [0.1, 0.8]})
    figures = [
        plot_mixing({"conv1": np.ones((3, 3))}, names),
        plot_curve(curve, label=names[2], beside={names[1]: curve}),
        plot_conditions(pd.concat([curve.assign(condition=name, standard_error=0.1) for name in names])),
        plot_grid(curve.assign(network=names[2], dataset=names[0], phase=None)),
        plot_embedding({"conv1": torch.rand(9, 2)}, torch.arange(9) % 3, names),
    ]
    for number, ax in enumerate(figures):
        ax.figure.savefig(tmp_path / f"{number}.png")


def test_many_curves_have_their_names_outside() -> None:
    curve = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "modularity": [0.1, 0.8]})
    for number, outside in ((4, False), (5, True)):
        ax = plot_curve(curve, label="own", beside={f"network {i}": curve for i in range(number)})
        ax.figure.draw_without_rendering()
        assert (ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1) == outside


def test_titles_of_the_grid_have_a_line_for_each_name() -> None:
    curve = pd.DataFrame({"depth": [1, 2], "modularity": [0.1, 0.8], "phase": None, "network": "n" * 40})
    first = plot_grid(pd.concat([curve.assign(dataset=name) for name in ("npz:a.npz", "npz:b.npz")]))
    assert first.get_title() == "n" * 29 + "…\nnpz:a.npz"
    assert all(tick == int(tick) for tick in first.get_xticks())


def test_one_epoch_is_seen() -> None:
    assert plot_training(pd.DataFrame({"epoch": [1], "train_accuracy": [0.5]})).lines[0].get_marker() == "o"


def test_a_published_condition_that_was_not_measured_has_its_name() -> None:
    curve = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "modularity": [0.1, 0.8]})
    curves = pd.concat([curve.assign(condition=name, standard_error=0.1) for name in ("clean", "pgd")])
    ax = plot_conditions(curves, published={"clean": curve, "DeepFool": curve})
    (legend,) = [one.get_legend() for one in ax.figure.axes if one.get_legend()]
    assert [text.get_text() for text in legend.get_texts()] == ["clean", "pgd", "DeepFool"]


def test_a_grid_without_numbers() -> None:
    table = pd.DataFrame({"network": "a", "dataset": "b", "depth": [1, 2], "modularity": np.nan, "phase": None})
    assert plot_grid(table).get_title() == "a"
