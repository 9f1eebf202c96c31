from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from graphmod.models import build
from graphmod.training import accuracy, train


@pytest.fixture
def problem() -> tuple[Tensor, Tensor]:
    images = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return images, (images[:, 0, :, :4].mean((1, 2)) > images[:, 0, :, 4:].mean((1, 2))).long()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))


def test_learns_and_reports(problem) -> None:
    model = network()
    rows = list(train(model, *problem, epochs=30, batch_size=30, test_images=problem[0], test_labels=problem[1]))
    assert [row["epoch"] for row in rows] == list(range(1, 31))
    assert rows[0]["lr"] == 0.1
    assert rows[-1]["lr"] < 0.001
    assert rows[-1]["loss"] < rows[0]["loss"] / 3
    assert rows[-1]["test_accuracy"] == accuracy(model, *problem) > 0.97
    assert not model.training


def test_a_run_that_was_stopped_ends_with_the_same_weights(problem, tmp_path: Path) -> None:
    options = {"epochs": 6, "batch_size": 50, "augment": 1, "flip": True, "seed": 3}
    whole, stopped, resumed = network(), network(), network()
    expected = list(train(whole, *problem, **options))
    checkpoint = tmp_path / "run.ckpt"
    for row in train(stopped, *problem, checkpoint=checkpoint, **options):
        if row["epoch"] == 3:
            break
    assert list(train(resumed, *problem, checkpoint=checkpoint, **options)) == expected
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    again = network()
    assert list(train(again, *problem, checkpoint=checkpoint, **options)) == expected
    assert torch.equal(again[1].weight, whole[1].weight)


def test_wrong_checkpoints(problem, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.ckpt"
    list(train(network(), *problem, epochs=1, checkpoint=checkpoint))
    with pytest.raises(ValueError, match="is of another run, with {'epochs': 1, .*; remove it to start anew"):
        list(train(network(), *problem, epochs=2, checkpoint=checkpoint))
    torch.save([1], checkpoint)
    with pytest.raises(ValueError, match="is not a checkpoint of a training; remove it to start anew"):
        list(train(network(), *problem, epochs=1, checkpoint=checkpoint))
    checkpoint.write_text("hello")
    with pytest.raises(ValueError, match="is not a PyTorch file of plain tensors; nothing in it was run"):
        list(train(network(), *problem, epochs=1, checkpoint=checkpoint))


def test_a_loss_that_is_lost_ends_the_run(problem) -> None:
    with pytest.raises(ValueError, match="the loss is nan after epoch 1; lower lr"):
        list(train(network(), problem[0] * torch.nan, problem[1], epochs=2))


def test_augmentation_shifts_and_mirrors() -> None:
    from graphmod.training import _augmented

    images = torch.arange(1.0, 65).view(1, 1, 8, 8).repeat(200, 1, 1, 1)
    found = _augmented(images, 2, True, torch.Generator().manual_seed(0))
    assert found.shape == images.shape
    padded = nn.functional.pad(images[:1], (2,) * 4)
    crops = [padded[..., i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
    possible = torch.cat(crops + [crop.flip(-1) for crop in crops])
    matches = (found[:, None] == possible[None]).flatten(2).all(2)
    assert matches.any(1).all()
    assert matches.any(0).sum() > 40  # nearly every one of the fifty comes up


def test_a_cifar_network_trains_from_scratch() -> None:
    images, labels = torch.rand(64, 3, 32, 32), torch.arange(64) % 2
    images[labels == 1] *= 0.5
    torch.manual_seed(0)
    rows = list(train(build("resnet20", num_classes=2), images, labels, epochs=3, batch_size=16, lr=0.02, augment=4))
    assert rows[-1]["loss"] < rows[0]["loss"]
