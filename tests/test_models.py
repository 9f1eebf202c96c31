import inspect
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from graphmod import layer_activations, layer_names
from graphmod._family import members
from graphmod._files import shipped
from graphmod.costs import cost
from graphmod.datasets import load
from graphmod.models import build, load_weights, networks, outputs_for, save_weights
from graphmod.pruning import beyond_layout, drop_layers
from graphmod.training import accuracy

FAMILY = members("graphmod.models")
NETWORKS = [
    *(f"resnet{depth}" for depth in (18, 20, 32, 34, 44, 50, 56, 101, 110, 152)),
    *(f"vgg{depth}" for depth in (11, 13, 16, 19)),
    "digits",
]


@pytest.mark.parametrize("name", FAMILY)
def test_contract(name: str) -> None:
    import importlib

    module = importlib.import_module(f"graphmod.models.{name}")
    function = getattr(module, name)
    assert next(iter(inspect.signature(function).parameters)) == "num_classes"
    model = function(7).eval()
    channels = len(model.normalize.mean)
    assert next(iter(dict(model.named_children()))) == "normalize"
    assert model(torch.rand(2, channels, 32, 32)).shape == (2, 7)
    assert layer_names(model) == layer_names(model, module.LAYERS)
    assert not any(key.startswith("normalize") for key in model.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_layers(name: str) -> None:
    # parameters of the published networks: He et al. 2016, table 6 (in millions), and torchvision's with a small stem
    published = {
        "resnet20": 0.27, "resnet32": 0.46, "resnet44": 0.66, "resnet56": 0.85, "resnet110": 1.7, "resnet18": 11.17,
        "resnet34": 21.28, "resnet50": 23.52, "resnet101": 42.51, "resnet152": 58.16, "vgg11": 9.2, "vgg13": 9.4,
        "vgg16": 14.7, "vgg19": 20.0,
    }  # fmt: skip
    with torch.device("meta"):
        model = build(name)
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    if name in published:
        assert count == pytest.approx(published[name], rel=0.03)
    depth = int(name.removeprefix("resnet").removeprefix("vgg") if name != "digits" else 20)
    per_block = 3 if depth in (50, 101, 152) else 2
    assert len(layer_names(model)) == (depth - 3 if name.startswith("vgg") else 1 + (depth - 2) // per_block)


def test_wide_resnets_have_the_parameters_of_torchvision_but_for_stem_and_head() -> None:
    import torchvision

    for depth in (18, 50):
        with torch.device("meta"):
            ours, theirs = build(f"resnet{depth}"), torchvision.models.get_model(f"resnet{depth}", num_classes=10)
        stem = 3 * 64 * (7 * 7 - 3 * 3)
        assert sum(p.numel() for p in theirs.parameters()) - sum(p.numel() for p in ours.parameters()) == stem


def test_the_points_are_those_that_were_published() -> None:
    model = build("resnet20").eval()
    found = layer_activations(model, torch.rand(4, 3, 32, 32))
    assert [x.shape[1] for x in found.values()] == [16 * 1024] * 4 + [32 * 256] * 3 + [64 * 64] * 3
    assert (found["conv1"] < 0).any()  # before its norm and ReLU
    assert all((x >= 0).all() for name, x in found.items() if name != "conv1")  # after the last ReLU
    assert (layer_activations(build("vgg11"), torch.rand(2, 3, 32, 32), "features.0")["features.0"] < 0).any()


def test_normalisation_is_inside() -> None:
    model = build("resnet20", mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))
    x = torch.rand(3, 3, 8, 8)
    expected = (x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / 0.5
    torch.testing.assert_close(layer_activations(model, x, "normalize")["normalize"], expected.flatten(1))
    grey = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(model(grey), model(grey.expand(-1, 3, -1, -1)))
    for shape in ((2, 2, 8, 8), (3, 8, 8)):
        with pytest.raises(
            ValueError, match=rf"images must have shape \[N, 3, H, W\]; got {re.escape(str(list(shape)))}"
        ):
            model(torch.rand(shape))
    with pytest.raises(ValueError, match="there is no model named 'ResNet20'; the nearest are 'resnet20', "):
        build("ResNet20")
    with pytest.raises(ValueError, match="mean and std must have one entry a channel, std above 0"):
        build("digits", std=(0.0,))


def test_the_embedded_digits_network_knows_its_digits() -> None:
    test = load("digits")
    model = build("digits", weights="default")
    assert not model.training
    assert accuracy(model, test.images, test.labels) == pytest.approx(0.981, abs=0.003)


@pytest.mark.parametrize(("name", "expected"), [("resnet20", 0.91), ("resnet56", 0.94)])
def test_published_weights_fit(name: str, expected: float, shared: Path, cifar: Path) -> None:
    test = load(f"folder:{cifar}", num_samples=500)
    model = build(name, weights=shared / f"{name}-cifar10.pt")
    assert accuracy(model, test.images, test.labels) == pytest.approx(expected, abs=0.005)


# --- weights ---


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "model", "parallel", "old", "safetensors"])
def test_weights_in_every_form(wrap: str, tmp_path: Path) -> None:
    model, path = build("digits"), tmp_path / f"weights.{'safetensors' if wrap == 'safetensors' else 'pt'}"
    state = model.state_dict()
    if wrap == "safetensors":
        save_weights(model, path)
    elif wrap == "parallel":
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
    elif wrap == "old":
        torch.save({key: value for key, value in state.items() if "num_batches" not in key}, path)
    else:
        torch.save(state if wrap == "plain" else {wrap: state, "epoch": 3}, path)
    x = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(build("digits", weights=path)(x), model(x))


class Evil:
    def __reduce__(self):
        return (Path("/nonexistent/owned").touch, ())


def test_wrong_weights_are_refused_and_change_nothing(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    before = model.weight.clone()
    files = {
        name: tmp_path / name for name in ("other.pt", "shape.pt", "evil.pt", "list.pt", "text.pt", "t.safetensors")
    }
    torch.save(nn.Linear(2, 2, bias=False).state_dict() | {"more": torch.ones(1)}, files["other.pt"])
    torch.save(nn.Linear(3, 2).state_dict(), files["shape.pt"])
    files["evil.pt"].write_bytes(pickle.dumps(Evil(), 2))
    torch.save([1, 2], files["list.pt"])
    files["text.pt"].write_text("hello")
    files["t.safetensors"].write_text("hello")
    for name, message in {
        "other.pt": r"does not hold the weights of this Linear: 1 are missing \(bias\), 1 are unexpected \(more\)",
        "shape.pt": r"weights of other shapes than the model's \(weight \[2, 3\] for \[2, 2\]\)",
        "evil.pt": "is not a PyTorch file of plain tensors; nothing in it was run",
        "list.pt": "must hold a state dict, names and tensors; got list",
        "text.pt": "is not a PyTorch file of plain tensors",
        "t.safetensors": "is not a safetensors file",
    }.items():
        with pytest.raises(ValueError, match=message):
            load_weights(model, files[name])
    assert torch.equal(model.weight, before)
    with pytest.raises(FileNotFoundError, match="there is no file of weights"):
        load_weights(model, tmp_path / "absent.pt")


def test_extra_files_do_not_pass_as_weights(tmp_path: Path) -> None:
    save_file({"x": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="are missing"):
        build("resnet20", weights=tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnt20", None, "there is no model named 'resnt20'; the nearest are 'resnet'"),
        ("resnet21", None, "there is no ResNet of depth 21; choose 18, 20, 32"),
        ("vgg12", None, "there is no VGG of depth 12; choose 11, 13, 16, 19"),
        ("torchvision:resnet51", None, "there is no torchvision model named 'resnet51'; the nearest are 'resnet50'"),
        ("resnet20", "default", "no weights come with resnet20; pass a file of weights, or none for random ones"),
    ],
)
def test_unknown_models(name: str, weights: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, weights=weights)


def test_unknown_devices() -> None:
    for device in ("abacus", "cuda:99"):
        with pytest.raises(ValueError, match=f"device '{device}' cannot be used: "):
            build("digits", device=device)


def test_random_weights_follow_their_seed_and_leave_torchs_generator_alone() -> None:
    state = torch.get_rng_state()
    weights = [build("digits", seed=seed).state_dict() for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (torch.cat([value.flatten() for value in one.values() if value.dim() > 1]) for one in weights)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_weights_that_come_with_a_network_have_their_own_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm
    import torchvision

    real = {"timm": timm.create_model, "torchvision": torchvision.models.get_model}
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: real["timm"](name))  # no download
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: real["torchvision"](name))
    for name in ("timm:resnet18", "torchvision:resnet18"):
        with pytest.raises(
            ValueError, match=f"come with {name} give 1000 outputs; got num_classes=10: leave it out, or"
        ):
            build(name, num_classes=10, weights="default")
        for number in (None, 1000, outputs_for(["cat", "dog"], "default")):
            model = build(name, num_classes=number, weights="default")
            assert model.network.fc.out_features == 1000
    assert build("digits")(torch.rand(1, 1, 8, 8)).shape == (1, 10)
    assert build("digits", num_classes=outputs_for(["cat", "dog"], None))(torch.rand(1, 1, 8, 8)).shape == (1, 2)


def test_two_networks_of_one_name() -> None:
    assert networks([]) == {}
    assert list(networks(["digits=a.pt", "digits=b.pt", "digits=none"])) == ["digits", "digits b", "digits random"]
    for twice in (["digits=file.pt", "digits"], ["digits", "digits=a/file.pt", "digits=b/file.pt"]):
        with pytest.raises(ValueError, match="there are two networks 'digits.*'; name each of them once"):
            networks(twice)


def test_weights_of_wrapped_models_and_of_shared_parameters(tmp_path: Path) -> None:
    class Wrap(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = nn.Linear(4, 2)

    net, file = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), tmp_path / "weights.safetensors"
    net[1].weight = net[0].weight
    save_weights(net, file)
    for other in (net, nn.DataParallel(net), torch.compile(net)):
        assert load_weights(other, file) is other
        torch.save(other.state_dict(), tmp_path / "weights.pt")
        fresh = load_weights(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), tmp_path / "weights.pt")
        assert torch.equal(fresh[1].weight, net[0].weight)
    save_weights(Wrap(), file)
    assert load_weights(wrap := Wrap(), file) is wrap


def test_the_pruned_network_that_comes_with_the_package(cifar: Path) -> None:
    whole, test = build("resnet56"), load(f"folder:{cifar}", split="test")
    small = drop_layers(whole, beyond_layout(whole, (3, 2, 6)), test.images[:1])
    load_weights(small, shipped("resnet56-pruned.safetensors"))
    assert accuracy(small, test.images, test.labels) > 0.92  # of the original images; it was trained on JPEGs
    assert cost(small, test.images[:1])["macs"] < 0.4 * cost(whole, test.images[:1])["macs"]
