import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from graphmod.batch_norm import reestimate_batch_norm
from graphmod.datasets import load
from graphmod.models import build
from graphmod.training import accuracy


def test_batch_norm_is_reestimated_by_hand() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    model[1].running_mean += 7
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randn(10, 2, 6, 6)
    found = reestimate_batch_norm(model, images, batch_size=5)
    with torch.no_grad():
        parts = [model[0](part).transpose(0, 1).flatten(1) for part in images.split(5)]
    torch.testing.assert_close(found[1].running_mean, torch.stack([part.mean(1) for part in parts]).mean(0))
    torch.testing.assert_close(found[1].running_var, torch.stack([part.var(1) for part in parts]).mean(0))
    assert found[1].momentum == model[1].momentum == 0.1
    assert not any(module.training for module in found.modules())
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(found[0].weight, model[0].weight)
    again = reestimate_batch_norm(found, images, batch_size=5)
    assert torch.equal(again[1].running_var, found[1].running_var)
    assert torch.isfinite(
        reestimate_batch_norm(model, images, batch_size=9)[1].running_var
    ).all()  # a last batch of one
    plain = nn.Linear(2, 2)
    assert torch.equal(reestimate_batch_norm(plain, torch.rand(2, 2)).weight, plain.weight)
    with pytest.raises(ValueError, match="batch norm needs at least two images; got 1"):
        reestimate_batch_norm(model, images[:1])


def test_bytes_are_their_share_of_255() -> None:
    norm = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    pixels = (torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 255).byte()
    again = [reestimate_batch_norm(norm, images)[1].running_var for images in (pixels, pixels / 255)]
    assert torch.equal(*again)


def test_batch_norm_takes_equal_parts_of_the_images_asked_for() -> None:
    norm, x = nn.BatchNorm1d(2), torch.randn(11, 2, generator=torch.Generator().manual_seed(0))
    for options, parts in [
        ({"batch_size": 5}, [x[:4], x[4:8], x[8:]]),
        ({"batch_size": 2}, [x[:3], x[3:5], x[5:7], x[7:9], x[9:]]),  # three rather than one
        ({"batch_size": 4, "num_batches": 2}, [x[:4], x[4:8]]),
        ({"batch_size": 256, "num_batches": 9}, [x]),
    ]:
        found = reestimate_batch_norm(norm, x, **options)
        torch.testing.assert_close(found.running_mean, torch.stack([part.mean(0) for part in parts]).mean(0))
        torch.testing.assert_close(found.running_var, torch.stack([part.var(0) for part in parts]).mean(0))
    for options in ({"batch_size": 1}, {"num_batches": 0}):
        with pytest.raises(
            ValueError, match="batch_size must be at least 2 and num_batches 1; got (1 and None|256 and 0)"
        ):
            reestimate_batch_norm(norm, x, **options)


def test_batch_norm_that_no_image_reaches_keeps_its_statistics() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.BatchNorm1d(2, momentum=None), nn.BatchNorm1d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    model = Half()
    model.unused.running_mean += 4
    found = reestimate_batch_norm(model, torch.rand(8, 2) + 1)
    assert torch.equal(found.unused.running_mean, model.unused.running_mean)
    assert found.used.running_mean.min() > 1
    assert found.used.momentum is None


def test_reestimated_batch_norm_repairs_a_network() -> None:
    data = load("digits")
    model = build("digits", weights="default")
    with torch.no_grad():
        model.bn1.running_mean.add_(3)
    broken = accuracy(model, data.images, data.labels)
    repaired = accuracy(reestimate_batch_norm(model, load("digits", split="train").images), data.images, data.labels)
    assert broken < 0.5 < 0.9 < repaired


def test_a_network_in_bfloat16() -> None:
    found = reestimate_batch_norm(nn.Sequential(nn.BatchNorm1d(1)).bfloat16(), torch.tensor([[1.0], [3.0]]))
    assert found[0].running_mean.item() == 2


def test_a_norm_that_no_image_reaches_keeps_its_count_too() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.BatchNorm1d(2), nn.BatchNorm1d(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    model = Beside()
    model.idle(torch.rand(5, 2))
    found = reestimate_batch_norm(model, torch.rand(6, 2))
    for name, value in model.idle.state_dict().items():
        assert torch.equal(found.idle.state_dict()[name], value)
    assert found.used.num_batches_tracked == 1


def test_a_pruned_network_is_copied() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    found, x = reestimate_batch_norm(model, torch.rand(6, 1, 8, 8)), torch.rand(2, 1, 8, 8)
    assert torch.equal(found[0](x), model[0](x))
    assert found[1].num_batches_tracked == 1
    assert model[1].num_batches_tracked == 0
