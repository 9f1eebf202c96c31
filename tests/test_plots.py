import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import FillBetweenPolyCollection

from graphmod.curves import published_curve
from graphmod.plots import plot_curve, plot_training


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


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


def test_published_curves_are_stretched_from_first_to_last_layer() -> None:
    ax = plot_curve(curve(), published={"ResNet18": published_curve("ResNet18")})
    dashed = ax.lines[-1]
    assert dashed.get_linestyle() == "--"
    assert (dashed.get_xdata()[0], dashed.get_xdata()[-1], len(dashed.get_xdata())) == (1, 5, 9)


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
