"""Attacks: every member keeps the family's promises; FGSM, PGD and CW are those of the libraries of the field."""

import inspect
import sys
import warnings
from copy import deepcopy
from fractions import Fraction
from functools import partial
from types import ModuleType
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from graphmod._family import members
from graphmod.attacks import attack_settings, find_attack
from graphmod.attacks._inputs import generators, within
from graphmod.attacks.clip_only import clip_only
from graphmod.attacks.cw import cw
from graphmod.attacks.fgsm import fgsm
from graphmod.attacks.noise import noise
from graphmod.attacks.pgd import pgd
from graphmod.datasets import load
from graphmod.models import build
from graphmod.models._normalize import Normalize

ATTACKS = members("graphmod.attacks")
QUICK = {
    "cw": {"steps": 40, "search_steps": 2, "initial_c": 10.0, "lr": 0.05},
    "one_pixel": {"population": 20, "generations": 3},
}


def network(channels: int = 3, num_classes: int = 4, seed: int = 0) -> nn.Module:
    """A small network in float64 with batch norm and dropout, in training mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [
            Normalize([0.4] * channels, [0.25] * channels),
            nn.Conv2d(channels, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Flatten(),
            nn.Linear(8 * 36, num_classes),
        ]
        return nn.Sequential(*layers).double().train()


def images(n: int = 6, channels: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(n, channels, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def classes(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return deepcopy(model).eval()(x).argmax(1)


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Tensor, Tensor]:
    """A trained network and images that it takes for what they are, in float64: the steps of an attack enlarge rounding."""
    model, data = build("digits", weights="default").double(), load("digits", num_samples=220, order="stratified")
    x = data.images.double()
    right = classes(model, x) == data.labels
    return model, x[right][:200], data.labels[right][:200]


# --- what every member promises ---


@pytest.mark.parametrize("name", ATTACKS)
def test_images_come_back_and_all_else_stays(name: str) -> None:
    model, x = network(), images()
    y, before, state = classes(model, x), x.clone(), deepcopy(model.state_dict())
    model[1].weight.grad = torch.ones_like(model[1].weight)
    with torch.no_grad():
        found = find_attack(name)(model, x, y, **QUICK.get(name, {}))
        assert not torch.is_grad_enabled()
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    assert not found.requires_grad
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(x, before)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(one.requires_grad for one in model.parameters())
    assert torch.equal(model[1].weight.grad, torch.ones_like(model[1].weight))
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("name", ATTACKS)
def test_an_image_meets_the_same_alone_and_among_others(name: str) -> None:
    model, x = network(), images()
    y = classes(model, x)
    attack, settings = find_attack(name), QUICK.get(name, {})
    found = attack(model, x, y, **settings)
    assert not torch.equal(found, x)
    assert torch.equal(found, attack(model, x, y, **settings))
    alone = torch.cat([attack(model, x[i : i + 1], y[i : i + 1], **settings) for i in range(len(x))])
    torch.testing.assert_close(alone, found, rtol=0, atol=1e-9)
    torch.testing.assert_close(attack(model, x, y, batch_size=4, **settings), found, rtol=0, atol=1e-9)
    if "seed" in inspect.signature(attack).parameters:
        random = {"random_start": True} if name == "pgd" else {}
        assert not torch.equal(attack(model, x, y, seed=1, **random, **settings), found)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_will_do(name: str, dtype: torch.dtype) -> None:
    model, x = network().to(dtype), images(dtype=dtype)
    y = classes(model, x)
    for settings in ({}, {"compat": "lu2022"} if "compat" in attack_settings(name) else {}):
        found = find_attack(name)(model, x, y, **(settings or QUICK.get(name, {})))
        assert found.dtype == dtype
        assert found.isfinite().all()
        assert found.min() >= 0
        assert found.max() <= 1
    if name == "cw":
        found = cw(model, x, y, **QUICK["cw"])
        assert (classes(model, found) != y).any()
        wide = cw(model.float(), x.float(), y, **QUICK["cw"])
        distances = [float((one - x.float()).flatten(1).norm(dim=1).mean()) for one in (found.float(), wide)]
        assert distances[0] == pytest.approx(distances[1], rel=0.1)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_number_of_channels_and_classes(name: str, channels: int) -> None:
    model = network(channels, num_classes=2)
    x = images(3, channels)
    assert find_attack(name)(model, x, classes(model, x), **QUICK.get(name, {})).shape == x.shape


@pytest.mark.parametrize("name", ATTACKS)
def test_refusals(name: str) -> None:
    model, x, attack = network(), images(4), find_attack(name)
    y = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(
        ValueError, match=r"images must be in \[0, 1\]; they range from -0.99.*: they look normalised; pass"
    ):
        attack(model, 2 * x - 1, y)
    with pytest.raises(ValueError, match=r"images must be in \[0, 1\]; they range from 0.* to 2"):
        attack(model, 255 * x, y)
    with pytest.raises(ValueError, match=r"images must be in \[0, 1\]; they range from nan to nan"):
        attack(model, x * torch.nan, y)
    with pytest.raises(TypeError, match="images must be a floating tensor .*; got torch.uint8"):
        attack(model, (255 * x).byte(), y)
    with pytest.raises(TypeError, match="images must be a floating tensor .*; got list"):
        attack(model, [1.0], y)
    with pytest.raises(ValueError, match=r"images must have shape \[N, C, H, W\].*; got \[4, 108\]"):
        attack(model, x.flatten(1), y)
    with pytest.raises(ValueError, match=r"N at least 1; got \[0, 3, 6, 6\]"):
        attack(model, x[:0], y[:0])
    with pytest.raises(ValueError, match=r"labels must have shape \[4\]"):
        attack(model, x, y[:3])
    with pytest.raises(TypeError, match="labels must be integers, .*; got torch.float32"):
        attack(model, x, y.float())
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        attack(model, x, y, batch_size=0)
    if name not in ("clip_only", "noise"):  # which do not ask the model
        for label in (4, -1):
            with pytest.raises(ValueError, match=rf"labels must be numbers of 4 classes; got {min(label, 0)} to "):
                attack(model, x, torch.tensor([0, 1, 2, label]))


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - {"clip_only", "noise"}))
def test_published_settings_work_on_normalised_images(name: str) -> None:
    model, x = network(), images(3)
    y = classes(model, x)
    found = find_attack(name)(model, x, y, compat="lu2022")
    changed = found != clip_only(model, x, y)
    if name == "jsma":  # which was given the true class as its target
        assert not changed.any()
    elif name != "local_search":  # which may find nothing
        assert changed.any()
    if name != "one_pixel":  # which left the other pixels as they were
        assert found.min() >= 0.4 - 1e-7
        assert found.max() <= 0.65 + 1e-7  # the mean and deviation of a Normalize are float32
    with pytest.raises(ValueError, match="compat must be None or 'lu2022'; got 'other'"):
        find_attack(name)(model, x, y, compat="other")
    with pytest.raises(ValueError, match=r"the model has no graphmod.models.Normalize layer"):
        find_attack(name)(nn.Flatten(), x, y, compat="lu2022")


def test_an_unknown_attack() -> None:
    with pytest.raises(ValueError, match="no graphmod.attacks member named 'pdg'; the nearest are 'pgd'"):
        find_attack("pdg")


# --- gradient attacks ---


def test_a_linear_network_is_attacked_along_its_weights() -> None:
    weight = torch.tensor([[1.0, -2.0, 0.5, 0.0], [0.0, 1.0, -1.0, 0.0]], dtype=torch.float64)
    linear = nn.Linear(4, 2, bias=False).double()
    linear.weight.data = weight
    model, x, y = (
        nn.Sequential(nn.Flatten(), linear),
        torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64),
        torch.zeros(1),
    )
    away = weight[1] - weight[0]
    found = fgsm(model, x, y.long(), eps=0.1) - x
    torch.testing.assert_close(found.flatten(), 0.1 * away.sign())
    found = pgd(model, x, y.long(), eps=0.1) - x
    torch.testing.assert_close(found.flatten(), torch.where(away == 0, found.flatten(), 0.1 * away.sign()))
    found = pgd(model, x, y.long(), eps=0.1, norm="l2", random_start=False) - x
    torch.testing.assert_close(found.flatten(), 0.1 * away / away.norm())
    margin = float((weight[0] - weight[1]) @ x.flatten())
    assert margin < 0  # already the other class; the nearest image of class 1's rival lies at the boundary
    found = cw(model, x, torch.ones(1).long(), steps=500) - x
    assert float(found.norm()) == pytest.approx(-margin / float(away.norm()), rel=0.02)


@given(
    st.floats(1e-3, 1, allow_nan=False), st.sampled_from(["linf", "l2"]), st.integers(0, 99), st.sampled_from([1, 5])
)
def test_the_ball_holds_to_the_last_bit(eps: float, norm: str, seed: int, steps: int) -> None:
    model, x = network(seed=seed).float(), images(2, dtype=torch.float32)
    y = torch.tensor([0, 1])
    results = [pgd(model, x, y, eps=eps, norm=norm, steps=steps, seed=seed)]
    results += [fgsm(model, x, y, eps=eps), noise(model, x, y, eps=eps, seed=seed)] if norm == "linf" else []
    for found in results:
        change = found.double() - x.double()
        size = change.abs().amax() if norm == "linf" else change.flatten(1).norm(dim=1).amax()
        assert float(size) <= eps
        assert found.min() >= 0
        assert found.max() <= 1


@pytest.mark.parametrize("level", range(0, 256, 5))
def test_the_ball_holds_for_grey_levels(level: int) -> None:
    """x − ε is 0, or nearly, for a pixel of the same number of grey levels: the next number is then 1e-45 away."""
    x = torch.arange(256.0).view(1, 1, 16, 16) / 255
    eps = max(level, 1) / 255
    for sign in (-1, 1):
        found = within((x + sign * eps).clamp(0, 1), x, eps, "linf")
        assert float((found.double() - x.double()).abs().max()) <= eps
        torch.testing.assert_close(found, (x + sign * eps).clamp(0, 1), rtol=0, atol=1e-7)
    for far in (1.0, 1 + 1e-6, 3.0):
        found = within(x + far * eps * torch.eye(16) / 4, x, eps, "l2")
        assert float((found.double() - x.double()).norm()) <= eps


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("eps", [0.3, 8 / 255, 1e-3, 1e-17, 1.0, 0.25 + 2**-54])
def test_the_bound_is_the_last_number_in_the_ball(dtype: torch.dtype, eps: float) -> None:
    """By exact arithmetic."""
    x = torch.cat([images(dtype=dtype)[:1].flatten(), torch.tensor([0, 1, 0.25, 0.5, eps], dtype=dtype)])
    for radius in (eps, torch.tensor(eps, dtype=torch.float64)):
        for sign in (-1, 1):
            found = within(x + 2 * sign, x, radius, "linf")
            after = torch.nextafter(found, x + 4 * sign)
            for a, b, c in zip(found.tolist(), x.tolist(), after.tolist(), strict=True):
                assert abs(Fraction(a) - Fraction(b)) <= Fraction(eps) < abs(Fraction(c) - Fraction(b))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_and_pgd_are_those_of_torchattacks(digits: tuple[nn.Module, Tensor, Tensor], norm: str) -> None:
    torchattacks = pytest.importorskip("torchattacks", reason="needs torchattacks: make test installs it")
    model, x, y = digits
    eps, step = (0.15, 0.03) if norm == "linf" else (1.0, 0.2)
    kind = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
    rounding = {} if norm == "linf" else {"eps_for_division": 0}
    theirs = kind(model, eps=eps, alpha=step, steps=10, random_start=False, **rounding)(x, y)
    ours = pgd(model, x, y, eps=eps, step_size=step, steps=10, norm=norm, random_start=False)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    if norm == "linf":
        theirs = torchattacks.FGSM(model, eps=eps)(x, y)
        torch.testing.assert_close(fgsm(model, x, y, eps=eps), theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fgsm_and_pgd_are_those_of_foolbox(digits: tuple[nn.Module, Tensor, Tensor], norm: str) -> None:
    foolbox = peer_foolbox()
    model, x, y = digits
    eps, step = (0.15, 0.03) if norm == "linf" else (1.0, 0.2)
    kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    theirs = kind(abs_stepsize=step, steps=10, random_start=False)(
        foolbox.PyTorchModel(model, (0, 1)), x, y, epsilons=eps
    )
    ours = pgd(model, x, y, eps=eps, step_size=step, steps=10, norm=norm, random_start=False)
    torch.testing.assert_close(ours, theirs[1], rtol=0, atol=1e-6)
    if norm == "linf":
        theirs = foolbox.attacks.FGSM(random_start=False)(foolbox.PyTorchModel(model, (0, 1)), x, y, epsilons=eps)
        torch.testing.assert_close(fgsm(model, x, y, eps=eps), theirs[1], rtol=0, atol=1e-6)


def test_cw_is_as_near_as_that_of_the_libraries(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    torchattacks = pytest.importorskip("torchattacks", reason="needs torchattacks: make test installs it")
    foolbox = peer_foolbox()
    model, x, y = digits
    x, y = x[:50], y[:50]
    theirs = torchattacks.CW(model, c=1, kappa=0, steps=100, lr=0.02)(x, y)
    ours = cw(model, x, y, initial_c=1, search_steps=1, steps=100, lr=0.02)
    assert share_and_size(model, ours, x, y)[0] >= share_and_size(model, theirs, x, y)[0]
    assert share_and_size(model, ours, x, y)[1] == pytest.approx(share_and_size(model, theirs, x, y)[1], rel=0.05)

    other = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=3, steps=60, stepsize=0.02, initial_const=1)
    theirs = other(foolbox.PyTorchModel(model, (0, 1)), x, y, epsilons=None)[1]
    ours = cw(model, x, y, initial_c=1, search_steps=3, steps=60, lr=0.02)
    assert share_and_size(model, ours, x, y)[0] >= share_and_size(model, theirs, x, y)[0]
    assert share_and_size(model, ours, x, y)[1] == pytest.approx(share_and_size(model, theirs, x, y)[1], rel=0.05)


def test_cw_with_confidence_goes_further(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = (one if isinstance(one, nn.Module) else one[:20] for one in digits)
    settings = {"initial_c": 1, "search_steps": 3, "steps": 60, "lr": 0.03}
    near, far = (cw(model, x, y, confidence=confidence, **settings) for confidence in (0, 3))
    logits = model(far).detach()
    gap = logits.scatter(1, y[:, None], -torch.inf).amax(1) - logits.gather(1, y[:, None]).squeeze(1)
    assert gap.min() >= 3 - 1e-4
    assert (far - x).norm() > (near - x).norm()


def share_and_size(model: nn.Module, found: Tensor, x: Tensor, y: Tensor) -> tuple[float, float]:
    """The share of images that fool the network, and the median L2 norm of their change."""
    fooled = classes(model, found) != y
    return float(fooled.double().mean()), float((found - x)[fooled].flatten(1).norm(dim=1).median())


def peer_foolbox() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports scipy by an old name
        return pytest.importorskip("foolbox", reason="needs foolbox: make test installs it")


# --- the published settings ---


def test_published_fgsm_is_the_replay() -> None:
    model, x = network(), images()
    y = classes(model, x)
    normalize, inner = model[0], deepcopy(model[1:]).eval()
    z = normalize(x).requires_grad_()
    nn.functional.cross_entropy(inner(z), y).backward()
    expected = (z + 0.3 * z.grad.sign()).clamp(0, 1) * 0.25 + 0.4
    torch.testing.assert_close(fgsm(model, x, y, compat="lu2022"), expected.detach())
    clipped = normalize(x).clamp(0, 1) * 0.25 + 0.4
    torch.testing.assert_close(clip_only(model, x, y), clipped)
    torch.testing.assert_close(clip_only(nn.Identity(), x, y, mean=[0.4] * 3, std=[0.25] * 3), clipped)
    with pytest.raises(
        ValueError, match=r"mean and std must be given together, or neither; got \[0.4, 0.4, 0.4\] and None"
    ):
        clip_only(model, x, y, mean=[0.4] * 3)


# --- noise ---


def test_gaussian_noise_has_the_norm_that_was_asked_for() -> None:
    x, y = images(5), torch.zeros(5, dtype=torch.int64)
    eps = torch.tensor([0.0, 0.1, 1.0, 2.0, 3.0])
    found = noise(nn.Identity(), x, y, eps=eps, distribution="gaussian", batch_size=2)
    torch.testing.assert_close((found - x).flatten(1).norm(dim=1), eps.double())
    assert (found != images(5)).any()
    far = noise(nn.Identity(), x, y, eps=10, distribution="gaussian")  # beyond the corner of [0, 1]
    assert ((far == 0) | (far == 1)).double().mean() > 0.9
    with pytest.raises(ValueError, match="eps must be from 0 to 10.4 for gaussian noise; got 11"):
        noise(nn.Identity(), x, y, eps=11, distribution="gaussian")
    with pytest.raises(ValueError, match="eps must be from 0 to 1 for uniform noise; got 8"):
        noise(nn.Identity(), x, y, eps=8)


def test_noise_is_spread_as_it_says_and_unlike_from_image_to_image() -> None:
    x = torch.full((50, 3, 20, 20), 0.5)
    x += 1e-4 * torch.rand(50, 1, 1, 1)
    y = torch.zeros(50, dtype=torch.int64)
    change = (noise(nn.Identity(), x, y, eps=0.3) - x).flatten(1)
    assert float(change.std()) == pytest.approx(0.3 / 3**0.5, rel=0.02)
    assert abs(float(torch.corrcoef(change)[0, 1])) < 0.15
    change = (noise(nn.Identity(), x, y, eps=2.0, distribution="gaussian") - x).flatten(1)
    assert float((change / change.std()).abs().lt(1).double().mean()) == pytest.approx(0.683, abs=0.01)


def test_a_forward_that_was_set_on_the_normalisation_stays() -> None:
    model, x = network(), images()
    kept = model[0].forward = lambda images, theirs=model[0].forward: theirs(images)
    fgsm(model, x, classes(model, x), compat="lu2022")
    assert vars(model[0])["forward"] is kept


def test_random_numbers_depend_on_the_image_and_the_seed() -> None:
    x = images(2)
    draws = {float(torch.rand(1, generator=one)) for seed in (0, 1) for one in generators(x, seed)}
    assert len(draws) == 4
    again = {float(torch.rand(1, generator=one)) for one in generators(x.flip(0), 0)}
    assert again < draws
    for dtype in (torch.float64, torch.float32, torch.float16):
        one = images(2, dtype=dtype)[1:].transpose(2, 3)
        assert generators(one, 7)[0].initial_seed() == crc32(one[0].numpy().tobytes(), 7)


# --- settings out of range ---


def test_settings_out_of_range() -> None:
    model, x, y = network(), images(2), torch.tensor([0, 1])
    for attack in (fgsm, pgd):
        with pytest.raises(
            ValueError, match="eps must be at most 1, the range of the images; got 8: divide grey levels"
        ):
            attack(model, x, y, eps=8)
        with pytest.raises(ValueError, match="eps must be above 0; got 0"):
            attack(model, x, y, eps=0)
    with pytest.raises(ValueError, match="norm must be 'linf' or 'l2'; got 'l1'"):
        pgd(model, x, y, norm="l1")
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        pgd(model, x, y, steps=0)
    with pytest.raises(ValueError, match="confidence at least 0; got 100, 5, 1.0, 0.01 and -1"):
        cw(model, x, y, confidence=-1)
    with pytest.raises(ValueError, match="distribution must be 'uniform' or 'gaussian'; got 'normal'"):
        noise(model, x, y, distribution="normal")


# --- the Adversarial Robustness Toolbox ---


@pytest.fixture
def toolbox() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("art", reason="needs the extra graphmod[art]: make test installs it")


@pytest.mark.usefixtures("toolbox")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_attacks_of_the_toolbox(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = (one if isinstance(one, nn.Module) else one[:30] for one in digits)
    model, state = deepcopy(model).train(), np.random.get_state()[1].copy()  # noqa: NPY002
    found = find_attack("art:FastGradientMethod")(model, x, y, eps=0.15)
    exact, wide = deepcopy(model).eval().double(), x.double().requires_grad_()
    (slope,) = torch.autograd.grad(nn.functional.cross_entropy(exact(wide), y, reduction="sum"), wide)
    clear = slope.abs() > 1e-6  # the toolbox computes in float32, in which smaller ones may have either sign
    assert clear.double().mean() > 0.8
    torch.testing.assert_close(found[clear], fgsm(model, x, y, eps=0.15)[clear], rtol=0, atol=1e-6)
    assert all(one.grad is None for one in model.parameters())
    assert model.training
    one, same = (find_attack("art:SquareAttack")(model, x, y, eps=0.2, max_iter=10) for _ in range(2))
    assert torch.equal(one, same)
    assert (one - x).abs().max() <= 0.2 + 1e-6
    assert (state == np.random.get_state()[1]).all()  # noqa: NPY002
    targets = (y + 1) % 10
    found = find_attack("art:SaliencyMapMethod")(model, x[:5], y[:5], targets=targets[:5])
    assert (classes(model, found) == targets[:5]).double().mean() >= 0.8


def test_the_toolbox_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "art", None)
    monkeypatch.setitem(sys.modules, "art.attacks", None)
    with pytest.raises(ImportError, match="art:NAME needs the Adversarial Robustness Toolbox: pip install"):
        find_attack("art:DeepFool")(network(), images(2), torch.tensor([0, 1]))


@pytest.mark.usefixtures("toolbox")
def test_what_the_toolbox_cannot_do() -> None:
    model, x, y = network().float(), images(2, dtype=torch.float32), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="has no evasion attack 'DeepFol'; the nearest are 'DeepFool'"):
        find_attack("art:DeepFol")(model, x, y)
    with pytest.raises(
        ValueError, match="art:SaliencyMapMethod needs targets: towards the true class it would do nothing"
    ):
        find_attack("art:SaliencyMapMethod")(model, x, y)
    with pytest.raises(ValueError, match="targets must differ from the true classes; 1 of 2 are the true class"):
        find_attack("art:SaliencyMapMethod")(model, x, y, targets=torch.tensor([0, 0]))
    with pytest.raises(TypeError, match="art:DeepFool has no setting 'max_itr'; the nearest are 'max_iter'"):
        find_attack("art:DeepFool")(model, x, y, max_itr=3)
    with pytest.raises(ValueError, match="labels must be numbers of 4 classes; got 0 to 4"):
        find_attack("art:DeepFool")(model, x, torch.tensor([0, 4]))


@pytest.mark.parametrize("step_size", [-0.05, 0.0, float("nan"), float("inf")])
def test_a_step_that_is_none(step_size: float) -> None:
    with pytest.raises(ValueError, match="step_size must be above 0 and finite; got"):
        pgd(nn.Flatten(), torch.rand(1, 1, 2, 2), torch.tensor([0]), step_size=step_size)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_take_nothing_from_an_attack(digits: tuple[nn.Module, Tensor, Tensor], dtype: torch.dtype) -> None:
    model, x, y = deepcopy(digits[0]).float(), digits[1].float(), digits[2]
    for attack in (partial(fgsm, eps=0.15), partial(pgd, eps=0.1), partial(pgd, eps=1.0, norm="l2")):
        found = [attack(model, one, y).float() for one in (x, x.to(dtype))]
        shares = [float((classes(model, one) != y).double().mean()) for one in found]
        assert shares[1] == pytest.approx(shares[0], abs=0.05)


def test_the_loss_of_images_in_float64_keeps_the_true_class(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    sure, x, y = deepcopy(digits[0]).float(), digits[1].float(), digits[2]
    head = next(one for one in reversed(list(sure.modules())) if isinstance(one, nn.Linear))
    head.weight.data *= 3
    head.bias.data *= 3
    found = [fgsm(sure, one, y, eps=0.15).float() for one in (x, x.double())]
    shares = [float((classes(sure, one) != y).double().mean()) for one in found]
    assert shares[1] > shares[0] + 0.1


def test_cw_leaves_an_image_alone_that_fools_already(digits: tuple[nn.Module, Tensor, Tensor]) -> None:
    model, x, y = (one if isinstance(one, nn.Module) else one[:4] for one in digits)
    assert torch.equal(cw(model, x, (y + 1) % 10, steps=3), x)


def test_grey_images_of_a_network_of_three_channels() -> None:
    model, x = network(3), images(2, 1)
    y = torch.zeros(2, dtype=torch.int64)
    assert fgsm(model, x, y).shape == x.shape
    with pytest.raises(ValueError, match="compat needs images of 3 channels; got 1"):
        fgsm(model, x, y, compat="lu2022")


@pytest.mark.parametrize("attack", [fgsm, pgd, cw])
def test_attacks_where_torch_keeps_no_gradients(attack) -> None:
    model, x, y = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
    expected = attack(model, x, y)
    with torch.inference_mode():
        kept = x.clone()
        assert torch.equal(attack(model, x, y), expected)
    assert torch.equal(attack(model, kept, y), expected)
