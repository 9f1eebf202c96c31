import re
import shutil
import warnings
from collections import Counter, namedtuple
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from graphmod import dynamic_graph, knn_graph, layer_activations, layer_names
from graphmod.activations import each_layer, layer_sizes, num_bytes
from graphmod.inputs import output_tensor
from graphmod.models import build


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


class Odd(nn.Module):
    """Whatever a network may do to whoever watches it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.relu = nn.ReLU(inplace=True)
        self.twice = nn.Linear(4, 4)
        self.never = nn.Linear(4, 4)
        self.lstm = nn.LSTM(4, 3, batch_first=True)
        self.early = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(self.early(x)))
        x = self.twice(self.twice(x))
        return self.lstm(x[:, None])[0]


class Gives(nn.Module):
    def __init__(self, give) -> None:
        super().__init__()
        self.give, self.weight = give, nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor):
        return self.give(x)


def test_values_equal_a_plain_forward() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5)).eval()
    x = torch.rand(10, 1, 8, 8)
    found = layer_activations(model, x, "all", batch_size=3)
    expected = x
    for name, module in model.named_children():
        expected = module(expected)
        torch.testing.assert_close(found[name], expected.detach().flatten(1))
        assert not found[name].requires_grad


@pytest.mark.parametrize("kind", ["tensor", "dataset", "loader of pairs", "loader", "list of tensors"])
def test_samples_in_any_form_give_the_same(kind: str) -> None:
    x, y = torch.rand(10, 4), torch.zeros(10)
    samples = {
        "tensor": x,
        "dataset": TensorDataset(x, y),
        "loader of pairs": DataLoader(TensorDataset(x, y), batch_size=4),
        "loader": DataLoader(x, batch_size=4),
        "list of tensors": [x[:7], x[7:]],
    }[kind]
    model = nn.Sequential(nn.Linear(4, 3))
    torch.testing.assert_close(layer_activations(model, samples, "0")["0"], model(x).detach())


def test_a_later_in_place_operation_does_not_change_what_was_recorded() -> None:
    model, x = Odd(), torch.randn(6, 4)
    found = layer_activations(model, x, ["first", "relu"])
    torch.testing.assert_close(found["first"], model.first(x).detach())
    assert (found["first"] < 0).any()
    assert (found["relu"] >= 0).all()


def test_layers_come_in_the_order_in_which_they_run() -> None:
    assert list(layer_activations(Odd(), torch.rand(2, 4), ["first", "early", "lstm"])) == ["early", "first", "lstm"]


def test_modes_come_back_and_hooks_go_also_after_an_error() -> None:
    model = Odd().train()
    model.first.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    layer_activations(model, torch.rand(3, 4), "first")
    with pytest.raises(RuntimeError):
        layer_activations(model, torch.rand(3, 5), "first")
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_dropout_is_off_while_recording() -> None:
    x = torch.rand(3, 4)
    torch.testing.assert_close(layer_activations(Odd().train(), x, "early")["early"], x)


@pytest.mark.parametrize(
    "give",
    [
        lambda x: x,
        lambda x: (x, x + 1),
        lambda x: [None, x],
        lambda x: {"last_hidden_state": x, "other": x + 1},
        lambda x: {"hidden": x},
    ],
)
def test_tuples_and_dicts(give) -> None:
    x = torch.rand(3, 2, 2)
    assert torch.equal(layer_activations(nn.Sequential(Gives(give)), x, "0")["0"], x.flatten(1))


def test_transform_and_dtype() -> None:
    x = torch.rand(4, 8, 5, 5).to(torch.bfloat16)
    found = layer_activations(nn.Sequential(nn.Identity()), x, "0", pool=lambda x: x.mean((2, 3)))["0"]
    assert found.shape == (4, 8)
    assert found.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("frist", r"there is no layer named 'frist'; the nearest are 'first'"),
        ("twice@3", r"there is no twice@3: the layer runs 2 times in a forward pass"),
        ("never", r"layer 'never' never runs in a forward pass; the nearest are 'early', 'relu', 'twice'"),
    ],
)
def test_wrong_layers(layer: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer_activations(Odd(), torch.rand(3, 4), layer)


def test_outputs_that_are_not_one_row_a_sample() -> None:
    with pytest.raises(ValueError, match=r"layer '0' gives shape \[5, 3\] for 3 samples; .* pass a function as pool"):
        layer_activations(nn.Sequential(Gives(lambda x: x.T)), torch.rand(3, 5), "0")
    with pytest.raises(TypeError, match="layer '0' gives str, which holds no tensor; name a layer"):
        layer_activations(nn.Sequential(Gives(lambda x: "text")), torch.rand(3, 5), "0")


def test_an_output_holds_a_tensor() -> None:
    assert torch.equal(output_tensor(({}, torch.ones(2))), torch.ones(2))
    with pytest.raises(TypeError, match="the network gives str, which holds no tensor; let it give one"):
        output_tensor("text")


def test_wrong_samples() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    for samples in (torch.rand(0, 4), []):
        with pytest.raises(ValueError, match="at least one sample"):
            layer_activations(model, samples, "0")
    with pytest.raises(TypeError, match="samples must be a tensor, a data set or yield batches; got NoneType"):
        layer_activations(model, None, "0")
    with pytest.raises(TypeError, match="model must be a torch.nn.Module; got str"):
        layer_names("resnet56")
    for layers in (3, None, ["0", 1]):
        with pytest.raises(TypeError, match="layers must be one name or pattern, or several; got (int|NoneType)"):
            layer_names(model, layers)
    for size in ("2 apples", None, -1):
        with pytest.raises(ValueError, match="max_memory must be a number of bytes or a size such as '500MB' or '2GB'"):
            num_bytes(size)
    with pytest.raises(TypeError, match="must be a tensor or yield tensors x, pairs"):
        layer_activations(model, [("text", 1)], "0")
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        layer_activations(model, torch.rand(2, 4), "0", batch_size=0)


def calls_of(model: nn.Module) -> Counter[str]:
    """Counts, from now on, how often each layer runs."""
    runs: Counter[str] = Counter()
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _module, _inputs, _output, name=name: runs.update([name]))
    return runs


def test_batches_but_the_first_end_with_the_last_layer_wanted() -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(10, 4)
    expected = layer_activations(model, x, "all", batch_size=3)
    runs = calls_of(model)
    found = layer_activations(model, x, ["1", "0"], batch_size=3)
    assert runs == {"0": 4, "1": 4, "2": 1, "": 1}
    assert list(found) == ["0", "1"]
    assert all(torch.equal(found[name], expected[name]) for name in found)
    runs.clear()
    layer_activations(model, DataLoader(x, batch_size=5), "0")  # whose batches may differ in length
    assert runs == {"0": 2, "1": 2, "2": 2, "": 2}


def test_a_layer_that_runs_several_times_is_waited_for() -> None:
    x = torch.rand(10, 4)
    found = layer_activations(Odd(), x, "twice", batch_size=4)
    assert list(found) == ["twice@1", "twice@2"]
    model = Odd()
    runs = calls_of(model)
    layer_activations(model, x, "twice@1", batch_size=4)
    assert runs["twice"] == 2 * 3
    assert runs["lstm"] == 1


class Hasty(nn.Module):
    """Runs its layer as often as the largest value says."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(int(x.max())):
            x = self.layer(x)
        return self.head(x)


@pytest.mark.parametrize("values", [(2.0, 1.0), (1.0, 2.0)])
def test_runs_that_depend_on_the_values_are_still_noticed(values: tuple[float, float]) -> None:
    x = torch.tensor(values).repeat_interleave(5)[:, None].expand(10, 4)
    with pytest.raises(ValueError, match="layer 'layer' runs 1 times for one batch and 2 times for another"):
        layer_activations(Hasty(), x, "layer", batch_size=5)


class Detour(nn.Module):
    """Runs a layer before its head for large values, and after it for all."""

    def __init__(self) -> None:
        super().__init__()
        self.adapter, self.head = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.adapter(self.head(self.adapter(x) if x.max() > 1 else x))


def test_a_pass_that_takes_another_way_ends_no_sooner() -> None:
    model, x = Detour(), torch.tensor([1.0, 2.0]).repeat_interleave(4)[:, None].expand(8, 4)
    found = layer_activations(model, x, "head", batch_size=4)["head"]
    assert torch.equal(found, layer_activations(model, x.split(4), "head")["head"])


def test_compiled_parts_may_stand_anywhere_else() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.Linear(4, 3), torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.ReLU())))
    x = torch.rand(10, 4)
    assert torch.equal(layer_activations(model, x, "0", batch_size=4)["0"], model[0](x).detach())


# --- memory ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_does_not_fit_goes_to_a_file(dtype: torch.dtype) -> None:
    model, x = nn.Sequential(nn.Linear(4, 50), nn.ReLU(), nn.Linear(50, 2)).to(dtype), torch.rand(10, 4, dtype=dtype)
    expected = layer_activations(model, x, "all", batch_size=3)
    found = layer_activations(model, x, "all", batch_size=3, max_memory=10 * 49 * dtype.itemsize)
    for name, rows in expected.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], rows)
    assert is_mapped(found["0"])
    assert is_mapped(found["1"])
    assert not is_mapped(found["2"])
    assert not any(is_mapped(rows) for rows in expected.values())


def is_mapped(rows: Tensor) -> bool:
    """Whether memory is that of a deleted file."""
    address = rows.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= address < last:
            return line.endswith("(deleted)")
    raise AssertionError(f"{address:x} is nowhere")


def test_a_full_disk_is_said_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9 - 50, 50))
    message = (
        r"layer '0' takes 0\.0 GB, more than max_memory, and .* has 0\.0 GB free; take fewer samples, pool, or set"
    )
    with pytest.raises(OSError, match=message):
        layer_activations(nn.Sequential(nn.Linear(4, 8)), torch.rand(10, 4), "0", max_memory=100)


def test_layers_come_one_after_another() -> None:
    model, x = nn.Sequential(nn.Linear(4, 50), nn.ReLU(), nn.Linear(50, 2)), torch.rand(10, 4)
    expected = layer_activations(model, x, "all")
    assert layer_sizes(model, x, "all") == {name: rows.nbytes for name, rows in expected.items()}
    for memory in ("1GB", 10 * 52 * 4, "1KB"):
        found = dict(each_layer(model, x, "all", max_memory=memory, progress=False))
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], rows) for name, rows in expected.items())


# --- names ---


def test_patterns() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Sequential(Block(), Block()), nn.Sequential(nn.ReLU(), nn.Linear(4, 2))
    )
    assert layer_names(model, "blocks") == ["0", "1.0", "1.1"]
    assert layer_names(model, "1.*") == ["1.0", "1.1"]
    assert layer_names(model, "1.**") == ["1.0", "1.0.conv1", "1.0.conv2", "1.1", "1.1.conv1", "1.1.conv2"]
    assert layer_names(model, "**:Linear") == ["2.1"]
    assert layer_names(model, ["2.1", "0", "*"]) == ["0", "1", "2", "2.1"]
    assert "1" not in layer_names(model, "all")
    with pytest.raises(ValueError, match=re.escape("there is no layer named '1.*:Linear'; the nearest are")):
        layer_names(model, "1.*:Linear")


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("resnet20", 10, "conv1", "layer3.2"),
        ("resnet56", 28, "conv1", "layer3.8"),
        ("resnet18", 9, "conv1", "layer4.1"),
        ("vgg16", 13, "features.0", "features.40"),
        ("digits", 10, "conv1", "layer3.2"),
        ("torchvision:resnet18", 9, "network.conv1", "network.layer4.1"),
        ("torchvision:vgg11", 8, "network.features.0", "network.features.18"),
        ("torchvision:vit_b_16", 13, "network.conv_proj", "network.encoder.layers.encoder_layer_11"),
        ("torchvision:swin_t", 16, "network.features.0.0", "network.features.7.1"),
        ("torchvision:convnext_tiny", 19, "network.features.0", "network.features.7.2"),
    ],
)
def test_blocks_of_known_networks(name: str, count: int, first: str, last: str) -> None:
    with torch.device("meta"):
        layers = layer_names(build(name))
    assert (len(layers), layers[0], layers[-1]) == (count, first, last)


def test_blocks_of_transformers_of_torch() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Transformer(16, 2, 2, 2, 32)
    assert layer_names(model) == ["encoder.layers.0", "encoder.layers.1", "decoder.layers.0", "decoder.layers.1"]


def test_layers_that_a_model_states_are_found_inside_a_wrapper() -> None:
    class Wrapper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

    model = build("digits")
    assert layer_names(Wrapper(model)) == [f"inner.{name}" for name in layer_names(model)]


class Named(nn.Module):
    """Modules that are called as the keywords of a pattern are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(4, 4)
        self.blocks = nn.Sequential(
            nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        )
        self.all = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.all(self.blocks(self.stem(x)))


def test_a_module_that_is_called_blocks_or_all_is_itself_where_a_pattern_selects_it() -> None:
    model, x = Named(), torch.rand(12, 4, generator=torch.Generator().manual_seed(0))
    assert layer_names(model, "*") == ["stem", "blocks", "all"]
    wanted = layer_activations(model, x, "*")
    assert torch.equal(wanted["blocks"], model.blocks(model.stem(x)).detach())
    assert list(layer_sizes(model, x, "*")) == ["stem", "blocks", "all"]
    for max_memory in ("2GB", 1):
        found = dict(each_layer(model, x, "*", max_memory=max_memory))
        assert list(found) == list(wanted)
        assert all(torch.equal(rows, wanted[name]) for name, rows in found.items())
        assert {type(name) for name in found} == {str}
    graphs = dynamic_graph(model, x, torch.arange(12) % 2, "*")
    assert {type(name) for name in graphs} == {str}
    for name, graph in graphs.items():
        assert torch.equal(graph.edge_index, knn_graph(wanted[name]).edge_index)
    assert "blocks.0.1" in layer_names(model, "all")
    assert layer_names(model, "blocks:Sequential") == ["blocks"]


def test_a_call_of_a_layer_is_selected_again_by_its_name() -> None:
    model = Odd()
    sizes = layer_sizes(model, torch.rand(6, 4), ["twice", "first"])
    assert list(sizes) == ["first", "twice@1", "twice@2"]
    assert list(layer_sizes(model, torch.rand(6, 4), list(sizes)[1:])) == ["twice@1", "twice@2"]


def test_quantized_layers_give_numbers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(torch.ao.quantization.QuantStub(), nn.Linear(4, 3), torch.ao.quantization.DeQuantStub())
        model.eval().qconfig = torch.ao.quantization.get_default_qconfig(torch.backends.quantized.engine)
        prepared = torch.ao.quantization.prepare(model)
        prepared(x := torch.rand(8, 4))
        model = torch.ao.quantization.convert(prepared)
        found = layer_activations(model, x, ["0", "1", "2"])
    torch.testing.assert_close(found["1"], found["2"])
    torch.testing.assert_close(found["0"], x, atol=0.01, rtol=0)


def test_networks_of_recurrent_cells_and_of_nothing() -> None:
    assert layer_names(nn.Sequential(nn.GRUCell(4, 4), nn.Tanh())) == ["0"]
    with pytest.raises(ValueError, match="the model has no blocks, and no convolutions, linear or recurrent layers"):
        layer_names(nn.Sequential(nn.Tanh()))
    with pytest.raises(ValueError, match="there is no layer named '0@0'; the nearest are '0'"):
        layer_activations(nn.Sequential(nn.Linear(4, 4)), torch.rand(3, 4), "0@0")
