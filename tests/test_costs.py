"""Costs against published counts and by hand."""

import time
import warnings

import pytest
import torch
import torchvision
from torch import Tensor, nn

from graphmod.costs import cost, latency
from graphmod.models import build


def test_resnet56_has_its_published_cost() -> None:
    found = cost(build("resnet56"), torch.rand(2, 3, 32, 32))
    assert found["macs"] == pytest.approx(125.5e6, rel=1e-3)
    assert found["num_parameters"] == 853_018


@pytest.mark.parametrize(("name", "macs"), [("resnet50", 4.09e9), ("vit_b_16", 17.56e9), ("vgg11", 7.61e9)])
def test_torchvision_states_the_same(name: str, macs: float) -> None:
    found = cost(build(f"torchvision:{name}", num_classes=1000), torch.rand(1, 3, 224, 224))
    assert found["macs"] == pytest.approx(macs, rel=0.005)  # `GFLOPS` of torchvision's table of weights


def test_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 25, 7)).train()
    found = cost(model, torch.rand(3, 3, 5, 5))
    assert found == {
        "num_parameters": 4 * 27 + 4 + 700 + 7,
        "macs": 25 * 4 * 27 + 700,
        "activation_memory": 4 * (100 + 100 + 100 + 7),
    }
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ValueError, match="sample must hold at least one sample; got none"):
        cost(model, torch.rand(0, 3, 5, 5))
    with pytest.raises(TypeError, match="model must be a torch.nn.Module; got str"):
        cost("resnet20", torch.rand(1, 3, 5, 5))
    with pytest.raises(TypeError, match="sample must be a tensor; got list"):
        cost(model, [0.5])


class Token(nn.Module):
    """Hands a view of a parameter to a submodule, as vision transformers do with their class token."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.frozen = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.norm = nn.LayerNorm(4)
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x + self.norm(self.token.expand(len(x), -1)))


def test_a_view_of_a_parameter_goes_into_a_submodule() -> None:
    model = Token()
    assert cost(model, torch.rand(2, 4))["macs"] == 12
    assert [name for name, one in model.named_parameters() if not one.requires_grad] == ["frozen"]


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_are_counted(kind: type[nn.Module], gates: int) -> None:
    one = gates * 16 * (8 + 16)
    assert cost(kind(8, 16, batch_first=True), torch.rand(3, 5, 8))["macs"] == 5 * one
    deep = kind(8, 16, num_layers=2, bidirectional=True, batch_first=True)
    assert cost(deep, torch.rand(3, 5, 8))["macs"] == 5 * 2 * (one + gates * 16 * (32 + 16))


class Sleep(nn.Module):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return x


def test_latency_is_that_of_the_pass() -> None:
    found = latency({"short": Sleep(0.002), "long": Sleep(0.02)}, torch.rand(1, 2), repeats=3)
    assert 0.002 <= found["short"] < 0.02 <= found["long"]
    with pytest.raises(ValueError, match="repeats must be at least 1; got 0"):
        latency({}, torch.rand(1, 2), repeats=0)


def test_latency_of_a_network_in_bfloat16() -> None:
    assert latency({"half": nn.Linear(2, 2).bfloat16()}, torch.rand(3, 2), repeats=1)["half"] > 0


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_the_output_of_a_parametrized_layer_is_memory_and_its_weight_is_not(norm) -> None:
    model = nn.Sequential(norm(nn.Linear(4, 8)), nn.ReLU())
    assert cost(model, torch.rand(2, 4))["activation_memory"] == 4 * (8 + 8)


def test_compiled_blocks_cost_what_they_cost_uncompiled() -> None:
    def never(*_: object) -> None:
        raise AssertionError("it is compiled")

    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(3, 4)
    expected = cost(model, x)
    assert expected["activation_memory"] == 4 * (8 + 8 + 2)
    assert cost(nn.Sequential(torch.compile(model[:2], backend=never), model[2]), x) == expected
    model.compile(backend=never)
    assert cost(model, x) == expected


class Products(nn.Module):
    """A matrix and a vector, and two vectors."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[0] @ x[0, 0]) + x[0, 0] @ x[0, 1]


def test_products_with_vectors_count() -> None:
    assert cost(Products(), torch.rand(3, 4, 8))["macs"] == 4 * 8 + 8


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (lambda x: nn.functional.bilinear(x[0, :, :3], x[0, :, 3:], torch.ones(5, 3, 4)), 6 * 5 * 3 * 4),
        (lambda x: torch.addmv(torch.ones(6), x[0], torch.ones(7)), 6 * 7),
        (lambda x: torch.addbmm(torch.ones(6, 2), x, torch.ones(len(x), 7, 2)), 6 * 7 * 2),
    ],
    ids=["bilinear", "addmv", "addbmm"],
)
def test_products_that_torch_does_not_count(function, macs: int) -> None:
    assert cost(Function(function), torch.rand(3, 6, 7))["macs"] == macs


def test_what_does_not_depend_on_the_batch_is_counted_in_full() -> None:
    table = nn.Linear(5, 5)
    model = Function(lambda x: x @ table(torch.ones(9, 5))[:4])
    assert cost(model, torch.rand(1, 2, 4)) == cost(model, torch.rand(8, 2, 4))
    assert cost(model, torch.rand(8, 2, 4))["macs"] == 9 * 5 * 5 + 2 * 4 * 5


def test_quantized_layers_are_not_counted_as_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), {nn.Linear})
    with pytest.raises(
        ValueError, match="layer '1' is quantized, and cannot be counted; take the network before its con"
    ):
        cost(model, torch.rand(2, 4))


def test_a_network_that_is_to_be_quantized_is_counted() -> None:
    model = torchvision.models.quantization.resnet18(weights=None)
    plain = torchvision.models.resnet18(weights=None)
    x = torch.rand(1, 3, 64, 64)
    assert cost(model, x)["macs"] == cost(plain, x)["macs"]
