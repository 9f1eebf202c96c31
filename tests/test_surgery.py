"""Removing layers: what can go, what cannot and why, and that what is left is an ordinary network."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import transformers
from torch import Tensor, nn

from graphmod._cuts import cut
from graphmod.models import build, load_weights, save_weights
from graphmod.pruning import plan_removal
from graphmod.surgery import drop_layers, removable_layers, skip_layers, that_can_go
from graphmod.trials import without_each


def images(size: int = 32, n: int = 2) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def outputs(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def removable(model: nn.Module, x: Tensor) -> list[str]:
    table = removable_layers(model, x)
    return list(table.layer[table.removable])


NETWORKS = [  # name, image size, layers that can go, one of them, and the reason of one that cannot
    ("resnet20", 32, 7, "layer1.0", ("layer2.0", "makes [32, 16, 16] of the shape [16, 32, 32]")),
    ("resnet56", 32, 25, "layer3.8", ("layer3.0", "makes [64, 8, 8] of the shape [32, 16, 16]")),
    ("vgg16", 32, 9, "features.3", ("features.0", "makes [64, 32, 32] of the shape [3, 32, 32]")),
    ("torchvision:resnext50_32x4d", 64, 12, "network.layer1.1",
     ("network.layer1.0", "makes [256, 16, 16] of the shape [64, 16, 16]")),
    ("torchvision:vit_b_32", 224, 12, "network.encoder.layers.encoder_layer_3",
     ("network.heads.head", "makes [10] of the shape [768]")),
    ("torchvision:swin_t", 64, 12, "network.features.5.2",
     ("network.features.2", "makes [8, 8, 192] of the shape [16, 16, 96]")),
    ("torchvision:convnext_tiny", 64, 18, "network.features.3.1",
     ("network.features.0", "makes [96, 16, 16] of the shape [3, 64, 64]")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "size", "number", "layer", "refused"), NETWORKS, ids=[one[0] for one in NETWORKS])
def test_networks(name: str, size: int, number: int, layer: str, refused: tuple[str, str], tmp_path: Path) -> None:
    model, x = build(name), images(size)
    if "vit" in name:
        nn.init.normal_(model.get_submodule("network.heads.head").weight)  # torchvision starts it at zero
    table = removable_layers(model, x).set_index("layer")
    assert table.removable.sum() == number
    assert table.removable[layer]
    assert table.reason[refused[0]] == refused[1]
    static = removable_layers(model).set_index("layer")
    assert (static.removable == table.removable).all()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    smaller = drop_layers(model, [layer], x)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert smaller.state_dict().keys() < before.keys()
    result = outputs(smaller, x)
    assert result.shape == (2, 10)
    assert not torch.equal(result, outputs(model, x))
    (trial,) = without_each(model, x, [layer])
    assert torch.equal(trial.logits, result)
    torch.testing.assert_close(outputs(skip_layers(model, [layer], x), x), result, rtol=0, atol=0)
    save_weights(smaller, tmp_path / "smaller.safetensors")
    again = load_weights(drop_layers(build(name, seed=1), [layer]), tmp_path / "smaller.safetensors")
    assert torch.equal(outputs(again, x), result)
    with pytest.raises(ValueError, match="cannot be removed: it (makes|takes|seems)"):
        drop_layers(model, [refused[0]])


@pytest.mark.parametrize("name", ["resnet20", "torchvision:resnet50"])
def test_a_block_whose_residual_is_zero_goes_without_a_trace(name: str) -> None:
    model, x = build(name), images(64)
    layer = next(iter(removable(model, x)[1:]))
    block = model.get_submodule(layer)
    norm = block.get_submodule("bn3" if "resnet50" in name else "bn2")
    nn.init.zeros_(norm.weight)
    assert torch.equal(outputs(drop_layers(model, [layer]), x), outputs(model, x))


def test_a_shared_activation_stays() -> None:
    act, x = nn.ReLU(), torch.randn(9, 4)
    model = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 2)).eval()
    assert removable(model, x) == ["0", "2", "4"]
    for layer in ("0", "2", "4"):
        kept = [child for key, child in model._modules.items() if key != layer]
        smaller = drop_layers(model, [layer], x)
        assert list(smaller._modules) == [key for key in model._modules if key != layer]
        assert torch.equal(outputs(smaller, x), outputs(nn.Sequential(*kept), x))
        assert torch.equal(outputs(skip_layers(model, [layer], x), x), outputs(smaller, x))
        (trial,) = without_each(model, x, [layer])
        assert torch.equal(trial.logits, outputs(smaller, x))


def test_a_layer_that_stands_in_several_places_stays() -> None:
    linear, block, x = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.randn(2, 4)
    model = nn.Sequential(linear, nn.ReLU(), linear, nn.ReLU(), block, block, nn.Linear(4, 2))
    reasons = removable_layers(model).set_index("layer").reason
    assert reasons.to_dict() == {
        "0": "stands in 2 places", "2": "stands in 2 places", "6": "takes 4 channels and gives 2",
        "4.0": "stands in 2 places",
    }  # fmt: skip
    assert removable_layers(model, x).set_index("layer").reason["4.0"] == "runs 2 times in one pass"
    held = nn.ModuleDict({"chain": model[5:], "again": model[5]})
    held.forward = lambda x: held["chain"](x)
    assert removable(held, x) == ["chain.5.0"]
    assert not removable_layers(held).removable.any()


class Strided(nn.Module):
    """Attention to every other token: a stride inside, the shape as it was."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv1d(4, 4, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.reduce(x.transpose(1, 2)).mean(2)[:, None]


class TupleBlock(nn.Module):
    """A block like those of language models: it gives a tuple, and takes more than its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor, scale: float = 1.0) -> tuple[Tensor, None]:
        return x + scale * self.linear(x), None


class TupleNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TupleBlock(4) for _ in range(4))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x, _ = block(x, scale=0.5)
        return self.head(x)


def test_a_module_list_of_blocks_that_give_tuples() -> None:
    model, x = TupleNetwork().eval(), torch.rand(5, 4)
    assert removable(model, x) == [f"blocks.{i}" for i in range(4)]
    smaller = drop_layers(model, ["blocks.1", "blocks.3"], x)
    assert [name for name, _ in smaller.blocks.named_children()] == ["0", "1"]
    assert smaller.blocks[1].linear.weight is not model.blocks[2].linear.weight
    assert torch.equal(smaller.blocks[1].linear.weight, model.blocks[2].linear.weight)
    trials = {trial.layer: trial.logits for trial in without_each(skip_layers(model, ["blocks.1"], x), x, ["blocks.3"])}
    assert torch.equal(trials["blocks.3"], outputs(smaller, x))


def test_a_wrapped_network_is_not_a_block_of_its_wrapper() -> None:
    model = nn.Sequential(nn.Identity(), build("resnet20"))
    assert removable(model, images()) == [f"1.{name}" for name in removable(build("resnet20"), images())]


def test_a_stage_can_lose_all_its_blocks() -> None:
    model, x = build("resnet20"), images()
    smaller = drop_layers(model, ["layer1.0", "layer1.1", "layer1.2"], x)
    assert not len(smaller.layer1)
    assert outputs(smaller, x).shape == (2, 10)


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        block = nn.Linear(4, 4)
        self.chain = nn.Sequential(block, nn.ReLU())
        self.idle = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.chain(self.chain(x))


@pytest.mark.parametrize(
    ("model", "layer", "message"),
    [
        (Reused, "chain.0", "layer 'chain.0' cannot be removed: it runs 2 times in one pass"),
        (Reused, "idle.0", "layer 'idle.0' cannot be removed: it never runs"),
        (lambda: nn.Sequential(nn.Linear(4, 3)), "0", "layer '0' cannot be removed: it makes [3] of the shape [4]"),
        (TupleNetwork, "head", "no removable layer named 'head'.*layers that a module calls by name cannot go"),
    ],
)
def test_what_a_pass_refuses(model: Callable[[], nn.Module], layer: str, message: str) -> None:
    pattern = message.replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(ValueError, match=pattern):
        drop_layers(model(), [layer], torch.rand(2, 4))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["layer2.0"], "layer 'layer2.0' cannot be removed: it seems to take 16 channels and give 32"),
        (["layer1.1", "layer1.1"], "layer 'layer1.1' is named 2 times; name it once"),
        (["layer1.9"], "no removable layer named 'layer1.9'; the nearest are 'layer1.2'"),
        (["conv1"], "layers that a module calls by name cannot go"),
    ],
)
def test_what_names_refuse(layers: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drop_layers(build("resnet20"), layers)


def test_one_name_and_tables_of_something_else() -> None:
    assert drop_layers(build("resnet20"), "layer1.1").state_dict().keys() == drop_layers(
        build("resnet20"), ["layer1.1"]
    ).state_dict().keys()  # fmt: skip
    with pytest.raises(ValueError, match="the plan has no column 'layer'; it has depth, reason"):
        drop_layers(build("resnet20"), pd.DataFrame({"depth": [1], "reason": [""]}))


def test_a_stride_is_seen_without_a_pass() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, stride=2, padding=1))
    assert removable_layers(model).reason.tolist() == ["", "has a stride of 2"]
    with pytest.raises(TypeError, match="model must be a torch.nn.Module; got str"):
        removable_layers("resnet20")


def test_shapes_that_were_seen_decide() -> None:
    model, x = build("torchvision:squeezenet1_1"), images(64)
    fires = [f"network.features.{i}" for i in (4, 7, 10, 12)]  # they end with two layers side by side
    assert removable(model, x) == fires
    reasons = removable_layers(model).set_index("layer").reason
    assert reasons[fires[0]] == "seems to take 128 channels and give 64"
    assert drop_layers(model, fires, x)(x).shape == (2, 10)
    narrow = nn.Sequential(nn.Conv2d(3, 3, 3, stride=2, padding=1), nn.Conv2d(3, 3, 1), nn.Flatten())
    assert removable_layers(narrow, torch.rand(2, 3, 1, 1)).reason.tolist() == ["has a stride of 2", ""]
    attention = nn.Sequential(nn.TransformerEncoderLayer(4, 1, 8, batch_first=True), nn.Sequential(Strided()))
    assert removable_layers(attention).reason.tolist() == ["", "seems to have a stride of 2"]
    assert removable(attention, torch.rand(2, 6, 4)) == ["0", "1.0"]


@pytest.mark.parametrize(
    ("name", "there", "number"),
    [
        ("torchvision:regnet_y_400mf", "network.trunk_output.block4.block4-5", 12),
        ("torchvision:efficientnet_b0", "network.features.4.2", 9),
        ("torchvision:mnasnet0_5", "network.layers.9.1", 11),
        ("timm:resnetv2_50", "network.stages.2.blocks.5", 12),
        ("timm:convnext_atto", "network.stages.3.blocks.1", 12),
    ],
)
def test_blocks_of_networks_of_others(name: str, there: str, number: int) -> None:
    model, x = build(name), images(64)
    table = removable_layers(model, x).set_index("layer")
    assert table.removable[there]
    assert table.removable.sum() == number
    if name.startswith("torchvision"):
        assert table.index.str.count(r"\.").max() == there.count(".")  # nothing inside a block


def test_what_takes_or_gives_no_tensor_stays() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: list | Tensor) -> list[list[Tensor]]:
            while isinstance(x, list):
                x = x[0]
            return [[self.linear(x)]]

    model = nn.Sequential(Pair(), Pair())
    assert removable_layers(model, torch.rand(2, 4)).reason.tolist() == ["gives no tensor", "takes no tensor"]


class Step(nn.Module):
    """A block of a transformer without its residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).relu())


class Both(Step):
    """Gives two tensors."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + super().forward(x), x


class Uses(nn.Module):
    """A network of steps that uses them in one way or another."""

    def __init__(self, how: str, *, head: bool = True) -> None:
        super().__init__()
        self.how = how
        pairs = how == "pairs"
        self.layers = nn.ModuleList(nn.ModuleList([Step(), Step()]) if pairs else Step() for _ in range(4))
        if how == "both":
            self.layers = nn.ModuleList(Both() for _ in range(4))
        self.head = nn.Linear(4, 2)
        if not head:
            nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i, layer in enumerate(self.layers):
            match self.how:
                case "step":
                    x = layer(x)
                case "residual":
                    x = x + layer(x)
                case "pairs":
                    first, second = layer
                    x = second(first(x))
                case "number":
                    x = layer(x) * 2 if i == 1 else layer(x)
                case "both":
                    x, y = layer(x + y)
        return self.head(x)


MORE = "is more than a step: the network without it is not that where it does nothing"


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize(
    ("how", "reasons"),
    [
        ("step", ["", "", "", ""]),
        ("residual", [MORE] * 4),
        ("pairs", ["is counted on: without it the network raises ValueError"] * 8),
        ("number", [MORE, MORE, "", ""]),
        ("both", ["cannot be tried: where it hands on its input the network raises TypeError"] * 3 + [MORE]),
    ],
)
def test_layers_that_are_more_than_a_step_stay(how: str, reasons: list[str], head: bool) -> None:
    torch.manual_seed(0)
    model, x = Uses(how, head=head).train(), torch.rand(5, 4)
    before = [name for name, _ in model.named_modules()]
    assert removable_layers(model, x).reason.tolist() == reasons
    assert [name for name, _ in model.named_modules()] == before
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())
    if reasons[0]:
        with pytest.raises(ValueError, match=f"cannot be removed: it {reasons[0]}"):
            drop_layers(model, ["layers.0" if how != "pairs" else "layers.0.0"], x)


def test_what_is_random_is_the_same_with_and_without() -> None:
    class Noisy(Uses):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + torch.rand_like(x))

    state = torch.get_rng_state()
    assert len(removable(Noisy("step"), torch.rand(3, 4))) == 4
    torch.set_rng_state(state)


def test_blocks_addressed_by_number() -> None:
    model, x = build("timm:convit_tiny"), images(224)
    reasons = removable_layers(model, x).reason
    assert reasons.tolist() == [MORE] * 10 + ["", ""]  # the class token comes in before the eleventh


def test_export() -> None:
    x = images(n=2)
    smaller = drop_layers(build("resnet20"), ["layer1.1", "layer3.2"], x)
    exported = torch.export.export(smaller, (x,))
    torch.testing.assert_close(exported.module()(x), outputs(smaller, x))


def test_layers_that_can_go_are_listed_or_missed() -> None:
    table = removable_layers(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    assert that_can_go(table) == ["0"]
    with pytest.raises(ValueError, match="no layer can go; 1 in a Sequential or ModuleList were looked at"):
        that_can_go(table[1:])


def test_blocks_that_hold_matrices_of_their_own() -> None:
    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.rand(4, 4) / 4)

        def forward(self, x: Tensor) -> Tensor:
            return x + x @ self.matrix

    model = nn.Sequential(nn.Linear(3, 4), nn.Sequential(Step(), nn.LayerNorm(4), Step()), nn.Linear(4, 2))
    for sample in (None, torch.rand(5, 3)):
        table = removable_layers(model, sample).set_index("layer")
        assert list(table.index[table.removable]) == ["1.0", "1.2"]


def test_a_pruned_network_of_hugging_face_comes_back_from_its_folder(tmp_path: Path) -> None:
    config = transformers.GPT2Config(n_layer=4, n_embd=16, n_head=2, vocab_size=50, bos_token_id=1, eos_token_id=2)
    whole, ids = transformers.GPT2LMHeadModel(config).eval(), torch.randint(3, 50, (2, 6))
    assert list(removable_layers(whole, ids).layer) == [f"transformer.h.{i}" for i in range(4)]
    smaller = drop_layers(whole, ["transformer.h.0", "transformer.h.2"], ids)
    assert (smaller.config.n_layer, whole.config.n_layer) == (2, 4)
    assert [block.attn.layer_idx for block in smaller.transformer.h] == [0, 1]
    assert [block.attn.layer_idx for block in whole.transformer.h] == [0, 1, 2, 3]
    smaller.save_pretrained(tmp_path)
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert torch.equal(again(ids).logits, smaller(ids).logits)
    longer = again.generate(ids, max_new_tokens=3, do_sample=False)
    assert longer.shape == (2, 9)


def test_a_sample_that_is_no_tensor() -> None:
    with pytest.raises(TypeError, match="sample must be a tensor; got dict"):
        removable_layers(nn.Linear(2, 2), {"x": torch.rand(2, 2)})


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x).tanh()


class Counted(nn.Module):
    """Adds to the output what goes into its middle block, or what its fourth block from the end gives."""

    def __init__(self, fourth: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fourth = fourth
        self.blocks = nn.ModuleList(Residual() for _ in range(6))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for i, block in enumerate(self.blocks):
            if i == len(self.blocks) // 2:
                middle = x
            x = block(x)
            outputs.append(x)
        return self.head(x + (outputs[-4] if self.fourth else middle))


@pytest.mark.parametrize("fourth", [True, False])
def test_layers_that_can_go_one_by_one_and_not_together(fourth: bool) -> None:
    model, x, y = Counted(fourth), torch.rand(40, 4), torch.arange(40) % 2
    can = list(that_can_go(removable_layers(model, x)))
    assert len(can) >= 2
    drop_layers(model, can[:1], x)
    with pytest.raises(ValueError, match="can go one by one, but not together: what they do is"):
        drop_layers(model, can, x)
    with pytest.raises(ValueError, match="can go one by one, but not together"):
        plan_removal(model, x, y, num_layers=len(can), criterion="random")
    assert len(plan_removal(model, x, y, num_layers=1, criterion="random")) == 1


SMALL = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
HEADS = {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "sliding_window": 4}
TWO_STACKS = {f"{stack}_{what}": n for stack in ("encoder", "decoder") for what, n in (("layers", 3), ("ffn_dim", 16))}
HUGGING_FACE = {
    "one window in two": (
        lambda: transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**SMALL, **HEADS, **TOKENS)),
        ["model.layers.0", "model.layers.1"],
    ),
    "kinds that are written down": (
        lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**SMALL, **HEADS, **TOKENS)),
        ["model.layers.2"],
    ),
    "another word for the number": (
        lambda: transformers.GPTNeoForCausalLM(
            transformers.GPTNeoConfig(
                hidden_size=16, num_layers=4, num_heads=2, vocab_size=50, attention_types=[[["global", "local"], 2]],
                window_size=4, intermediate_size=16, **TOKENS,
            )
        ),
        ["transformer.h.1"],
    ),
    "a holder without a config": (
        lambda: transformers.DistilBertForSequenceClassification(
            transformers.DistilBertConfig(dim=16, n_layers=4, n_heads=2, hidden_dim=16, vocab_size=50)
        ),
        ["distilbert.transformer.layer.1"],
    ),
    "two stacks": (
        lambda: transformers.BartForConditionalGeneration(
            transformers.BartConfig(
                d_model=16, encoder_attention_heads=2, decoder_attention_heads=2, vocab_size=50,
                max_position_embeddings=64, **TWO_STACKS, **TOKENS,
            )
        ),
        ["model.decoder.layers.1"],
    ),
    "a backbone": (
        lambda: transformers.Dinov2ForImageClassification(
            transformers.Dinov2Config(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=32, patch_size=8)
        ),
        ["dinov2.encoder.layer.1"],
    ),
    "stages": (
        lambda: transformers.ConvNextForImageClassification(
            transformers.ConvNextConfig(hidden_sizes=[4, 8, 8, 8], depths=[2, 2, 4, 2], image_size=32)
        ),
        ["convnext.encoder.stages.2.layers.1", "convnext.encoder.stages.0.layers.0"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_networks_of_hugging_face_are_what_skips_the_layers_and_come_back(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, layers = HUGGING_FACE[name]
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x = torch.rand(2, 3, 32, 32) if name in ("stages", "a backbone") else torch.randint(3, 50, (2, 12))
    config, state = model.config.to_dict(), torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        smaller = drop_layers(model, layers, x)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.config.to_dict() == config
    with torch.no_grad():
        found, skipped = smaller(x).logits, skip_layers(model, layers, x)(x).logits
        torch.testing.assert_close(found, skipped)
        smaller.save_pretrained(tmp_path)
        assert torch.equal(type(model).from_pretrained(tmp_path).eval()(x).logits, found)


def test_a_config_that_cannot_say_which_layers_are_left() -> None:
    config = transformers.SwinConfig(
        image_size=32, patch_size=2, embed_dim=8, depths=[2, 4], num_heads=[2, 2], window_size=4
    )
    model, x = transformers.SwinForImageClassification(config).eval(), torch.rand(2, 3, 32, 32)
    model(x)
    last = "swin.encoder.layers.1.blocks.3"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drop_layers(model, [last], x).config.depths == [2, 3]
    with pytest.warns(UserWarning, match="the config of SwinForImageClassification cannot say which layers are left"):
        drop_layers(model, ["swin.encoder.layers.1.blocks.0"], x)


def test_a_head_that_the_config_does_not_know() -> None:
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL)).eval()
    model.classifier = nn.Sequential(
        nn.Sequential(nn.Linear(16, 16), nn.ReLU()), nn.Sequential(nn.Linear(16, 16), nn.ReLU()), nn.Linear(16, 2)
    )
    ids = torch.randint(3, 50, (2, 6))
    smaller = drop_layers(model, ["classifier.1.0", "bert.encoder.layer.0"], ids)
    assert torch.equal(
        smaller(ids).logits, skip_layers(model, ["classifier.1.0", "bert.encoder.layer.0"], ids)(ids).logits
    )


class Numbered(nn.Module):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.inner, self.layer_idx, self.layer_id = nn.Linear(4, 4), number, number

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def test_numbers_of_layers_without_a_config() -> None:
    again, last = Numbered(0), Numbered(2)
    model = nn.Module()
    model.twice, model.chain = nn.ModuleList([again, again, last]), nn.ModuleList(map(Numbered, range(4)))
    cut(model, ["chain.1"])
    assert [(one.layer_idx, one.layer_id) for one in model.twice] == [(0, 0), (0, 0), (2, 2)]
    assert [(one.layer_idx, one.layer_id) for one in model.chain] == [(0, 0), (1, 2), (2, 3)]
