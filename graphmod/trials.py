"""Trials of removal: what a network does without each of its layers, and what each layer does to its input."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ._chains import Skip, chain_layers, first_argument, rows_of, run_once, skip_like
from ._passes import hooks, layer_of, watched
from .activations import groups_that_fit, num_bytes
from .inputs import forward, output_tensor


@dataclass(frozen=True)
class Trial:
    """What a network does without one layer.

    Attributes:
        layer: The layer left out.
        features: Output `[N, D]` of the layers that were asked for; a layer left out gives what it is given.
        classifier_input: `[N, D]`, see `classifier_input`.
        logits: Output of the network `[N, C]`.
    """

    layer: str
    features: dict[str, Tensor]
    classifier_input: Tensor
    logits: Tensor


def without_each(
    model: nn.Module,
    samples: Tensor,
    layers: Sequence[str],
    at: Sequence[str] = (),
    *,
    batch_size: int = 256,
    max_memory: int | str = "2GB",
) -> Iterator[Trial]:
    """Runs a network without each of some layers in turn.

    What comes before the layer is not computed again if there is room for it: every earlier block hands on what it gave
    in the whole network.

    Args:
        model: The network; it is as before between the values and afterwards.
        samples: Tensor `[N, ...]`.
        layers: Names in `removable_layers`, in any order: those that may go.
        at: Layers to be recorded, none of them inside one that may go.
        batch_size: Samples in one forward pass, where there is no room.
        max_memory: How much the outputs of all blocks may take, as in `each_layer`.

    Yields:
        A trial for each layer, in the order of execution.
    """
    parts = chain_layers(model)
    seen = {name: one for name, one in run_once(model, samples[:2], parts, keep="outputs").items() if one.runs == 1}
    needed = sum(output_tensor(one.output)[0].nbytes for one in seen.values()) * len(samples)
    room = needed <= num_bytes(max_memory)
    batches = [samples] if room else samples.split(batch_size)
    if room:
        seen = {name: one for name, one in run_once(model, samples, parts, keep="outputs").items() if name in seen}
    order = sorted(seen, key=lambda name: seen[name].place)
    for i, layer in enumerate(order):
        if layer not in layers:
            continue
        given: dict[str, Callable[..., Any]] = {}
        if room:
            earlier = [name for name in order[:i] if not _holds(parts[name], at)]
            given |= {part: _pass for name in earlier for part in parts[name]}
            given |= {parts[name][-1]: _hand_on(seen[name].output) for name in earlier}
        given |= {part: skip_like(seen[layer].output).forward for part in parts[layer]}
        features: dict[str, list[Tensor]] = {name: [] for name in at}
        with hooks() as hook, _replaced(model, given):
            for name, rows in features.items():
                hook(layer_of(model, name).register_forward_hook(partial(_record, rows)))
            head, outputs = _run(model, batches, layers)
        found = {name: torch.cat(rows) for name, rows in features.items()}
        yield Trial(layer, found, head, outputs)


def classifier_input(model: nn.Module, samples: Tensor, layers: Sequence[str] = (), *, batch_size: int = 256) -> Tensor:
    """Returns what the classifier sees: the input `[N, D]` of the last linear layer to run, or the network's output.

    The output stands in where no linear layer runs behind the layers that may go: one of these is no classifier.

    Args:
        model: The network.
        samples: Tensor `[N, ...]`.
        layers: Those that may go.
        batch_size: Samples in one forward pass.
    """
    return _run(model, samples.split(batch_size), layers)[0]


def _run(model: nn.Module, batches: Sequence[Tensor], layers: Sequence[str]) -> tuple[Tensor, Tensor]:
    """What the classifier sees `[N, D]`, and the network's output."""
    seen, outputs = [], []
    with watched(model), _given_to_the_last_linear(model, layers) as latest:
        for x in batches:
            latest.clear()
            outputs.append(output_tensor(forward(model, x)))
            seen.append(rows_of(latest.get("x", outputs[-1])))
    return torch.cat(seen), torch.cat(outputs)


def around_each(
    model: nn.Module,
    samples: Tensor,
    layers: Sequence[str],
    *,
    batch_size: int = 256,
    max_memory: int | str = "2GB",
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yields of each layer its name, its input and its output, both `[N, D]`, in the order of execution.

    Args:
        model: The network.
        samples: Tensor `[N, ...]`.
        layers: Names in `removable_layers`.
        batch_size: Samples in one forward pass.
        max_memory: How much of this may be held at once, as in `each_layer`.
    """
    parts = chain_layers(model)
    seen = run_once(model, samples[:2], {layer: parts[layer] for layer in layers}, keep="inputs and outputs")
    sizes = {
        layer: (output_tensor(one.output)[0].nbytes + one.input[0].nbytes) * len(samples)
        for layer, one in sorted(seen.items(), key=lambda item: item[1].place)
    }
    for group in groups_that_fit(sizes, max_memory):
        chosen = {layer: parts[layer] for layer in group}
        rows: dict[str, list[tuple[Tensor, Tensor]]] = {layer: [] for layer in group}
        for x in samples.split(batch_size):
            for layer, one in run_once(model, x, chosen, keep="inputs and outputs").items():
                rows[layer].append((rows_of(one.input), rows_of(one.output)))
        for layer in group:
            before, after = (torch.cat(tensors) for tensors in zip(*rows.pop(layer), strict=True))
            yield layer, before, after


@contextmanager
def _given_to_the_last_linear(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Holds what the last linear layer to run was given; nothing changes it afterwards, or it could not be trained.

    What runs before or in a layer that may go, or is gone, is forgotten.
    """
    latest: dict[str, Any] = {}

    def note(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        latest["x"] = first_argument(inputs, named)

    with hooks() as hook:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                hook(module.register_forward_pre_hook(note, with_kwargs=True))
            if name in layers or isinstance(module, Skip):
                hook(module.register_forward_hook(lambda *_: latest.clear()))
        yield latest


def _holds(parts: Sequence[str], layers: Sequence[str]) -> bool:
    """Whether one of some layers is inside the modules of another, or one of them that is not the last."""
    inside = tuple(f"{part}." for part in parts)
    return any(layer in parts[:-1] or layer.startswith(inside) for layer in layers)


@contextmanager
def _replaced(model: nn.Module, forwards: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Gives modules another `forward` for a while; those that had one of their own get it back."""
    modules = {model.get_submodule(name): forward for name, forward in forwards.items()}
    own = {module: vars(module)["forward"] for module in modules if "forward" in vars(module)}
    try:
        for module, forward in modules.items():
            module.forward = forward
        yield
    finally:
        for module in modules:
            del module.forward
        for module, forward in own.items():
            module.forward = forward


def _record(rows: list[Tensor], _module: nn.Module, _inputs: Any, output: Any) -> None:
    rows.append(rows_of(output))


def _hand_on(output: Any) -> Callable[..., Any]:
    return lambda *_, **__: deepcopy(output)  # what comes behind may work in place


def _pass(*given: Any, **named: Any) -> Any:
    return first_argument(given, named)
