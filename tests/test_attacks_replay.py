"""Attacks that search, beside plain loops over the published steps."""

import pytest
import torch
from torch import Tensor, nn

from graphmod.adversarial import recognized
from graphmod.attacks._inputs import generators
from graphmod.attacks.jsma import best_pair, jsma
from graphmod.attacks.local_search import local_search
from graphmod.attacks.one_pixel import one_pixel
from graphmod.datasets import load
from graphmod.inputs import predictions
from graphmod.models import build


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Tensor, Tensor]:
    model, data = build("digits", weights="default"), load("digits")
    rows = recognized(model, data.images, data.labels, 120)
    return model.double(), data.images[rows].double(), data.labels[rows]


class Bright(nn.Module):
    """Takes an image for 0 as soon as one of its values is above 0.9."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        value = x.flatten(1).amax(1)
        return torch.stack([value, torch.full_like(value, 0.9)], 1)


def test_features_that_are_all_alike_are_not_all_looked_at() -> None:
    sizes = []
    real = torch.eye
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphmod.attacks.jsma.torch.eye", lambda n, **options: sizes.append(n) or real(n, **options))
        for value in (0.0, 1.0):
            alike = torch.full((3, 400), value)
            pair, there = best_pair(alike, alike, torch.ones(3, 400, dtype=torch.bool))
            assert there.tolist() == [value > 0] * 3
            assert value == 0 or (pair[:, 0] != pair[:, 1]).all()
    assert max(sizes) == 2


def test_jsma_without_gradients_leaves_the_images(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    nn.init.zeros_(model[1].weight)
    x = torch.full((2, 1, 3, 3), 0.5)
    assert torch.equal(jsma(model, x, torch.tensor([0, 1])), x)


def test_jsma_is_that_of_torchattacks(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    torchattacks = pytest.importorskip("torchattacks", reason="needs torchattacks: make test installs it")
    model, x, y = (one if isinstance(one, nn.Module) else one[:40] for one in digits)
    targets, gamma = (y + 1) % 10, 14 / 64  # a whole number of pairs: otherwise theirs changes one more than its share
    with pytest.MonkeyPatch.context() as patch:  # it builds its Jacobian in float32 otherwise
        real = torch.zeros
        patch.setattr("torchattacks.attacks.jsma.torch.zeros", lambda size: real(size, dtype=torch.float64))
        theirs = torchattacks.JSMA(model, theta=1.0, gamma=gamma)(x, y)
    ours = jsma(model, x, y, targets=targets, gamma=gamma)
    same = (ours == theirs).flatten(1).all(1)
    reached = [float((predictions(model, z).argmax(1) == targets).double().mean()) for z in (ours, theirs)]
    assert same.double().mean() >= 0.9  # where they do not stop as we do, for want of a pair
    assert reached[0] == pytest.approx(reached[1], abs=0.05)


def replay(model: nn.Module, x: Tensor, label: int, rounds: int, d: int, t: int, seeds: int) -> Tensor:
    """The local search of one image, pixel by pixel."""
    channels, height, width = x.shape
    (source,) = generators(x[None], 0)
    start, places, number = x.clone(), range(height * width), min(height * width // 10, seeds)

    def see(image: Tensor) -> Tensor:
        with torch.no_grad():
            return model(image.clamp(0, 1)[None])[0].softmax(0)

    for _ in range(rounds):
        luck = torch.rand(height * width, generator=source).tolist()
        order = sorted(places, key=lambda place: -luck[place])[:number]
        scores, found = [], []
        for place in order:
            image = start.clone()
            for c in range(channels):
                value = float(start[c, place // width, place % width]) - 0.5
                image[c, place // width, place % width] = 0.5 + (value > 0) - (value < 0)
            image = image.clamp(0, 1)
            seen = see(image)
            scores.append(float(seen[label]))
            if int(seen.argmax()) != label:
                found.append(image)
        best = sorted(range(len(order)), key=lambda i: scores[i])[:t]
        start = start.clone()
        for place in (order[i] for i in best):
            for c in range(channels):
                value = 1.5 * (float(start[c, place // width, place % width]) - 0.5)
                value = value - 1 if value > 0.5 else value + 1 if value < -0.5 else value
                start[c, place // width, place % width] = value + 0.5
        if int(see(start).argmax()) != label:
            found.append(start.clamp(0, 1))
        if found:
            return min(found, key=lambda image: float((image - x).square().sum()))
        near = [divmod(order[i], width) for i in best]
        places = [
            row * width + column
            for row in range(height)
            for column in range(width)
            if any(abs(row - a) <= d and abs(column - b) <= d for a, b in near)
        ]
        number = seeds
    return x


@pytest.mark.parametrize(("d", "t", "seeds"), [(1, 2, 12), (3, 5, 128)])
def test_local_search_is_that_of_a_plain_loop(
    digits: tuple[nn.Module, Tensor, Tensor], d: int, t: int, seeds: int
) -> None:
    model, x, y = (one if isinstance(one, nn.Module) else one[:8] for one in digits)
    x = (x + 0.01 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)).clamp(0, 1)
    x = torch.where((x == 0) | (x == 1), (x - 0.5) * 0.99 + 0.5, x)  # no two candidates are equally good
    found = local_search(model, x, y, d=d, t=t, seeds=seeds, rounds=3)
    expected = torch.stack(
        [replay(model, *one, rounds=3, d=d, t=t, seeds=seeds) for one in zip(x, y.tolist(), strict=True)]
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert (found != x).any()


def test_of_candidates_equally_near_one_is_returned() -> None:
    x = torch.full((40, 3, 32, 32), 0.6)
    x[:, 0, 0, 0] += 1e-3 * torch.rand(40, generator=torch.Generator().manual_seed(0))
    y = torch.ones(40, dtype=torch.int64)
    changed = (local_search(Bright(), x, y) != x).any(1).flatten(1).sum(1)
    assert changed.tolist() == [1] * 40


def test_the_published_one_pixel_changes_one_pixel_of_the_normalised_image() -> None:
    from graphmod.models._normalize import Normalize

    model = nn.Sequential(Normalize([0.4], [0.25]), Bright())
    x = 0.3 * torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    found = one_pixel(model, x, torch.ones(5, dtype=torch.int64), compat="lu2022")
    changed = (found - x).abs() > 1e-6
    assert changed.flatten(1).sum(1).tolist() == [1] * 5
    torch.testing.assert_close(found[changed], torch.full((5,), 0.65))  # 1 times 0.25, and 0.4
