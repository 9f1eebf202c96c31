"""Attacked images and their controls, on a network whose answers are known beforehand."""

import pytest
import torch
from torch import Tensor, nn

import graphmod.adversarial as adversarial
from analyses import adversarial as study
from graphmod._finished import finished_work
from graphmod.adversarial import (
    attack_strength,
    attacked,
    attacks_and_controls,
    recognized,
)
from graphmod.attacks.pgd import pgd
from graphmod.inputs import predictions
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


SIZES: list[int] = []


def counted(model: nn.Module, images: Tensor, labels: Tensor, **settings: object) -> Tensor:
    """PGD, of which the second batch is stopped."""
    SIZES.append(len(images))
    if len(SIZES) == 2:
        raise KeyboardInterrupt
    return pgd(model, images, labels, **settings)


def test_finished_batches_are_not_attacked_again(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = planted()
    whole = attacked(model, x, y, "pgd", eps=0.1)
    SIZES.clear()
    monkeypatch.setattr(adversarial, "find_attack", lambda _name: counted)
    with pytest.raises(KeyboardInterrupt), finished_work(tmp_path / "work"):
        attacked(model, x, y, "pgd", eps=0.1, batch_size=40)
    with finished_work(tmp_path / "work"):
        assert torch.equal(attacked(model, x, y, "pgd", eps=0.1, batch_size=40), whole)
        assert SIZES == [40, 40, 40, 10]
        attacked(model, x, y, "pgd", eps=0.2, batch_size=40)
    assert SIZES == [40, 40, 40, 10, 40, 40, 10]


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
    assert table.l2["moved"] == pytest.approx(float(changes.norm(dim=1).quantile(0.5)), abs=1e-6)
    expected = predictions(model, moved).softmax(1).amax(1).mean()
    assert table.confidence["moved"] == pytest.approx(float(expected))


def test_a_setting_that_no_attack_has() -> None:
    model, x, y = planted(30)
    with pytest.raises(ValueError, match="there is no setting named 'epss'; the nearest are 'eps'"):
        attacks_and_controls(model, x, y, ["fgsm"], {"epss": 0.1})
    found = attacks_and_controls(model, x, y, ["fgsm"], {"eps": 0.1, "population": 9})  # which one_pixel has
    assert "fgsm" in found


def test_no_images_at_a_time() -> None:
    model, x, y = planted(30)
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        attacked(model, x, y, "fgsm", batch_size=0)


def test_the_median_of_two_changes_lies_between_them() -> None:
    x, y = torch.zeros(2, 1, 2, 2), torch.tensor([0, 1])
    found = x.clone()
    found[0, 0, 0, 0], found[1] = 0.25, 0.5
    row = attack_strength(nn.Flatten(), x, y, {"some": found}).iloc[0]
    assert (row.l0, row.linf) == (2.5, 0.375)


def test_predictions_of_a_network_in_bfloat16() -> None:
    model, x, y = planted(12)
    assert torch.equal(predictions(model.bfloat16(), x).argmax(1), y)


def test_strengths_that_are_none_are_said_first(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "build", None)
    with pytest.raises(ValueError, match="eps must be at most 1, the range of the images; got 2.0"):
        study.main(strengths=(0.1, 2.0), out=tmp_path / "out")
    with pytest.raises(ValueError, match="eps must be above 0; got -0.1"):
        study.main(strengths=(-0.1,), out=tmp_path / "out")
