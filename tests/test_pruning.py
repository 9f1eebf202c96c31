"""Where the curve is level or falls, against scipy's paired t-test and by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from scipy import stats

from graphmod.plots.grid import SHADES, plot_grid
from graphmod.pruning import count_phases, redundant_layers


def measured(q: np.ndarray) -> pd.DataFrame:
    """A table of `measure` of Q `[repeats, layers]`, with another metric beside it."""
    rows = [
        (repeat, f"layer{depth}", depth, metric, value)
        for repeat, curve in enumerate(q)
        for depth, value in enumerate(curve, start=1)
        for metric in ("modularity", "overlap")
    ]
    return pd.DataFrame(rows, columns=["repeat", "layer", "depth", "metric", "value"])


def test_phases_are_counted_in_the_order_given() -> None:
    q = {"b": [0.1, 0.0, 0.0, 0.5], "a": [0.2, 0.4]}
    curves = [
        redundant_layers(measured(np.array([values])), tolerance=0.01).assign(network=network, dataset=dataset)
        for dataset in ("z", "y")
        for network, values in q.items()
    ]
    table = count_phases(pd.concat(curves))
    assert table[["network", "dataset"]].to_numpy().tolist() == [["b", "z"], ["a", "z"], ["b", "y"], ["a", "y"]]
    assert table.iloc[0, 2:].tolist() == [4, 1, 1, 1, 0.1, 0.0, 0.5]
    assert table.iloc[3, 2:].tolist() == [2, 1, 0, 0, 0.2, 0.2, 0.4]


def test_phases_are_those_of_a_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    steps = np.array([0.1, 0.0, 0.2, -0.1, 0.003, -0.05, 0.0, 0.3, 0.0, 0.01])
    noise = 0.02 * generator.standard_normal((6, 10)) + 0.3 * generator.standard_normal((6, 1))  # draws differ in level
    q = steps.cumsum() + noise
    table = redundant_layers(measured(q))
    assert table.layer.tolist() == [f"layer{i}" for i in range(1, 11)]
    np.testing.assert_allclose(table.modularity, q.mean(axis=0))
    assert np.isnan(table.gain[0])
    assert pd.isna(table.phase[0])
    for i in range(1, 10):
        test = stats.ttest_rel(q[:, i], q[:, i - 1])
        interval = test.confidence_interval(0.95)
        assert (table.gain_low[i], table.gain_high[i]) == pytest.approx((interval.low, interval.high))
        expected = "plateau" if test.pvalue > 0.05 else "separation" if test.statistic > 0 else "degradation"
        assert table.phase[i] == expected
    assert set(table.phase[1:]) == {"separation", "plateau", "degradation"}


def test_a_stated_tolerance_needs_one_repeat() -> None:
    q = np.array([[0.1, 0.15, 0.16, 0.1]])
    assert redundant_layers(measured(q), tolerance=0.02).phase.tolist()[1:] == ["separation", "plateau", "degradation"]
    assert redundant_layers(measured(q), tolerance=0).phase.tolist()[1:] == ["separation", "separation", "degradation"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "one repeat says nothing about chance; measure several repeats, or state a tolerance"),
        ({"confidence": 1.0}, r"confidence must be in \(0, 1\); got 1.0"),
        ({"tolerance": -0.1}, "tolerance must be at least 0; got -0.1"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        redundant_layers(measured(np.array([[0.1, 0.2]])), **settings)


def test_no_modularity() -> None:
    table = measured(np.array([[0.1, 0.2]]))
    with pytest.raises(ValueError, match="the table has no metric 'modularity'; measure the graphs"):
        redundant_layers(table[table.metric == "overlap"])


def test_grid_has_a_curve_for_each_pair_and_shades_what_idles() -> None:
    one = pd.DataFrame({"depth": [1, 2, 3, 4], "modularity": [0.1, 0.1, 0.05, 0.8]})
    one["phase"] = [None, "plateau", "degradation", "separation"]
    pairs = [("a", "x"), ("b", "x"), ("a", "y"), ("b", "y")]
    first = plot_grid(pd.concat([one.assign(network=network, dataset=dataset) for network, dataset in pairs]))
    axes = first.figure.axes
    assert [ax.get_title() for ax in axes] == ["a\nx", "b\nx", "a\ny", "b\ny"]
    for ax in axes:
        assert list(ax.lines[0].get_ydata()) == [0.1, 0.1, 0.05, 0.8]
        spans = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
        assert sorted((patch.get_x(), patch.get_width()) for patch in spans) == [(1, 1), (2, 1)]
    assert [text.get_text() for text in first.get_legend().get_texts()] == list(SHADES)
    plt.close("all")
