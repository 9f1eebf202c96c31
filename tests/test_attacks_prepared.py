"""What makes attacks quicker: the same results, models that do not bear it, and nothing left behind."""

import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from graphmod.adversarial import recognized
from graphmod.attacks._prepared import MANY, at_a_time, prepared, rough
from graphmod.attacks.cw import cw
from graphmod.attacks.jsma import jsma
from graphmod.attacks.local_search import local_search
from graphmod.datasets import load
from graphmod.inputs import output_tensor, predictions
from graphmod.models import build

of_cw, of_jsma, of_local_search = (sys.modules[f"graphmod.attacks.{name}"] for name in ("cw", "jsma", "local_search"))


class Small(nn.Module):
    """A convolution, a batch norm with statistics of its own, and what a subclass does with them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.norm.running_mean, self.norm.running_var = torch.randn(4), torch.rand(4) + 0.5
        self.norm.weight.data, self.norm.bias.data = torch.randn(4), torch.randn(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu().mean((2, 3))


class Viewing(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).view(len(x), -1)


class Sharing(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return (x + self.norm(x)).mean((2, 3))


class Twice(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).mean((2, 3)) + self.conv(1 - x).mean((2, 3))


class InPlace(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).relu_()).mean((2, 3))


class Mixing(Small):
    def forward(self, x: Tensor) -> Tensor:
        rows = torch.arange(len(x))
        return torch.zeros(len(x), 4).index_put((rows,), super().forward(x))


class Naming(Small):
    """Gives its logits by name, as networks of Hugging Face do."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": super().forward(x)}


class Gated(Small):
    """Reads what the batch norm reads, in a way that two dark images do not show."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        gate = x.detach().abs().mean((1, 2, 3)) > 0.5
        return self.norm(x).relu().mean((2, 3)) * (1 + gate[:, None])


class Batchwise(Small):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)


def hooked() -> nn.Module:
    model = Small()
    model.conv.register_forward_hook(lambda _model, _inputs, output: 2 * output)
    return model


def images(n: int = 5) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("kind", "folds"),
    [
        (Small, True), (Viewing, True), (Naming, True), (Sharing, False), (Twice, False), (InPlace, False),
        (Gated, False), (Batchwise, False), (hooked, False),
    ],
)  # fmt: skip
def test_a_prepared_model_is_the_same(kind: Callable[[], nn.Module], folds: bool, dtype: torch.dtype) -> None:
    model, x = kind().eval().to(dtype), images().to(dtype)
    before = output_tensor(model(x))
    with prepared(model) as run:
        for call in range(3):
            torch.testing.assert_close(run(x), before)
            assert ("forward" in vars(model.norm)) == ("forward" in vars(model.conv)) == (folds and call > 0)
        x.requires_grad_()
        (slope,) = torch.autograd.grad(run(x).square().sum(), x)
    torch.testing.assert_close(slope, torch.autograd.grad(output_tensor(model(x)).square().sum(), x)[0])
    assert not any("forward" in vars(one) or one._forward_pre_hooks for one in model.modules())
    assert len(model.conv._forward_hooks) == (kind is hooked)
    assert torch.equal(output_tensor(model(x)), before)


def test_what_two_images_do_not_show() -> None:
    model, x = Gated().eval(), images(6)
    x[:2] = 0
    with prepared(model) as run:
        for _ in range(3):
            torch.testing.assert_close(run(x), model(x))


def test_many_images_are_worth_it_in_one_pass() -> None:
    model, x = Small().eval(), images(MANY)
    before = model(x)
    for number in (MANY - 1, MANY):
        with prepared(model) as run:
            torch.testing.assert_close(run(x[:number]), before[:number])
            assert ("forward" in vars(model.conv)) == (number == MANY)


def test_a_prepared_model_is_as_it_was_after_an_error() -> None:
    model = Small().eval()

    def attack() -> None:
        with prepared(model) as run:
            run(images())
            run(images())
            assert "forward" in vars(model.conv)
            run(images()[:, :2])

    with pytest.raises(RuntimeError, match=r"to have 3 channels, but got 2 channels"):
        attack()
    assert not any("forward" in vars(one) for one in model.modules())


def test_a_failure_while_a_model_is_prepared_is_the_attacks_to_meet() -> None:
    model = Small().eval()
    with prepared(model) as run:
        run(images())
        model.broken = model.conv.register_forward_pre_hook(lambda _model, _inputs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(images())
    assert not any("forward" in vars(one) for one in model.modules())


@pytest.mark.parametrize(("attack", "place"), [(partial(cw, steps=40), of_cw), (partial(jsma, gamma=0.5), of_jsma)])
def test_images_that_are_done_stay_as_they_are_in_a_batch_that_keeps_its_shape(
    attack: Callable[..., Tensor],
    place: ModuleType,
    digits: tuple[nn.Module, Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, x, y = deepcopy(digits[0]).double(), digits[1][:40].double(), digits[2][:40]
    sizes: list[int] = []
    handle = model.register_forward_hook(lambda _model, _inputs, output: sizes.append(len(output)))
    expected, before = attack(model, x, y), sum(sizes)
    monkeypatch.setattr(place, "is_to_shrink", lambda _x, left, held: left <= held / 2)
    sizes.clear()
    torch.testing.assert_close(attack(model, x, y), expected)
    handle.remove()
    assert sum(sizes) > before


def test_rough_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    model, x = Small().eval(), images()
    found = rough(model, x)
    assert found is not None
    assert found(x).dtype == torch.float32
    assert not torch.equal(found(x), model(x))
    torch.testing.assert_close(found(x), model(x), rtol=0.05, atol=0.05)
    assert rough(model.double(), x.double()) is None
    assert rough(Mixing().eval(), x) is None  # which runs in one dtype only
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    assert rough(Small().eval(), x) is None


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Tensor, Tensor]:
    model, data = build("digits", weights="default"), load("digits")
    rows = recognized(model, data.images, data.labels, 120)
    return model, data.images[rows], data.labels[rows]


def test_images_in_one_pass() -> None:
    assert at_a_time(images()) == 64
    assert at_a_time(torch.empty(1, 3, 32, 32, device="meta")) == 2**22 // 3072
    assert at_a_time(torch.empty(1, 3, 999, 999, device="meta")) == 128


# --- local search ---


@pytest.mark.parametrize("error", [0.01, 0.3])
def test_screened_candidates_are_those_that_all_would_give(
    digits: tuple[nn.Module, Tensor, Tensor], error: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, y = digits
    seen = {"rough": 0, "exact": 0}

    def screen(run: Callable[[Tensor], Tensor], _x: Tensor) -> Callable[[Tensor], Tensor]:
        def noisy(images: Tensor) -> Tensor:
            seen["rough"] += len(images)
            logits = run(images)
            return logits + error * torch.randn(logits.shape, generator=torch.Generator().manual_seed(len(images))) + 1

        return noisy

    monkeypatch.setattr(of_local_search, "rough", lambda *_: None)
    expected = local_search(model, x, y, rounds=4)
    handle = model.register_forward_hook(lambda _model, _inputs, output: seen.update(exact=seen["exact"] + len(output)))
    local_search(model, x, y, rounds=4)
    alone = seen["exact"]
    monkeypatch.setattr(of_local_search, "rough", screen)
    assert torch.equal(local_search(model, x, y, rounds=4), expected)
    handle.remove()
    assert error > 0.1 or seen["exact"] - alone - seen["rough"] < 0.6 * seen["rough"]  # the rough passes are among them
    assert (predictions(model, expected).argmax(1) != y).double().mean() > 0.2


def test_local_search_sees_odds_where_the_probability_is_one(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = (one if isinstance(one, nn.Module) else one[:40] for one in digits)
    x = 0.01 + 0.98 * (x + 0.01 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0.01, 0.99)

    class Sure(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 64 * model(x)

    with torch.no_grad():
        assert (Sure()(x).softmax(1).gather(1, y[:, None]) == 1).double().mean() > 0.9
    found, expected = (local_search(one, x, y, rounds=4) for one in (Sure(), model))
    assert (found == expected).flatten(1).all(1).double().mean() >= 0.8  # of the rivals the likeliest counts more


# --- Carlini and Wagner ---


def test_cw_stops_where_nothing_nearer_can_come(
    digits: tuple[nn.Module, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, y = digits
    passes = []
    handle = model.register_forward_hook(lambda _model, _inputs, output: passes.append(len(output)))
    settings = {"search_steps": 1, "steps": 60, "initial_c": 10.0, "lr": 0.1}
    found, short = cw(model, x, y, **settings), sum(passes)
    monkeypatch.setattr(of_cw, "PATIENCE", 99)
    monkeypatch.setattr(of_cw, "DOUBT", torch.inf)
    passes.clear()
    patient = cw(model, x, y, **settings)
    handle.remove()
    assert short < 0.8 * sum(passes)
    sizes = [(one - x).flatten(1).norm(dim=1) for one in (found, patient)]
    assert float((sizes[0] / sizes[1]).median()) == pytest.approx(1, abs=1e-3)
    assert float(sizes[0].mean() / sizes[1].mean()) == pytest.approx(1, abs=0.03)
