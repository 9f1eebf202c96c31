"""Any network, any samples: each row of the table is run, and what its layers give is what a plain hook sees."""

import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader as GraphLoader
from torch_geometric.nn import GCN, GIN, global_add_pool
from torchvision.models.convnext import CNBlockConfig

from graphmod import dynamic_graph, from_activations, layer_activations, layer_names, modularity_curve
from graphmod._finished import finished_work
from graphmod._passes import evaluation
from graphmod.inputs import Graphs, Named, Nodes, first_tensor, forward, logits, num_copies, output_tensor
from graphmod.models import build
from graphmod.pooling import pool_rows, token_mask
from graphmod.samples import batches, collect, collect_inputs

ROOT = Path(__file__).resolve().parents[1]
TOKENS = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def images(size: int = 32, channels: int = 3) -> Tensor:
    return torch.rand(12, channels, size, size, generator=torch.Generator().manual_seed(0))


def texts() -> dict[str, Tensor]:
    """Twelve texts of three to eight tokens, padded at the end."""
    generator = torch.Generator().manual_seed(0)
    length = torch.randint(3, 9, (12,), generator=generator)
    mask = (torch.arange(8) < length[:, None]).long()
    return {"input_ids": torch.randint(3, 50, (12, 8), generator=generator) * mask, "attention_mask": mask}


def ring(num_nodes: int = 12) -> Data:
    here = torch.arange(num_nodes)
    edges = torch.stack([torch.cat([here, here.roll(1)]), torch.cat([here.roll(1), here])])
    x = torch.rand(num_nodes, 5, generator=torch.Generator().manual_seed(num_nodes))
    return Data(x=x, edge_index=edges, y=here % 2)


def molecules() -> list[Data]:
    graphs = [ring(num_nodes) for num_nodes in range(3, 15)]
    for label, graph in enumerate(graphs):
        graph.y = torch.tensor([label % 2])
    return graphs


class Pooled(nn.Module):
    """A classifier of graphs, which takes the batch itself."""

    def __init__(self) -> None:
        super().__init__()
        self.gin, self.head = GIN(5, 8, 2), nn.Linear(8, 2)

    def forward(self, data: Data) -> Tensor:
        return self.head(global_add_pool(self.gin(data.x, data.edge_index), data.batch))


class Recurrent(nn.Module):
    """One cell, run once a step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 6)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state)


class Reader(nn.Module):
    """A recurrent network that gives all its states."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(4, 6, num_layers=2, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Shared(nn.Module):
    """A residual block as torchvision writes it: one ReLU for two places, and a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.relu, self.spare = nn.ReLU(inplace=True), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.conv2(self.relu(self.conv1(x))))


def small(config: Any, **options: Any) -> Any:
    return config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, **options)


def swapped(x: Tensor) -> Tensor:
    return x.flatten(1)[:, :7]


# name: network, samples, layers, pool, how many layers, the first, the last
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], Any, Any, int, str, str]] = {
    "torchvision resnet18": (lambda: torchvision.models.resnet18(num_classes=4), images, "blocks", "mean", 9, "conv1", "layer4.1"),
    "torchvision vgg11": (lambda: torchvision.models.vgg11(num_classes=4).features, images, "blocks", "flatten", 8, "0", "18"),
    "torchvision vit": (
        lambda: torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4),
        images, "blocks", "cls", 3, "conv_proj", "encoder.layers.encoder_layer_1",
    ),
    "torchvision swin": (
        lambda: torchvision.models.SwinTransformer([4, 4], 8, [2, 2], [2, 2], [2, 2], num_classes=4),
        images, "blocks", "flatten", 6, "features.0.0", "features.3.1",
    ),
    "torchvision convnext": (
        lambda: torchvision.models.ConvNeXt([CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 2)], num_classes=4),
        images, "blocks", "mean", 5, "features.0", "features.3.1",
    ),
    "torchvision googlenet": (
        lambda: torchvision.models.googlenet(num_classes=4, init_weights=False),
        lambda: images(64), "blocks", "mean", 12, "conv1", "inception5b",
    ),
    "timm resnet": (lambda: timm.create_model("resnet10t", num_classes=4), images, "blocks", "mean", 5, "conv1.0", "layer4.0"),
    "timm efficientnet": (lambda: timm.create_model("efficientnet_b0", num_classes=4), images, "blocks", "mean", 17, "conv_stem", "blocks.6.0"),
    "timm vit": (
        lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2, num_classes=4),
        images, "blocks", "cls", 3, "patch_embed.proj", "blocks.1",
    ),
    "timm convnext": (lambda: timm.create_model("convnext_atto", num_classes=4), images, "blocks", "flatten", 13, "stem.0", "stages.3.blocks.1"),
    "transformers bert": (
        lambda: transformers.BertForSequenceClassification(small(transformers.BertConfig, **TOKENS)),
        texts, "blocks", "mean", 2, "bert.encoder.layer.0", "bert.encoder.layer.1",
    ),
    "transformers gpt2": (
        lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, **TOKENS)),
        texts, "blocks", "last", 2, "transformer.h.0", "transformer.h.1",
    ),
    "transformers llama": (
        lambda: transformers.LlamaForCausalLM(small(transformers.LlamaConfig, **TOKENS)),
        texts, "blocks", "last", 2, "model.layers.0", "model.layers.1",
    ),
    "transformers vit": (
        lambda: transformers.ViTForImageClassification(small(transformers.ViTConfig, image_size=32, patch_size=8)),
        lambda: {"pixel_values": images()}, "blocks", "cls", 3, "vit.embeddings.patch_embeddings.projection", "vit.layers.1",
    ),
    "recurrent": (Reader, lambda: torch.rand(12, 7, 4), "rnn", "last", 1, "rnn", "rnn"),
    "recurrent cell": (Recurrent, lambda: torch.rand(12, 3, 4), "cell", "flatten", 3, "cell@1", "cell@3"),
    "shared relu": (Shared, images, "all", "mean", 4, "conv1", "relu@2"),
    "gcn on the nodes of a graph": (lambda: GCN(5, 8, 3, 2), ring, "blocks", "flatten", 3, "convs.0", "convs.2"),
    "gin on graphs": (Pooled, molecules, ["gin.convs.*", "head"], "flatten", 3, "gin.convs.0", "head"),
    "compiled": (lambda: torch.compile(build("resnet20"), backend="eager"), images, "blocks", swapped, 10, "conv1", "layer3.2"),
    "compiled in place": (lambda: _compiled(build("resnet20")), images, "blocks", swapped, 10, "conv1", "layer3.2"),
    "data parallel": (lambda: nn.DataParallel(build("resnet20")), images, "layer3.*", "mean", 3, "layer3.0", "layer3.2"),
    "half precision": (lambda: build("resnet20").half(), images, "blocks", "mean", 10, "conv1", "layer3.2"),
    "bfloat16": (lambda: build("vgg11").bfloat16(), images, "blocks", "mean", 8, "features.0", "features.25"),
}  # fmt: skip


def _compiled(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def built(name: str) -> tuple[nn.Module, Any, Any, Any, int, str, str]:
    make, samples, layers, *rest = CASES[name]
    with torch.random.fork_rng(), warnings.catch_warnings():
        torch.manual_seed(0)
        warnings.simplefilter("ignore")  # what other packages say of their own networks
        model, given = make(), samples()
    return model, given, layers, *rest


def reference(model: nn.Module, given: Any, names: list[str], how: Any) -> dict[str, Tensor]:
    """What plain hooks see, of one pass over all samples, each output pooled as the words say."""
    seen: dict[str, list[Tensor]] = {}
    inner = getattr(model, "_orig_mod", getattr(model, "module", model))
    modules = dict(inner.named_modules())
    handles = [
        modules[name].register_forward_hook(
            lambda _m, _i, output, name=name: seen.setdefault(name, []).append(first_tensor(output).clone())
        )
        for name in {name.partition("@")[0] for name in names}
    ]
    mask = None
    with torch.no_grad(), evaluation(inner), torch.compiler.set_stance("force_eager"):
        dtype = next(inner.parameters()).dtype
        if isinstance(given, Tensor):
            inner(given.to(dtype))
        elif isinstance(given, dict):
            mask = given.get("attention_mask")
            inner(**given)
        elif isinstance(given, Data):
            inner(given.x, given.edge_index)
        else:
            inner(next(iter(GraphLoader(given, len(given)))))
    for handle in handles:
        handle.remove()
    found = {}
    for name in names:
        module, _, call = name.partition("@")
        x = seen[module][int(call or 1) - 1]
        if isinstance(given, list) and len(x) != len(given):
            x = torch.stack([part.mean(0) for part in x.split([graph.num_nodes for graph in given])])
        if callable(how):
            x = how(x)
        elif how == "mean" and x.dim() == 4:
            x = x.mean((2, 3))
        elif x.dim() == 3 and how != "flatten":
            there = mask if mask is not None else torch.ones(x.shape[:2], dtype=torch.long)
            kept = [row[one.bool()] for row, one in zip(x, there, strict=True)]
            x = torch.stack([{"mean": row.mean(0), "cls": row[0], "last": row[-1]}[how] for row in kept])
        found[name] = x.flatten(1)
    return found


@pytest.mark.parametrize("name", CASES)
def test_every_network_gives_its_layers(name: str) -> None:
    model, given, layers, how, count, first, last = built(name)
    model.train()
    found = layer_activations(model, given, layers, pool=how, batch_size=5)
    assert (len(found), next(iter(found)), list(found)[-1]) == (count, first, last)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    for layer, expected in reference(model, given, list(found), how).items():
        assert found[layer].shape == (12, expected[0].numel())
        assert found[layer].dtype == expected.dtype
        half = found[layer].dtype != torch.float32
        torch.testing.assert_close(found[layer], expected, atol=2e-2 if half else 1e-5, rtol=1e-2 if half else 1e-4)
    labels = torch.arange(12) % 2
    graphs = dynamic_graph(model, given, labels, layers, pool=how)
    assert list(graphs) == list(found)
    twice = from_activations(layer_activations(model, given, layers, pool=how), labels)
    assert all(torch.equal(twice[layer].edge_index, graphs[layer].edge_index) for layer in graphs)


@pytest.mark.parametrize("name", ["transformers bert", "gcn on the nodes of a graph", "gin on graphs"])
def test_draws_and_kept_work_are_the_same_for_all(name: str, tmp_path: Path) -> None:
    model, given, layers, how, *_ = built(name)
    labels = torch.arange(12) % 2
    options = {"layers": layers, "pool": how, "k": 1}
    curve = modularity_curve(model, given, labels, num_samples=6, repeats=2, **options)
    assert list(curve.num_repeats) == [2] * len(curve)
    with finished_work(tmp_path / "work") as folder:
        again = modularity_curve(model, given, labels, num_samples=6, repeats=2, **options)
        assert not folder.exists() or len(list(folder.iterdir())) == 2 * len(curve)  # PyG's layers have no text
    assert again.equals(curve)


def test_texts_in_any_form_give_the_same() -> None:
    model, given, *_ = built("transformers bert")
    datasets = pytest.importorskip("datasets", reason="the test extra has it")
    labels = torch.arange(12) % 3
    expected = modularity_curve(model, given, labels, pool="mean")
    rows = [{name: tensor[i] for name, tensor in given.items()} | {"label": labels[i], "text": "w"} for i in range(12)]
    table = datasets.Dataset.from_dict(
        {name: tensor.tolist() for name, tensor in given.items()} | {"label": labels.tolist(), "text": ["w"] * 12}
    )
    for samples in (
        given | {"labels": labels},
        transformers.BatchEncoding(given | {"labels": labels}),
        {name: tensor.numpy() for name, tensor in given.items()} | {"y": labels.numpy()},
        DataLoader(rows, batch_size=5),
        table,
        table.with_format("torch"),
        table.to_iterable_dataset(),
        [(given, labels)],
        Named(given),
    ):
        own = labels if isinstance(samples, Named) else None
        assert modularity_curve(model, samples, own, pool="mean").equals(expected)


def test_images_of_bytes_are_numbers_between_0_and_1() -> None:
    grey = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8)
    model = build("digits", weights="default")
    expected = layer_activations(model, grey / 255, "conv1")["conv1"]
    for samples in (grey, grey.numpy(), [(grey.numpy(), None)], {"image": grey}, (grey / 255).double()):
        torch.testing.assert_close(layer_activations(model, samples, "conv1")["conv1"], expected)


def test_some_nodes_of_a_graph() -> None:
    model, data, *_ = built("gcn on the nodes of a graph")
    whole, mask = layer_activations(model, data)["convs.1"], torch.arange(12) > 7
    assert torch.equal(layer_activations(model, Nodes(data, mask))["convs.1"], whole[8:])
    assert torch.equal(layer_activations(model, Nodes(data, torch.tensor([3, 1])))["convs.1"], whole[[3, 1]])
    assert dynamic_graph(model, Nodes(data, mask), k=1)["convs.1"].y.tolist() == data.y[8:].tolist()
    with pytest.raises(ValueError, match="the nodes of one graph are samples together; got 2 graphs"):
        dynamic_graph(model, [data, data][:0] or iter([data, data]), k=1)


@dataclass
class Found:
    features: Tensor
    logits: Tensor


def test_logits_are_taken_by_their_name() -> None:
    features, logits = torch.rand(2, 8), torch.rand(2, 3)
    for output in (Found(features, logits), {"features": features, "logits": logits}):
        assert first_tensor(output) is features
        assert output_tensor(output) is logits
    assert output_tensor({"features": features}) is features


def test_rows_of_graphs_are_chosen_as_those_of_a_tensor() -> None:
    graphs = Graphs([Data(num_nodes=i, edge_index=torch.empty(2, 0, dtype=torch.long)) for i in range(1, 6)])
    numbers = torch.arange(1, 6)
    for rows in (slice(1, 4), [0, 3], torch.tensor([4, 4]), numbers % 2 == 1, 2, np.array([True] + [False] * 4)):
        assert [graph.num_nodes for graph in graphs[rows].graphs] == numbers[rows].reshape(-1).tolist()


def test_graphs_by_their_loader() -> None:
    model, given, *_ = built("gin on graphs")
    expected = modularity_curve(model, given, layers="head", k=1)
    assert modularity_curve(model, GraphLoader(given, 5), layers="head", k=1).equals(expected)


def test_calls_by_their_number() -> None:
    model, x = Recurrent(), torch.rand(12, 3, 4)
    every = layer_activations(model, x, "cell")
    for asked in (["cell@2"], ["cell@3", "cell@1"], ["cell@1", "cell"]):
        found = layer_activations(model, x, asked)
        assert list(found) == sorted(asked) if "cell" not in asked else list(found) == list(every)
        assert all(torch.equal(found[layer], every[layer]) for layer in found)
    with pytest.raises(ValueError, match="there is no cell@4: the layer runs 3 times in a forward pass"):
        layer_activations(model, x, "cell@4")
    unlike = [torch.rand(5, 3, 4), torch.rand(5, 2, 4)]
    with pytest.raises(
        ValueError,
        match="layer 'cell' runs 2 times for one batch and 3 times for another; name its calls, cell@1 and so on",
    ):
        layer_activations(model, unlike, "cell")
    assert layer_activations(model, unlike, "cell@2")["cell@2"].shape == (10, 6)


def test_batches_of_unlike_sizes_must_be_pooled() -> None:
    unlike, model = [torch.rand(2, 3, 8, 8), torch.rand(3, 3, 6, 6)], nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match="layer '0' gives 144 numbers a sample for one batch and 64 for another; pool"):
        layer_activations(model, unlike, "all")
    assert layer_activations(model, unlike, "all", pool="mean")["0"].shape == (5, 4)


def test_what_never_runs_is_left_out_of_a_pattern_only() -> None:
    assert "spare" not in layer_activations(Shared(), images(), "all")
    for asked in ("spare", ["all", "spare"], "*:Linear"):
        with pytest.raises(ValueError, match="layer 'spare' never runs in a forward pass; the nearest are 'relu'"):
            layer_activations(Shared(), images(), asked)


def test_padding_does_not_count() -> None:
    x = torch.arange(24.0).view(2, 4, 3)
    left, right = torch.tensor([[0, 0, 1, 1]] * 2), torch.tensor([[1, 1, 0, 0]] * 2)
    assert torch.equal(pool_rows(x, "mean", left), x[:, 2:].mean(1))
    assert torch.equal(pool_rows(x, "mean", right.bool()), x[:, :2].mean(1))
    assert torch.equal(pool_rows(x, "last", left), x[:, 3])
    assert torch.equal(pool_rows(x, "last", right), x[:, 1])
    assert torch.equal(pool_rows(x, "last", torch.ones(2, 9)), x[:, 3])  # a mask of something else
    assert torch.equal(pool_rows(x[:, 0], "mean"), x[:, 0])
    assert torch.equal(pool_rows(x, "cls", left), x[:, 2])
    with pytest.raises(ValueError, match="pool must be one of flatten, mean, cls, last, or a function; got 'max'"):
        layer_activations(Shared(), images(), pool="max")


def test_padding_may_hold_anything_and_halves_do_not_overflow() -> None:
    x, mask = torch.rand(2, 4, 3), torch.tensor([[1, 1, 0, 0]] * 2)
    x[:, 2:] = torch.nan
    torch.testing.assert_close(pool_rows(x, "mean", mask), x[:, :2].mean(1))
    large = torch.full((2, 1100, 4), 64.0, dtype=torch.float16)
    assert torch.equal(pool_rows(large, "mean"), large[:, 0])


class Padded(nn.Module):
    """An encoder of torch that is told of padding."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, src: Tensor, attention_mask: Tensor) -> Tensor:
        return self.encoder(src, src_key_padding_mask=attention_mask == 0)


def test_an_encoder_of_torch_packs_nothing_while_it_is_recorded() -> None:
    given, model = (
        {"src": torch.rand(3, 5, 8), "attention_mask": torch.tensor([[1] * n + [0] * (5 - n) for n in (5, 3, 2)])},
        Padded(),
    )
    found = layer_activations(model, Named(given), "encoder.layers.*", pool="mean")
    assert torch.backends.mha.get_fastpath_enabled()
    for row, length in enumerate((5, 3, 2)):
        alone = model.eval().encoder(given["src"][row : row + 1, :length]).mean(1)
        torch.testing.assert_close(found["encoder.layers.1"][row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_samples_that_do_not_fit() -> None:
    bert, given, *_ = built("transformers bert")
    with pytest.raises(ValueError, match=r"named samples must be tensors with a row for each sample; got \{'a': \[3\]"):
        Named({"a": torch.ones(3), "b": torch.ones(2)})
    with pytest.raises(ValueError, match="got no tensor"):
        layer_activations(bert, {"text": ["a", "b"]})
    with pytest.raises(TypeError, match="the network's forward needs x, and the samples have a, b"):
        forward(Recurrent(), Named({"a": torch.rand(2, 3, 4), "b": torch.rand(2, 3, 4)}))
    with pytest.raises(TypeError, match=r"samples must be one tensor \[N, ...\] here; got named"):
        collect(given, torch.arange(12) % 2)
    longer = {name: torch.cat([tensor, tensor], 1) for name, tensor in given.items()}
    with pytest.raises(ValueError, match="the batches do not fit together .*; give every sample one shape: pad texts"):
        dynamic_graph(bert, [given, longer], torch.arange(24) % 2)
    with pytest.raises(TypeError, match="samples must be a tensor, a data set or yield batches; got str"):
        list(batches("digits"))


def test_copies() -> None:
    assert num_copies(Named({"a": torch.tensor([1, 1, 2]), "b": torch.tensor([0.5, 0.5, 0.5])})) == 1
    table = torch.tensor([[1.0, 2.0, 1.0], [3.0, 4.0, 3.0]])
    assert num_copies(table.T) == num_copies(torch.from_numpy(np.asfortranarray(table.T.numpy()))) == 1
    assert num_copies(Nodes(ring())) == num_copies(Graphs([ring()] * 3)) == 0
    given = {name: torch.cat([tensor[:6]] * 2) for name, tensor in texts().items()}
    with pytest.warns(UserWarning, match="6 of 12 samples are exact copies"):
        dynamic_graph(built("transformers bert")[0], given, torch.arange(12) % 2, pool="mean")


def test_a_network_of_timm_by_name() -> None:
    model = build("timm:resnet10t", num_classes=4)
    assert model(images()).shape == (12, 4)
    assert layer_names(model)[0] == "network.conv1.0"
    assert torch.equal(model.normalize.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    other = build("timm:vit_tiny_patch16_224.augreg_in21k", num_classes=4)
    assert np.allclose(other.normalize.std.flatten(), 0.5)
    with pytest.raises(ValueError, match="there is no timm model named 'resnet10x'; the nearest are 'resnet10t'"):
        build("timm:resnet10x")


def test_packages_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match="models of timm need the package timm: pip install timm"):
        build("timm:resnet10t")


PAGE = re.findall(
    r"^\| `(timm|torchvision):(\w+)` \| (\d+) \| `([^`]+)` \| `([^`]+)` \|",
    (ROOT / "docs/layers.md").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize(("home", "name", "count", "first", "last"), PAGE)
def test_the_page_says_which_layers(home: str, name: str, count: str, first: str, last: str) -> None:
    with torch.device("meta"):
        model = (
            timm.create_model(name)
            if home == "timm"
            else torchvision.models.get_model(
                name, **({"init_weights": False} if name in ("googlenet", "inception_v3") else {})
            )
        )
    layers = layer_names(model)
    assert (len(layers), layers[0], layers[-1]) == (int(count), first, last)


def test_a_mean_over_many_nodes_in_halves() -> None:
    graphs = [Data(x=torch.full((1000, 2), 100.0), edge_index=torch.empty(2, 0, dtype=torch.int64)) for _ in range(2)]

    class Nothing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Linear(2, 2).half()
            nn.init.eye_(self.same.weight)
            nn.init.zeros_(self.same.bias)

        def forward(self, x: Tensor) -> Tensor:
            return self.same(x)

    rows = layer_activations(Nothing(), Graphs(graphs), "same")["same"]
    assert rows.dtype == torch.float16
    assert rows.tolist() == [[100.0, 100.0]] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.uint8, torch.int64])
def test_copies_are_counted_whatever_the_type(dtype: torch.dtype) -> None:
    x = torch.arange(600).remainder(250).view(-1, 1).repeat(1, 3).to(dtype)
    assert num_copies(x) == 600 - len(x.unique(dim=0))
    assert num_copies(torch.tensor([[0.0], [-0.0]])) == 1
    assert num_copies(Named({"a": x, "b": torch.arange(600)})) == 0


def test_the_mean_over_pixels_where_channels_are_last() -> None:
    maps = torch.rand(2, 7, 7, 24)
    assert torch.equal(pool_rows(maps, "mean"), maps.movedim(-1, 1).flatten(2).mean(2))
    assert pool_rows(maps.movedim(-1, 1), "mean").shape == (2, 24)


def test_samples_and_labels_as_a_tuple() -> None:
    net, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.rand(60, 4)
    y = (x[:, 0] > 0.5).long()
    expected = modularity_curve(net, x, y, layers="all", num_samples=40)
    for pair in ((x, y), (x.numpy(), y.tolist()), ({"input": x}, y)):
        pd.testing.assert_frame_equal(modularity_curve(net, pair, layers="all", num_samples=40), expected)
    assert layer_activations(net, (x, y), "all")["0"].shape == (60, 8)
    with pytest.raises(ValueError, match=r"labels must have shape \[60\], one for each sample; got \[3\]"):
        modularity_curve(net, (x, y[:3]))
    with pytest.raises(TypeError, match="samples must come in batches; wrap single ones"):
        modularity_curve(net, [(row, int(label)) for row, label in zip(x, y, strict=True)])


def test_tokens_of_the_decoder_have_a_mask_of_their_own() -> None:
    config = transformers.T5Config(
        d_model=8, d_kv=4, d_ff=8, num_layers=2, num_heads=2, vocab_size=30, decoder_start_token_id=0
    )
    model = transformers.T5Model(config).eval()
    mask = torch.tensor([[1, 1, 1, 0, 0, 0]]).expand(4, 6)
    given = {"input_ids": torch.randint(3, 30, (4, 6)), "attention_mask": mask}
    given["decoder_input_ids"] = torch.randint(3, 30, (4, 6))
    names = ["encoder.block.1", "decoder.block.1"]
    flat = layer_activations(model, Named(given), names)
    encoder, decoder = (flat[name].view(4, 6, 8) for name in names)
    found = layer_activations(model, Named(given), names, pool="mean")
    torch.testing.assert_close(found[names[0]], encoder[:, :3].mean(1))
    torch.testing.assert_close(found[names[1]], decoder.mean(1))
    found = layer_activations(model, Named(given | {"decoder_attention_mask": mask.flip(1)}), names[1:], pool="cls")
    assert found[names[1]].shape == (4, 8)
    assert torch.equal(token_mask(Named(given | {"decoder_attention_mask": mask.flip(1)}), names[1]), mask.flip(1))


def test_logits_of_every_token_are_no_logits() -> None:
    with pytest.raises(
        ValueError, match=r"a classifier must give logits \[N, C\], a row for each sample; got \[3, 4, 5\]"
    ):
        logits(torch.rand(3, 4, 5))
    assert logits({"loss": torch.rand(1), "logits": torch.ones(3, 2)}).shape == (3, 2)


def test_parts_of_sets_of_graphs() -> None:
    graphs = [Data(x=torch.rand(4, 3), edge_index=torch.tensor([[0, 1], [1, 0]]), y=i % 2) for i in range(12)]
    whole, labels = collect_inputs(graphs)
    assert labels.tolist() == [0, 1] * 6
    parts = torch.utils.data.random_split(graphs, [8, 4], generator=torch.Generator().manual_seed(0))
    for part in (
        torch.utils.data.Subset(graphs, range(12)),
        torch.utils.data.ConcatDataset([graphs, []]),
        tuple(graphs),
    ):
        found, y = collect_inputs(part)
        assert len(found) == len(whole) == 12
        assert torch.equal(y, labels)
    assert len(collect_inputs(parts[0])[0]) == 8
    assert collect_inputs(Graphs(graphs))[1].tolist() == labels.tolist()
