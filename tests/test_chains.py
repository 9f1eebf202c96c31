"""Chains: which modules are layers that could go, which go along, and what a pass sees of them."""

import torch
from torch import Tensor, nn

from graphmod._chains import Skip, chain_layers, run_once


def convolution() -> nn.Module:
    return nn.Conv2d(2, 2, 3, padding=1)


def test_a_convolution_takes_its_norm_and_activation_along() -> None:
    model = nn.Sequential(
        convolution(),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        convolution(),
        nn.GELU(),
        nn.Dropout(),
        nn.Flatten(),
    )
    assert chain_layers(model) == {"0": ["0", "1", "2"], "4": ["4", "5", "6"]}


def test_what_stands_before_the_first_layer_goes_with_none() -> None:
    assert chain_layers(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(2), convolution())) == {"2": ["2"]}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(convolution(), nn.ReLU(), convolution())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def test_blocks_count_and_not_what_is_inside_them_nor_the_stages_that_hold_them() -> None:
    stages = nn.Sequential(nn.Sequential(Block(), Block()), nn.Sequential(Block(), Block()))
    assert list(chain_layers(stages)) == ["0.0", "0.1", "1.0", "1.1"]
    assert list(chain_layers(nn.ModuleList([Block(), Block()]))) == ["0", "1"]
    assert list(chain_layers(nn.Sequential(Block(), Skip()))) == ["0"]
    one = nn.Sequential(nn.Identity(), nn.Sequential(Block(), Block(), Block()))
    one[1][0], one[1][2] = Skip(None, 2), Skip(None, 2)
    assert list(chain_layers(one)) == ["1.1"]
    assert chain_layers(Block().inner) == {"0": ["0", "1"], "2": ["2"]}


class Joined(nn.Sequential):
    """A convolution and its norm as one module, as torchvision writes it."""

    def __init__(self) -> None:
        super().__init__(convolution(), nn.BatchNorm2d(2), nn.ReLU())


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = convolution(), convolution()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.up(self.down(x).relu()).sigmoid()


class Inverted(nn.Module):
    """A residual block whose inside is a chain."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(Joined(), Gate(), Joined())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class AnyStage(nn.Sequential):
    """A chain by another name, as torchvision writes it."""


class BlockStage(nn.Module):
    """A stage that calls its parts by name, as timm and transformers write it."""

    def __init__(self) -> None:
        super().__init__()
        self.downsample = nn.ModuleDict({"inner": nn.Sequential(convolution(), nn.ReLU())})
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample["inner"](x))


def test_the_only_block_of_a_stage_is_a_block() -> None:
    stages = nn.Sequential(Joined(), nn.Sequential(Inverted()), nn.Sequential(Inverted(), Inverted()))
    assert list(chain_layers(stages)) == ["0", "1.0", "2.0", "2.1"]
    assert list(chain_layers(nn.Sequential(nn.Identity(), nn.ModuleList([stages])))) == [
        "1.0.0",
        "1.0.1.0",
        "1.0.2.0",
        "1.0.2.1",
    ]


def test_a_network_is_seen_in_what_wraps_it() -> None:
    plain = nn.ModuleDict({"features": nn.Sequential(convolution(), nn.ReLU(), convolution())})
    assert list(chain_layers(nn.Sequential(nn.Identity(), plain))) == ["1.features.0", "1.features.2"]
    deep = nn.ModuleDict(
        {"wrap": nn.Sequential(nn.ModuleDict({"stage": nn.Sequential(Block(), Block())})), "more": Joined()}
    )
    deep["head"] = nn.ModuleList([Joined() for _ in range(9)])
    assert list(chain_layers(deep))[:2] == ["wrap.0.stage.0", "wrap.0.stage.1"]


def test_stages_by_another_name() -> None:
    stages = nn.Sequential(Joined(), AnyStage(Block()), AnyStage(Block(), Block()), BlockStage())
    assert list(chain_layers(stages)) == ["0", "1.0", "2.0", "2.1", "3.blocks.0", "3.blocks.1"]


class Named(nn.Module):
    """Calls its blocks with keywords only."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Bilinear(3, 3, 3) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(input1=x, input2=x)
        return x


def test_what_is_called_by_keywords_is_seen() -> None:
    seen = run_once(Named(), torch.rand(2, 3), {"0": ["blocks.0"], "1": ["blocks.1"]}, keep="inputs and outputs")
    assert [(one.given, one.made) for one in seen.values()] == [([3], [3]), ([3], [3])]
    assert seen["1"].input is not None


def test_a_pass_is_recorded_in_order_with_copies() -> None:
    model = nn.Sequential(Block(), nn.ReLU(inplace=True), Block())
    x = torch.randn(3, 2, 4, 4)
    seen = run_once(model, x, chain_layers(model), keep="inputs and outputs")
    assert [(one.runs, one.place) for one in seen.values()] == [(1, 1), (1, 2)]
    assert seen["0"].given == seen["0"].made == [2, 4, 4]
    assert torch.equal(seen["0"].input, x)
    with torch.no_grad():
        assert torch.equal(seen["0"].output, model[0](x))  # not what the ReLU made of it in place
    assert run_once(model, x, {"0": ["0"]})["0"].output is None


def test_what_is_skipped_hands_on_its_first_argument() -> None:
    x = torch.rand(2)
    assert Skip()(x, 1, key=2) is x
    assert Skip()(hidden_states=x, mask=None) is x
    assert Skip(3)(x) == (x, None, None)


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution()
        self.blocks = nn.Sequential(*(Block() for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))


def test_a_network_with_a_head_behind_it_shows_its_blocks() -> None:
    blocks = [f"0.blocks.{i}" for i in range(3)]
    assert list(chain_layers(nn.Sequential(Backbone()))) == blocks
    assert sorted(chain_layers(nn.Sequential(Backbone(), nn.Linear(4, 2)))) == [*blocks, "1"]
    assert list(chain_layers(nn.Sequential(convolution(), Block(), nn.Flatten(), nn.Linear(8, 2)))) == ["0", "1", "3"]
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 3)
    model = nn.Sequential(nn.Linear(3, 4), encoder, nn.Flatten(), nn.Linear(8, 2))
    assert [name for name in chain_layers(model) if name.startswith("1.")] == [f"1.layers.{i}" for i in range(3)]
