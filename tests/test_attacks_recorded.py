"""Passes recorded as CUDA graphs: what is replayed is the model, and a recording leaves nothing behind.

Where there is no GPU, a tape stands in for the graph: it notes what runs, and runs it again on the same tensors.
"""

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from test_attacks_prepared import InPlace, Sharing, Small, hooked, images
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from graphmod.adversarial import recognized
from graphmod.attacks import _cuda_graph, _prepared
from graphmod.attacks._cuda_graph import MOST, recorded_pass
from graphmod.attacks._prepared import FEW, WORTH, Model, is_to_shrink, prepared, replayed
from graphmod.attacks.cw import cw
from graphmod.attacks.jsma import jsma
from graphmod.attacks.pgd import pgd
from graphmod.datasets import load
from graphmod.models import build

pytestmark = pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS")  # a thread's first way back, by torch
on_a_card = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Waiting(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 if x.mean() > 0 else 2)


class Counting(Small):
    """Gives other logits in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * self.calls


class Failing(Counting):
    def forward(self, x: Tensor) -> Tensor:
        if self.calls:
            raise ValueError
        return super().forward(x)


class Noisy(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.randn(1, device=x.device)


class Tape(TorchDispatchMode):
    """Stands in for a CUDA graph."""

    made: ClassVar[list["weakref.ref[Tape]"]] = []

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.made.append(weakref.ref(self))

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, found))
        return found

    def capture_begin(self, _pool: object = None) -> None:
        assert not gc.isenabled()
        self.__enter__()

    def capture_end(self) -> None:
        self.__exit__(None, None, None)

    def pool(self) -> None:
        pass

    def replay(self) -> None:
        with torch.no_grad():
            for function, args, kwargs, found in self.calls:
                again = function(*args, **kwargs)
                for place, value in zip(tree_leaves(found), tree_leaves(again), strict=True):
                    if isinstance(place, Tensor):
                        place.copy_(value)


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    Tape.made.clear()
    for name, stand_in in {"CUDAGraph": Tape, "device": lambda _: nullcontext(), "memory_allocated": lambda: 0}.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    for name in ("_beside", "_other_randomness", "_waiting_refused"):
        monkeypatch.setattr(_cuda_graph, name, nullcontext)
    return monkeypatch


@pytest.mark.parametrize("kind", [Small, Sharing, InPlace])
def test_a_recording_is_the_model(kind: Callable[[], nn.Module], tape: pytest.MonkeyPatch) -> None:
    model, x = kind().eval(), images()
    run = recorded_pass(model, x)
    assert run is not None
    check(run, model, [x.flip(2), x.flip(3)])


def check(run: Model, model: nn.Module, given: list[Tensor]) -> None:
    """Passes one after the other, each with a gradient, and the last one with two."""
    for x in given:
        x = x.clone().requires_grad_()
        for ahead in (torch.ones_like, lambda logits: logits.detach().square()):
            logits, expected = run(x), model(x)
            torch.testing.assert_close(logits, expected)
            found = torch.autograd.grad(logits, x, ahead(logits), retain_graph=True)[0]
            torch.testing.assert_close(found, torch.autograd.grad(expected, x, ahead(expected))[0])
        found = torch.autograd.grad(logits, x, -torch.ones_like(logits))[0]
        torch.testing.assert_close(found, torch.autograd.grad(model(x).sum(), x)[0].neg())
    assert all(one.grad is None for one in model.parameters())


def test_a_recording_is_gone_with_the_last_who_holds_it(tape: pytest.MonkeyPatch) -> None:
    """Left to the collector it would be destroyed at any time, and end another recording."""
    model, x = Small().eval(), images()
    gc.disable()
    try:
        run = recorded_pass(model, x)
        slope = torch.autograd.grad(run(x.clone().requires_grad_()).sum(), tuple(model.parameters()), allow_unused=True)
        assert slope[0] is None
        assert len(Tape.made) == 2
        assert None not in [one() for one in Tape.made]
        del run
        assert [one() for one in Tape.made] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [Failing, Counting, Noisy])
def test_what_is_not_recorded(kind: Callable[[], nn.Module], tape: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    assert recorded_pass(kind().eval(), images()) is None
    assert gc.isenabled()


def test_what_keeps_a_gpu_busy_is_not_recorded(tape: pytest.MonkeyPatch) -> None:
    sizes = iter([0, MOST + 1])
    tape.setattr(torch.cuda, "memory_allocated", lambda: next(sizes))
    assert recorded_pass(Small().eval(), images()) is None


def test_who_leaves_a_batch() -> None:
    assert is_to_shrink(images(), 4, 5)
    assert not is_to_shrink(images(), 5, 5)


def test_a_cpu_replays_nothing() -> None:
    with prepared(Small().eval()) as run:
        assert replayed(run, images(), 100) is run
    plain: Model = Small().eval()
    assert replayed(plain, images(), 100) is plain


@on_a_card
@pytest.mark.parametrize(
    ("kind", "records"),
    [(Small, True), (Sharing, True), (InPlace, True), (Waiting, False), (Counting, False), (hooked, False)],
)
def test_what_a_card_replays(kind: Callable[[], nn.Module], records: bool) -> None:
    model, x = kind().eval().double().cuda(), images().double().cuda()
    with prepared(model) as run:
        assert replayed(run, x, WORTH - 1) is run
        found = replayed(run, x, WORTH)
        assert (found is not run) == records
        assert replayed(run, x, 1) is found  # it is there already
        assert replayed(run, x[:2], 1) is run
    with prepared(model, [len(x)] * WORTH) as run:
        assert replayed(run, x[:2], WORTH - 1) is run
        assert (replayed(run, x, 1) is not run) == records
    with prepared(model) as run:
        found = replayed(run, x, WORTH)
        if records:
            given = [x.clone().requires_grad_(), x.flip(3).requires_grad_()]
            logits = [found(one) for one in given]
            for one, result in zip(given, logits, strict=True):
                torch.testing.assert_close(result, model(one))
            given = [one.detach().requires_grad_() for one in given]
            slopes = [torch.autograd.grad(found(one).square().sum(), one)[0] for one in given]
            for one, slope in zip(given, slopes, strict=True):
                torch.testing.assert_close(slope, torch.autograd.grad(model(one).square().sum(), one)[0])
            logits = found(given[0])  # two gradients of one pass
            for ahead in (torch.ones_like(logits), logits.detach()):
                slope = torch.autograd.grad(logits, given[0], ahead, retain_graph=True)[0]
                torch.testing.assert_close(slope, torch.autograd.grad(model(given[0]), given[0], ahead)[0])
    assert torch.isfinite(model(x)).all()  # the card goes on after a recording that failed
    assert all(one.grad is None for one in model.parameters())


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Tensor, Tensor]:
    model, data = build("digits", weights="default"), load("digits")
    rows = recognized(model, data.images, data.labels, 120)
    return model, data.images[rows], data.labels[rows]


@on_a_card
@pytest.mark.parametrize("attack", [partial(pgd, steps=40), partial(cw, steps=40), partial(jsma, gamma=0.5)])
def test_a_replayed_attack_gives_the_images_of_a_cpu(
    attack: Callable[..., Tensor], digits: tuple[nn.Module, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, y = deepcopy(digits[0]).double(), digits[1].double(), digits[2]
    recorded = []
    record = _prepared.recorded_pass
    monkeypatch.setattr(_prepared, "recorded_pass", lambda *given: recorded.append(record(*given)) or recorded[-1])
    expected = attack(model, x, y, batch_size=30)
    found = attack(model.cuda(), x.cuda(), y.cuda(), batch_size=30)
    assert recorded
    assert None not in recorded
    close = (found.cpu() - expected).abs().flatten(1).amax(1) < 1e-6
    assert close.double().mean() > 0.95  # rounding may turn a sign


@on_a_card
@pytest.mark.parametrize("kind", [Small, Failing, Waiting, Noisy])
def test_a_recording_leaves_the_generator(kind: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model, x, state = kind().eval().cuda(), images().cuda(), torch.cuda.get_rng_state()
    assert (recorded_pass(model, x) is not None) == (kind is Small)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    expected = torch.rand(5, device="cuda")
    torch.cuda.set_rng_state(state)
    assert torch.equal(torch.rand(5, device="cuda"), expected)


@on_a_card
def test_garbage_does_not_end_a_recording() -> None:
    model, x = Small().eval().cuda(), images().cuda()
    cycle: list[object] = [recorded_pass(model, x)]
    cycle.append(cycle)
    del cycle
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        assert recorded_pass(model, x) is not None
    finally:
        gc.set_threshold(*before)


@on_a_card
def test_few_images_stay_in_a_batch_of_a_card() -> None:
    x = images().cuda()
    assert [is_to_shrink(x, left, 4 * FEW) for left in (FEW + 1, FEW)] == [False, True]
    assert not is_to_shrink(x, 1, FEW)
