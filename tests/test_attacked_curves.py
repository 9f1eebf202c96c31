"""Curves under attack, on networks whose answers are known beforehand."""

import pandas as pd
import pytest
from test_adversarial import planted

from graphmod import modularity_curve
from graphmod.attacked_curves import attacked_curves, first_departure, strength_sweep


def test_curves_of_all_and_of_the_fooled_have_their_clean_counterpart() -> None:
    model, x, y = planted(120)
    swapped = x.clone()
    swapped[:30], swapped[30:60] = x[:30].roll(1, dims=0), x[30:60].roll(2, dims=0)  # images of the two other classes
    layers = ["1"]
    curves, graphs = attacked_curves(model, x, y, {"swap": swapped, "none": x}, layers=layers)
    rows = curves.set_index(["condition", "samples"])
    assert list(rows.index) == [("clean", "all"), ("swap", "all"), ("swap", "fooled"), ("none", "all")]
    clean = modularity_curve(model, x, y, layers=layers).modularity.item()
    assert rows.modularity["clean", "all"] == pytest.approx(clean)
    assert rows.modularity["none", "all"] == pytest.approx(clean)
    assert (rows.clean[["swap", "none"]].xs("all", level=1) == rows.modularity["clean", "all"]).all()
    assert rows.num_samples["swap", "fooled"] == 60
    assert rows.clean["swap", "fooled"] == pytest.approx(2 / 3, abs=0.01)  # the same samples, of three equal classes
    assert rows.modularity["swap", "fooled"] == pytest.approx(1 / 2 - 1 / 3, abs=0.15)  # two classes in each cluster
    assert rows.label_overlap["swap", "fooled"] == pytest.approx(1 / 2, abs=0.15)
    assert rows.ami["clean", "all"] == pytest.approx(1) or rows.modularity_found["clean", "all"] >= clean - 1e-9
    assert set(graphs) == {"clean", "swap", "none"}


def test_the_first_layer_outside_the_band() -> None:
    base = {"samples": "all", "layer": ["a", "b", "c"], "depth": [1, 2, 3], "standard_error": [0.05, 0.02, 0.01]}
    clean = pd.DataFrame({**base, "condition": "clean", "modularity": [0.1, 0.5, 0.8]})
    near = pd.DataFrame({**base, "condition": "near", "modularity": [0.19, 0.47, 0.785]})
    far = pd.DataFrame({**base, "condition": "far", "modularity": [0.05, 0.44, 0.3]})
    table = first_departure(pd.concat([clean, near, far])).set_index("condition")
    assert pd.isna(table.departs_at["near"])
    assert table.departs_at["far"] == "b"
    assert table.departs_at_depth["far"] == 2
    assert table.change_there["far"] == pytest.approx(-0.06)
    assert table.change_last.tolist() == pytest.approx([-0.015, -0.5])
    assert first_departure(pd.concat([clean, near]), confidence=0.8).departs_at.item() == "a"
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\); got 95"):
        first_departure(clean, confidence=95)


def test_a_sweep_starts_with_the_images_as_they_are_and_fools_ever_more() -> None:
    model, x, y = planted()
    table = strength_sweep(model, x, y, "fgsm", [0.1, 0.3, 0.5], layers=["1"], compat=None)
    assert table.eps.tolist() == [0, 0.1, 0.3, 0.5]
    assert table.success.is_monotonic_increasing
    assert table.success.tolist()[::3] == [0, 1]
    assert table.modularity[0] == pytest.approx(modularity_curve(model, x, y, layers=["1"]).modularity.item())


def test_a_sweep_hands_on_every_setting_and_keeps_every_strength_apart() -> None:
    model, x, y = planted()
    table = strength_sweep(model, x, y, "fgsm", [1e-5, 4e-5, 8 / 255], layers=["1"])
    assert table.eps.tolist() == [0, 1e-5, 4e-5, 8 / 255]
    clipped = strength_sweep(model, x, y, "fgsm", [8 / 255], layers=["1"], compat="lu2022")
    assert clipped.modularity.iloc[-1] != table.modularity.iloc[-1]
    with pytest.raises(TypeError, match="epss"):
        strength_sweep(model, x, y, "fgsm", [0.1], layers=["1"], epss=3)
