"""Attacks that search: JSMA's pair of features, the one pixel, the local search; and the libraries beside them."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from graphmod.adversarial import recognized
from graphmod.attacks.jsma import best_pair, jsma
from graphmod.attacks.local_search import local_search
from graphmod.attacks.one_pixel import _three_others, one_pixel
from graphmod.datasets import load
from graphmod.inputs import predictions
from graphmod.models import build


def linear(weight: list[list[float]], bias: tuple[float, ...] = (0.0, 0.0)) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(len(weight[0]), len(weight)))
    model[1].weight.data, model[1].bias.data = torch.tensor(weight), torch.tensor(bias)
    return model


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Tensor, Tensor]:
    model, data = build("digits", weights="default"), load("digits")
    rows = recognized(model, data.images, data.labels, 150)
    return model, data.images[rows], data.labels[rows]


def success(model: nn.Module, found: Tensor, labels: Tensor) -> float:
    return float((predictions(model, found).argmax(1) != labels).double().mean())


# --- JSMA ---


@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from([0.0, 0.5, 1.0]), st.booleans())
def test_the_best_pair_is_the_best_of_all_pairs(seed: int, d: int, correlation: float, coarse: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(3, d, generator=generator, dtype=torch.float64)
    v = correlation * u + (1 - correlation) * torch.randn(3, d, generator=generator, dtype=torch.float64)
    if coarse:  # many ties
        u, v = u.round(), v.round()
    free = torch.rand(3, d, generator=generator) < 0.8
    pair, there = best_pair(u, v, free)
    for i in range(3):
        scores = {}
        for p, q in combinations(range(d), 2):
            first, second = u[i, p] + u[i, q], v[i, p] + v[i, q]
            if free[i, p] and free[i, q] and first > 0 and second > 0:
                scores[p, q] = float(first * second)
        assert bool(there[i]) == bool(scores)
        if scores:
            assert scores[tuple(sorted(pair[i].tolist()))] == pytest.approx(max(scores.values()))


def test_few_features_are_looked_at() -> None:
    sizes = []
    real = torch.eye

    def counted(size: int, **options: object) -> Tensor:
        sizes.append(size)
        return real(size, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("graphmod.attacks.jsma.torch.eye", counted)
        u, v = torch.randn(2, 20, 3072, generator=torch.Generator().manual_seed(0))
        best_pair(u, v, torch.ones(20, 3072, dtype=torch.bool))
    assert sizes[0] < 100


def test_jsma_changes_the_features_that_speak_for_the_target() -> None:
    model = linear([[0.0, 1.0, 1.0, 0.0], [3.0, -1.0, -2.0, 3.0], [9.0, 0.0, 0.0, 9.0]], (0.0, 0.0, -1.0))
    x, y = torch.full((1, 1, 2, 2), 0.5), torch.tensor([1])
    found = jsma(model, x, y, targets=torch.tensor([0]), gamma=1)
    assert found.flatten().tolist() == [0.5, 1, 1, 0.5]
    half = jsma(model, x, y, targets=torch.tensor([0]), gamma=1, theta=0.25)
    assert half.flatten().tolist() == [0.5, 0.75, 0.75, 0.5]  # each feature once, though the target is not reached
    with pytest.raises(ValueError, match="targets must differ from the true classes; 1 of 1 are the true class"):
        jsma(model, x, y, targets=y)
    with pytest.raises(ValueError, match=r"targets must be integers of shape \[1\]; got \[2\]"):
        jsma(model, x, y, targets=torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="targets must be in 0 … 2; got 3 to 3"):
        jsma(model, x, y, targets=torch.tensor([3]))
    with pytest.raises(ValueError, match=r"theta must be in \[-1, 1\] and not 0, gamma in \(0, 1\]; got 0 and 0.1"):
        jsma(model, x, y, theta=0)


def test_jsma_changes_no_more_than_its_share(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = (one if isinstance(one, nn.Module) else one[:30] for one in digits)
    for theta, gamma in ((1.0, 0.1), (-1.0, 0.1), (1.0, 0.2), (1.0, 0.03)):
        found = jsma(model, x, y, gamma=gamma, theta=theta)
        assert int((found != x).flatten(1).sum(1).max()) == 2 * (64 * gamma // 2)  # whole pairs
        assert (found >= x).all() if theta > 0 else (found <= x).all()


def test_jsma_succeeds_as_often_as_that_of_torchattacks(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    torchattacks = pytest.importorskip("torchattacks", reason="needs torchattacks: make test installs it")
    model, x, y = digits
    x, y = x[:80], y[:80]
    gamma = 8 / 64  # a whole number of pairs: otherwise theirs changes one more than its share
    theirs = success(model, torchattacks.JSMA(model, theta=1.0, gamma=gamma)(x, y), y)
    ours = success(model, jsma(model, x, y, targets=(y + 1) % 10, gamma=gamma), y)
    assert 0.1 < theirs < 1
    assert ours == pytest.approx(theirs, abs=0.05)


# --- one pixel ---


def test_others_are_three_and_different() -> None:
    u = torch.rand(2, 50, 3, generator=torch.Generator().manual_seed(0))
    for number in (50, 4):
        found = torch.stack([*_three_others(u[:, :number]), torch.arange(number).expand(2, -1)])
        assert all(len(set(column)) == 4 for column in found.flatten(1).T.tolist())
        assert found.min() == 0
        assert found.max() == number - 1


@pytest.mark.parametrize("method", ["evolution", "random"])
def test_the_pixel_that_matters_is_found(method: str) -> None:
    weight = torch.zeros(2, 75)
    weight[0, [7, 32, 57]] = 1.0  # one pixel of a 5 x 5 image, in all three channels
    model = linear(weight.tolist(), (0.0, 1.5))
    x = torch.full((3, 3, 5, 5), 0.2) + 0.01 * torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    y = torch.ones(3, dtype=torch.int64)
    found = one_pixel(model, x, y, method=method, population=60, generations=40)
    assert (predictions(model, found).argmax(1) == 0).all()
    changed = (found != x).any(1).flatten(1)
    assert changed.sum(1).tolist() == [1, 1, 1]
    assert changed.nonzero()[:, 1].tolist() == [7, 7, 7]


def test_no_more_pixels_than_asked_for_and_no_worse_with_time(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = (one if isinstance(one, nn.Module) else one[:20] for one in digits)
    found = one_pixel(model, x, y, pixels=3, population=20, generations=5)
    assert int((found != x).any(1).flatten(1).sum(1).max()) <= 3
    true = [
        predictions(model, one_pixel(model, x, y, population=20, generations=generations))
        .softmax(1)
        .gather(1, y[:, None])
        for generations in (1, 6)
    ]
    fooled = success(model, one_pixel(model, x, y, population=20, generations=1), y)
    assert fooled < 1
    assert (true[1] <= true[0] + 1e-6).all()
    with pytest.raises(ValueError, match="method must be 'evolution' or 'random'; got 'de'"):
        one_pixel(model, x, y, method="de")
    with pytest.raises(ValueError, match="population at least 4; got 1, 100, 100 and 3"):
        one_pixel(model, x, y, population=3)


def test_one_pixel_succeeds_as_often_as_that_of_torchattacks(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    torchattacks = pytest.importorskip("torchattacks", reason="needs torchattacks: make test installs it")
    import numpy as np

    model, x, y = digits
    state = np.random.get_state()  # noqa: NPY002 - what its evolution draws from
    np.random.seed(0)  # noqa: NPY002
    theirs = success(model, torchattacks.OnePixel(model, pixels=1, steps=10, popsize=20)(x, y), y)
    np.random.set_state(state)  # noqa: NPY002
    ours = success(model, one_pixel(model, x, y, population=20, generations=10), y)
    assert theirs > 0.05
    assert ours >= theirs - 0.05


# --- local search ---


def test_local_search_ends_at_the_pixel_that_decides() -> None:
    weight = torch.zeros(2, 25)
    weight[0, 12] = 1.0
    model = linear(weight.tolist(), (0.0, 0.9))
    x = torch.full((2, 1, 5, 5), 0.6)
    x[1, 0, 0, 0] = 0.61
    y = torch.ones(2, dtype=torch.int64)
    found = local_search(model, x, y, t=1, d=4)
    assert (predictions(model, found).argmax(1) == 0).all()
    assert (found.flatten(1)[:, 12] == 1).all()


def test_local_search_fools_more_with_more_rounds(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = (one if isinstance(one, nn.Module) else one[:40] for one in digits)
    shares = [success(model, local_search(model, x, y, rounds=rounds), y) for rounds in (1, 3, 10)]
    assert shares == sorted(shares)
    assert shares[-1] > shares[0]
    with pytest.raises(ValueError, match=r"p must be above 0, r in \(0, 2\].*; got 1.0, 3, 5, 5, 10 and 128"):
        local_search(model, x, y, r=3)


@pytest.mark.parametrize("shape", [(2, 512), (512, 2)])
def test_sixteen_bits_hold_every_place(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1], 2)).bfloat16()
    x = torch.rand(2, 1, *shape).bfloat16()
    found = one_pixel(model, x, torch.tensor([0, 1]), method="random", max_pixels=1024)
    assert ((found != x).flatten(1).sum(1) <= 1).all()
