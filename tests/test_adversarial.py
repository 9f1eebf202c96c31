"""The adversarial study's parts, on networks whose answers are known beforehand."""

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import graphmod.adversarial as adversarial
from graphmod import modularity_curve
from graphmod._finished import finished_work
from graphmod.adversarial import (
    attack_strength,
    attacked,
    attacked_curves,
    attacks_and_controls,
    first_departure,
    predictions,
    published_attacks,
    recognized,
    strength_sweep,
)
from graphmod.models._normalize import Normalize


def planted(n: int = 90, seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """Three clusters of 1 x 3 x 4 images around three corners, and a network that knows them."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = (0.25 + 0.5 * torch.eye(3)[y][:, None, :, None] + 0.05 * torch.rand(n, 1, 3, 4, generator=generator)).clamp(
        0, 1
    )
    head = nn.Linear(12, 3, bias=False)
    head.weight.data = torch.eye(3).repeat_interleave(4, dim=1)
    model = nn.Sequential(Normalize([0.3], [0.5]), nn.Flatten(), head)
    assert (predictions(model, x).argmax(1) == y).all()
    return model, x, y


def test_only_what_the_network_knows_is_attacked() -> None:
    model, x, y = planted()
    wrong = torch.tensor([0, 4, 8])
    labels = y.clone()
    labels[wrong] = (labels[wrong] + 1) % 3
    rows = recognized(model, x, labels, 60)
    assert len(rows) == 60
    assert not set(rows.tolist()) & set(wrong.tolist())
    assert labels[rows].bincount().tolist() == [20, 20, 20]
    assert torch.equal(rows, rows.sort().values)
    assert not torch.equal(rows, recognized(model, x, labels, 60, seed=1))
    with pytest.raises(ValueError, match="88 images are to be attacked, and the network is right on 87 of 90; lower"):
        recognized(model, x, labels, 88)


def test_finished_batches_are_not_attacked_again(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = planted()
    sizes: list[int] = []
    whole = attacked(model, x, y, "pgd", eps=0.1)
    real = adversarial.find_attack("pgd")

    def counted(model: nn.Module, images: Tensor, labels: Tensor, **settings: object) -> Tensor:
        sizes.append(len(images))
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return real(model, images, labels, **settings)

    monkeypatch.setattr(adversarial, "find_attack", lambda _name: counted)
    with pytest.raises(KeyboardInterrupt), finished_work(tmp_path / "work"):
        attacked(model, x, y, "pgd", eps=0.1, batch_size=40)
    with finished_work(tmp_path / "work"):
        assert torch.equal(attacked(model, x, y, "pgd", eps=0.1, batch_size=40), whole)
        assert sizes == [40, 40, 40, 10]
        attacked(model, x, y, "pgd", eps=0.2, batch_size=40)
    assert sizes == [40, 40, 40, 10, 40, 40, 10]


def test_controls_stand_beside_the_attacks() -> None:
    model, x, y = planted()
    found = attacks_and_controls(model, x, y, ["pgd", "jsma"], {"eps": 0.15, "seed": 3})
    assert list(found) == ["pgd", "jsma", "clip_only", "noise", "gaussian"]
    for name in ("pgd", "noise"):
        assert float((found[name] - x).abs().max()) == pytest.approx(0.15, rel=0.01)
    sizes = [(found[name] - x).flatten(1).norm(dim=1) for name in ("gaussian", "pgd")]
    torch.testing.assert_close(*sizes)
    assert torch.equal(found["clip_only"], x.clamp(0.3, 0.8))
    assert "clip_only" not in attacks_and_controls(model[1:], x, y, ["fgsm"], {"eps": 0.1})
    with pytest.raises(ValueError, match="attacks must name one or more"):
        attacks_and_controls(model, x, y, [], {})
    with pytest.raises(ValueError, match="no graphmod.attacks member named 'pdg'"):
        attacks_and_controls(model, x, y, ["pdg"], {})


def test_strength_is_counted() -> None:
    model, x, y = planted(9)
    moved = x.clone()
    moved[:3] = x[[1, 2, 0]]  # of another class
    moved[3, 0, 0, 0] += 0.2
    table = attack_strength(model, x, y, {"clean": x, "moved": moved}).set_index("condition")
    assert table.success.tolist() == [0, 3 / 9]
    assert table.loc["clean", ["l0", "l2", "linf"]].tolist() == [0, 0, 0]
    changes = (moved - x)[:4].flatten(1)
    assert table.l0["moved"] == 12
    assert table.l2["moved"] == pytest.approx(float(changes.norm(dim=1).sort().values[1]), abs=1e-6)
    expected = predictions(model, moved).softmax(1).amax(1).mean()
    assert table.confidence["moved"] == pytest.approx(float(expected))


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
    assert rows.agreement["swap", "fooled"] == pytest.approx(1 / 2, abs=0.15)
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
    table = strength_sweep(model, x, y, "fgsm", [0.1, 0.3, 0.5], layers=["1"], seed=0, compat=None)
    assert table.eps.tolist() == [0, 0.1, 0.3, 0.5]
    assert table.success.is_monotonic_increasing
    assert table.success.tolist()[::3] == [0, 1]
    assert table.modularity[0] == pytest.approx(modularity_curve(model, x, y, layers=["1"]).modularity.item())


def test_published_curves_by_the_names_of_the_attacks() -> None:
    names = ["pgd", "fgsm", "jsma", "one_pixel", "local_search", "cw"]
    found = published_attacks("ResNet18", [*names, "noise"])
    assert list(found) == ["clean", *names]
    assert found["pgd"].modularity.iloc[-1] == pytest.approx(0.08, abs=0.02)
    assert found["one_pixel"].modularity.iloc[-1] == pytest.approx(0.53, abs=0.02)
