"""What surrounds a forward pass: every hook goes, compiled networks run uncompiled, copies are of any network."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from graphmod._chains import run_once
from graphmod._passes import copied, hooks, watched
from graphmod.activations import layer_activations
from graphmod.attacks._art import art_attack
from graphmod.costs import cost
from graphmod.inputs import predictions
from graphmod.metrics.modularity import modularity
from graphmod.removal import removal_curves
from graphmod.surgery import removable_layers
from graphmod.tracking import track_checkpoints
from graphmod.training import accuracy, train
from graphmod.trials import classifier_input, without_each


def half_scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.Linear(4, 4), torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU())))


def num_hooks(model: nn.Module) -> int:
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())


def test_hooks_go_where_the_next_cannot_be_made() -> None:
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    with pytest.raises(RuntimeError, match="in between"), hooks() as hook:
        hook(model[0].register_forward_hook(print))
        hook(model[1].register_forward_pre_hook(print))
        assert num_hooks(model) == 2
        raise RuntimeError("in between")
    assert num_hooks(model) == 0


@pytest.mark.parametrize(
    "use",
    [
        lambda model, x: layer_activations(model, x, ["0", "1"]),
        lambda model, x: run_once(model, x, {"0": ["0"], "1": ["1"]}),
        lambda model, x: next(without_each(model, x, ["0"], ["0", "1"])),
    ],
    ids=["activations", "pass", "trials"],
)
def test_a_scripted_layer_is_one_sentence(use: Callable[[nn.Module, Tensor], object]) -> None:
    model = half_scripted()
    with pytest.raises(ValueError, match="layer '1' is scripted, which takes no hooks; pass the module that it was"):
        use(model, torch.rand(3, 4))
    assert num_hooks(model) == 0


def test_a_scripted_part_that_is_not_asked_for() -> None:
    model, x = half_scripted(), torch.rand(3, 4)
    assert cost(model, x)["activation_memory"] == 4 * 4
    assert cost(model, x)["num_parameters"] == 40
    assert removable_layers(model, x).layer.tolist() == ["0"]
    assert torch.equal(classifier_input(model, x), x)
    assert num_hooks(model) == 0


def test_what_is_watched_runs_uncompiled() -> None:
    made: list[object] = []

    def backend(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> Callable[..., object]:
        made.append(graph)
        return graph.forward

    model, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(6, 4)
    model.compile(backend=backend)
    model[0].compile(backend=backend)
    with watched(model):
        model(x)
        assert not torch.is_grad_enabled()
    assert removable_layers(model, x).layer[0] == "0"
    cost(model, x)
    next(without_each(model, x, ["0"]))
    classifier_input(model, x)
    assert not made
    model(x)
    assert made
    assert torch.is_grad_enabled()


def test_networks_under_pruning_are_copied_whatever_ran_before(tmp_path: Path) -> None:
    x, y = torch.rand(40, 3, 4, 4), torch.arange(40) % 2
    torch.manual_seed(0)
    blocks = [layer for _ in range(2) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())]
    model = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(48, 2))
    torch.save(model.state_dict(), tmp_path / "1.pt")
    teacher = deepcopy(model)
    prune.l1_unstructured(teacher[0], "weight", amount=0.5)
    teacher(x).sum().backward()  # which leaves weights that are no leaves
    assert len(list(train(model, x, y, epochs=1, teacher=teacher))) == 1
    assert len(removal_curves(teacher, x, y, criteria=["gain"], removed=[1], num_samples=10, splits=1)) == 2
    torch.save(teacher.state_dict(), tmp_path / "1.pt")
    assert len(track_checkpoints(teacher, tmp_path, x, y, metrics=[modularity])) == 2
    assert art_attack("FastGradientMethod", teacher, x, y, eps=0.1).shape == x.shape
    assert art_attack("FastGradientMethod", model.bfloat16(), x, y, eps=0.1).dtype == x.dtype


def test_a_copy_of_a_pruned_network_is_pruned() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), torch.rand(3, 4)
    prune.l1_unstructured(model[0], "weight", amount=0.5)
    copy = copied(model)
    assert torch.equal(copy(x), model(x))
    assert copy[0].weight_orig is not model[0].weight_orig
    with torch.no_grad():
        copy[0].weight_orig.mul_(2)
    assert not torch.equal(copy(x), model(x))
    assert model[0].weight.grad_fn is not None


class Merging(nn.Linear):
    """Merges its low-rank weights when told to evaluate, as LoRA layers do."""

    def train(self, mode: bool = True) -> "Merging":
        self.merged = not mode
        return super().train(mode)


def test_modes_change_and_nothing_else() -> None:
    model = nn.Sequential(Merging(4, 4), nn.Dropout()).train()
    with watched(model):
        assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.modules())
    assert not model[0].merged
    model[1].eval()
    with watched(model):
        assert not model[0].training
    assert [module.training for module in model] == [True, False]


class Sampling(nn.Module):
    """Turns its dropout on, as for Monte-Carlo samples."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop.train()(x)


def test_modes_that_a_network_changes_are_put_back() -> None:
    model = Sampling().eval()
    predictions(model, torch.rand(2, 3))
    assert not model.drop.training


def test_exported_and_frozen_networks_run_as_they_are() -> None:
    net, x, y = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).eval(), torch.rand(6, 4), torch.arange(6) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.trace(net, x))
    for model in (torch.export.export(net, (x,)).module(), frozen):
        assert accuracy(model, x, y) == accuracy(net, x, y)
        assert torch.allclose(predictions(model, x), net(x))
    with pytest.raises(ValueError, match="is scripted, which takes no hooks"):
        layer_activations(torch.jit.script(net), x, "all")


class Keeping(nn.Module):
    """Keeps what its layers gave."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.kept = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), {}

    def forward(self, x: Tensor) -> Tensor:
        self.kept = {"features": [self.body(x)]}
        return self.kept["features"][0]


def test_a_network_that_keeps_what_it_computed_is_copied() -> None:
    model, x = Keeping(), torch.rand(3, 4)
    model(x).sum().backward()
    copy = copied(model)
    assert torch.equal(copy.kept["features"][0], model.kept["features"][0])
    assert copy.kept["features"][0] is not model.kept["features"][0]
    assert torch.equal(copy(x), model(x))
    model.kept["itself"] = model.kept
    assert torch.equal(copied(model)(x), model(x))
