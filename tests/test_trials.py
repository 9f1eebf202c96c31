"""Trials: the network without a layer, computed from there on, is the network without the layer."""

import gc

import pytest
import torch
from torch import Tensor, nn

from graphmod.activations import layer_activations
from graphmod.models import build
from graphmod.pruning import plan_removal
from graphmod.surgery import drop_layers, removable_layers, skip_layers
from graphmod.trials import around_each, classifier_input, without_each


def images(size: int = 32, n: int = 2) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def outputs(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def removable(model: nn.Module, x: Tensor) -> list[str]:
    table = removable_layers(model, x)
    return list(table.layer[table.removable])


def test_every_trial_is_the_network_without_the_layer() -> None:
    model, x = build("resnet20").train(), images(n=5)
    layers = removable(model, x)
    last = "layer3.2"
    found = {trial.layer: trial for trial in without_each(model, x, layers, [last, "layer2.1"])}
    assert list(found) == layers
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any("forward" in vars(module) for module in model.modules())
    for layer, trial in found.items():
        skipped = skip_layers(model, [layer], x)
        expected = layer_activations(skipped, x, [last, "layer2.1"], progress=False)
        assert torch.equal(trial.features[last], expected[last])
        assert torch.equal(trial.features["layer2.1"], expected["layer2.1"])
        smaller = drop_layers(model, [layer]).eval()
        assert torch.equal(trial.logits, outputs(smaller, x))
        assert torch.equal(trial.classifier_input, classifier_input(smaller, x))


def test_a_forward_that_somebody_set_stays() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2)).eval(), torch.rand(5, 4)
    plain = model[2].forward
    model[2].forward = own = lambda x: 3 * plain(x)
    before = outputs(model, x)
    (trial,) = without_each(model, x, ["0"])
    assert model[2].forward is own
    assert torch.equal(outputs(model, x), before)
    assert torch.equal(trial.logits, outputs(model[2:], x))
    next(without_each(model, x, ["2"]))
    assert model[2].forward is own


def test_whoever_asks_for_trials_keeps_gradients_and_the_mode() -> None:
    model, x = build("resnet20").train(), images(n=2)
    first, second = (without_each(model, x, removable(model, x)) for _ in range(2))
    for trials in (first, second, first, second):
        next(trials)
        assert torch.is_grad_enabled()
        assert model.training
    first.close()
    second.close()
    assert torch.is_grad_enabled()
    assert model.training


@pytest.mark.parametrize("name", ["resnet20", "vgg11"])
def test_little_memory_gives_the_same(name: str) -> None:
    model, x = build(name), images(n=7)
    layers = removable(model, x)[:4]
    at = layers[-1:]
    few = {"batch_size": 3, "max_memory": "1MB"}
    for one, other in zip(without_each(model, x, layers, at), without_each(model, x, layers, at, **few), strict=True):
        assert one.layer == other.layer
        torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.features, other.features, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one.classifier_input, other.classifier_input)
    for one, other in zip(around_each(model, x, layers), around_each(model, x, layers, **few), strict=True):
        assert one[0] == other[0]
        torch.testing.assert_close(one[1:], other[1:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(classifier_input(model, x), classifier_input(model, x, batch_size=2))


def test_trials_of_a_network_that_has_lost_layers() -> None:
    model, x = build("vgg16"), images(n=3)
    first, then = removable(model, x)[2:4]
    skipped = skip_layers(model, [first], x)
    (trial,) = without_each(skipped, x, [then], ["features.40"])
    assert torch.equal(trial.logits, outputs(drop_layers(model, [first, then]), x))
    assert first not in removable(skipped, x)


def test_around_a_layer_are_its_input_and_its_output() -> None:
    model, x = build("resnet20"), images(n=4)
    names = ["layer1.1", "layer2.1"]
    activations = layer_activations(model, x, ["layer1.0", "layer2.0", *names], progress=False)
    found = {layer: (before, after) for layer, before, after in around_each(model, x, names)}
    for layer, previous in zip(names, ["layer1.0", "layer2.0"], strict=True):
        assert torch.equal(found[layer][0], activations[previous])
        assert torch.equal(found[layer][1], activations[layer])


def test_bytes_are_pixels_in_every_trial() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 2))
    x = torch.randint(0, 256, (6, 3, 2, 2), dtype=torch.uint8)
    assert torch.equal(classifier_input(model, x), classifier_input(model, x / 255))
    for memory in ("1GB", 0):
        trials = (without_each(model, one, ["1", "3"], max_memory=memory) for one in (x, x / 255))
        for ours, theirs in zip(*trials, strict=True):
            assert torch.equal(ours.logits, theirs.logits)


def test_the_classifier_sees_the_means_of_the_channels() -> None:
    model, x = build("resnet20"), images(n=4)
    last = layer_activations(model, x, ["layer3.2"], progress=False)["layer3.2"]
    torch.testing.assert_close(classifier_input(model, x), last.view(4, 64, -1).mean(2))
    headless = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    assert torch.equal(classifier_input(headless, x), outputs(headless, x).flatten(1))


class Named(nn.Module):
    """Calls its head by keyword, once more than needed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.head(input=x)
        return self.head(input=self.body(x))


def test_the_classifier_may_be_called_by_keyword_and_twice() -> None:
    model, x = Named(), torch.rand(30, 4)
    with torch.no_grad():
        assert torch.allclose(classifier_input(model, x, batch_size=7), model.body(x))
    trials = {trial.layer: trial for trial in without_each(model, x, ["body.0", "body.2"], batch_size=7)}
    with torch.no_grad():
        assert torch.allclose(trials["body.0"].classifier_input, model.body[2:](x), atol=1e-6)
        assert torch.allclose(trials["body.2"].classifier_input, model.body[:2](x), atol=1e-6)


def headless(norm: bool) -> nn.Module:
    """Blocks of a transformer, or of a plain residual network, and nothing behind them."""
    torch.manual_seed(0)
    if not norm:
        return nn.Sequential(*(Residual(8) for _ in range(4))).eval()
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0)
    return nn.TransformerEncoder(block, 4, norm=nn.LayerNorm(8), enable_nested_tensor=False).eval()


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


@pytest.mark.parametrize("norm", [True, False], ids=["transformer", "residual"])
def test_a_linear_layer_inside_one_that_may_go_is_no_classifier(norm: bool) -> None:
    model, x = headless(norm), torch.rand(12, *([3] if norm else []), 8)
    layers = removable(model, x)
    assert len(layers) == 4 - norm  # torch's encoder asks its first layer what it is
    whole = classifier_input(model, x, layers)
    assert torch.equal(whole, outputs(model, x).flatten(1))
    for memory in ("2GB", "1B"):
        for trial in without_each(model, x, layers, max_memory=memory, batch_size=5):
            expected = outputs(skip_layers(model, [trial.layer], x), x).flatten(1)
            torch.testing.assert_close(trial.classifier_input, expected, rtol=1e-4, atol=1e-5)
    last = skip_layers(model, layers[-1:], x)  # before what is gone there is no classifier either
    (trial,) = without_each(last, x, layers[:1])
    assert torch.equal(trial.classifier_input, trial.logits.flatten(1))
    plan = plan_removal(model, x, torch.arange(12) % 2, num_layers=3, k=2)
    assert len(plan) == 3


def test_the_head_may_go_too() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))), torch.rand(6, 4)
    assert torch.equal(classifier_input(model, x), outputs(model[:2], x))
    assert torch.equal(classifier_input(model, x, ["2"]), outputs(model, x))
    trials = {trial.layer: trial for trial in without_each(model, x, ["0", "1", "2"])}
    assert torch.equal(trials["2"].classifier_input, outputs(model[:2], x))


def test_what_is_recorded_may_be_inside_an_earlier_block() -> None:
    model, x = build("resnet20"), images(n=5)
    at = ["layer1.1.conv2", "layer3.2.conv1"]
    expected = layer_activations(skip_layers(model, ["layer2.1"], x), x, at, progress=False)
    for memory in ("2GB", "1B"):
        (trial,) = without_each(model, x, ["layer2.1"], at, max_memory=memory)
        torch.testing.assert_close(trial.features, expected, rtol=1e-4, atol=1e-5)


def test_trials_hold_the_outputs_of_the_blocks_and_nothing_else() -> None:
    model, x = nn.Sequential(*(Residual(1000) for _ in range(5)), nn.Linear(1000, 2)).eval(), torch.rand(100, 1000)

    def held() -> int:
        return sum(one.nbytes for one in gc.get_objects() if type(one) is Tensor and len(one.shape) and len(one) == 100)

    before = held()
    trials = without_each(model, x, ["0"])
    next(trials)
    assert held() - before <= 6.5 * x.nbytes  # five blocks, and what the classifier sees
    trials.close()
