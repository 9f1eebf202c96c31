"""Means, spreads and agreement of curves, against scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import interpolate, stats

from graphmod.curve_tables import compare_curves, rank_correlation, summarize


def test_a_repeat_without_a_value_is_seen() -> None:
    values = pd.DataFrame({"repeat": [0, 1], "layer": "a", "depth": 1, "metric": "modularity", "value": [0.5, np.nan]})
    assert summarize(values)[["modularity", "modularity_std"]].isna().all(axis=None)


def test_only_a_table_of_measure_is_summarized() -> None:
    with pytest.raises(ValueError, match="the table has no column 'metric'; pass the one that measure returns"):
        summarize(pd.DataFrame({"layer": ["a"], "modularity": [0.5]}))
    tracked = pd.DataFrame({"epoch": [0], "layer": ["a"], "depth": [1], "metric": ["modularity"], "value": [0.5]})
    with pytest.raises(ValueError, match="the table has no column 'repeat'; pass the one that measure returns"):
        summarize(tracked)


def test_curves_agree_in_numbers() -> None:
    generator = np.random.default_rng(0)
    curve = pd.DataFrame({"layer": list("abcdefgh"), "depth": range(1, 9), "modularity": generator.random(8)})
    other = pd.DataFrame({"depth": [1, 2, 3], "modularity": [0.2, 0.1, 0.9]})
    first, second = compare_curves(curve, {"other": other, "same": curve}).to_dict("records")
    stretched = interpolate.interp1d([0, 0.5, 1], other.modularity)(np.arange(8) / 7)
    assert first["spearman"] == pytest.approx(stats.spearmanr(curve.modularity, stretched).statistic)
    difference = np.abs(curve.modularity - stretched)
    assert (first["largest_difference"], first["at"]) == (
        pytest.approx(difference.max()),
        "abcdefgh"[difference.argmax()],
    )
    assert (second["num_layers"], second["spearman"], second["largest_difference"]) == (8, pytest.approx(1), 0)


def test_rank_correlation_is_scipys() -> None:
    generator = np.random.default_rng(0)
    curve = pd.DataFrame(generator.random((9, 3)), columns=["modularity", "ami", "purity"])
    curve = curve.assign(
        layer=list("abcdefghi"), depth=range(1, 10), ami_std=0.1, num_repeats=2, same=1.0, null_std=generator.random(9)
    )
    table = rank_correlation(curve).set_index("metric")
    assert list(table.index) == ["ami", "purity", "same", "null_std"]
    for name in ("ami", "purity"):
        assert table.spearman[name] == pytest.approx(stats.spearmanr(curve[name], curve.modularity).statistic)
    assert np.isnan(table.spearman["same"])
    assert set(table.num_layers) == {9}
    assert rank_correlation(curve, "ami").metric.tolist() == ["modularity", "purity", "same", "null_std"]
    with pytest.raises(ValueError, match="the table has no metric 'q'; it has modularity, ami, purity, same"):
        rank_correlation(curve, "q")


def test_one_layer_is_no_curve_to_compare() -> None:
    curve = pd.DataFrame({"layer": ["a"], "depth": [3], "modularity": [0.5]})
    with pytest.raises(ValueError, match="a curve of one layer cannot be compared with others; select two layers"):
        compare_curves(curve, {"other": pd.DataFrame({"depth": [1, 2], "modularity": [0.1, 0.2]})})
    longer = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "modularity": [0.1, 0.2]})
    with pytest.raises(ValueError, match="a curve of one layer cannot be compared with others; select two layers"):
        compare_curves(longer, {"other": curve})


def test_a_constant_curve_has_no_order() -> None:
    curve = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "modularity": [0.1, 0.2]})
    (row,) = compare_curves(curve, {"flat": curve.assign(modularity=0.1)}).to_dict("records")
    assert np.isnan(row["spearman"])
    assert (row["largest_difference"], row["at"]) == (pytest.approx(0.1), "b")


def test_layers_without_a_value_and_curves_in_another_order() -> None:
    curve = pd.DataFrame(
        {"layer": list("abc"), "depth": [1, 2, 3], "modularity": [0.1, 0.2, 0.3], "hole": [1, np.nan, 2]}
    )
    assert rank_correlation(curve).num_layers.tolist() == [2]
    other = curve[["depth", "modularity"]]
    [row] = compare_curves(curve, {"turned": other.iloc[::-1]}).to_dict("records")
    assert (row["spearman"], row["largest_difference"]) == (1.0, 0.0)
