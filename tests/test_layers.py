"""Names of layers where torch puts modules of its own into a network: parametrizations, compiled parts."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from graphmod._layers import leaves
from graphmod.activations import layer_activations, layer_names
from graphmod.models import build
from graphmod.surgery import removable_layers


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_what_computes_a_weight_is_no_layer(norm) -> None:
    model = nn.Sequential(norm(nn.Linear(4, 4)), nn.ReLU(), norm(nn.Linear(4, 2)))
    x = torch.rand(5, 4)
    assert layer_names(model) == layer_names(model, "*:Linear") == ["0", "2"]
    assert layer_names(model, "all") == ["0", "1", "2"]
    assert list(layer_activations(model, x, "all")) == ["0", "1", "2"]
    assert leaves(model) == [model[0], model[1], model[2]]
    assert layer_names(model, "**") == ["0", "1", "2"]


def test_a_weight_norm_changes_no_blocks() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = parametrizations.weight_norm(nn.Linear(4, 4))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.inner(x)

    blocks = nn.Sequential(Block(), Block(), nn.Linear(4, 2))
    assert layer_names(blocks) == ["0", "1"]
    flat = nn.Sequential(*(parametrizations.weight_norm(nn.Linear(4, 4)) for _ in range(3)))
    assert layer_names(flat) == ["0", "1", "2"]
    assert removable_layers(flat, torch.rand(3, 4)).removable.tolist() == [True] * 3


def test_a_compiled_stage_shows_its_blocks() -> None:
    model, x = build("resnet20"), torch.rand(2, 3, 32, 32)
    names = [name.replace("layer1", "layer1._orig_mod") for name in layer_names(model)]
    expected = layer_activations(model, x)
    model.layer1 = torch.compile(model.layer1)
    model.linear = torch.compile(model.linear)
    assert layer_names(model) == layer_names(model, names) == names
    assert layer_names(model, "layer1.*")[0] == layer_names(model, "layer1.0")[0] == "layer1._orig_mod.0"
    assert layer_names(model, "*:Linear") == ["linear"]
    found = layer_activations(model, x)
    assert all(torch.equal(*rows) for rows in zip(found.values(), expected.values(), strict=True))
    table = removable_layers(model, x)
    assert table.layer[table.removable].tolist()[:3] == names[1:4]


def test_a_compiled_stage_of_a_network_that_states_nothing() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.inner(x)

    stages = [nn.Sequential(Block(), Block()), nn.Sequential(Block(), Block())]
    model = nn.Sequential(torch.compile(stages[0]), stages[1], torch.compile(Block()))
    blocks = ["0._orig_mod.0", "0._orig_mod.1", "1.0", "1.1"]
    assert layer_names(model) == [*blocks, "2"]
    assert removable_layers(model, torch.rand(3, 4)).layer.tolist() == ["2", *blocks]
    named = build("resnet20")
    inside = nn.Sequential(nn.Identity(), torch.compile(named))
    assert layer_names(inside) == [f"1._orig_mod.{name}" for name in layer_names(named)]
