"""Removing layers from a network: which can go, why the others cannot, and the smaller network that is left."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from ._names import unknown
from .activations import evaluation, first_tensor

WEIGHTED = (_ConvNd, nn.Linear)
FOLLOWERS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.Dropout, nn.Dropout2d, nn.Identity)
"""What a convolution of a plain chain takes with it, beside the activations of `torch.nn`."""


def removable_layers(model: nn.Module, sample: Tensor | None = None) -> pd.DataFrame:
    """Lists the layers that could be removed, and for the others why not.

    A network can do without a child of a `Sequential` or `ModuleList` whose output has the shape of its input: a
    residual or transformer block, or in a plain chain a convolution or linear layer with as many channels out as in,
    which takes the norm, activation and dropout that follow it along. Of nested ones the outermost count, not the
    stages that hold them.

    Args:
        model: Any module. Whole networks are meant: what runs in one pass is what counts.
        sample: One batch of input, `[N, ...]`. The model runs on it once, so that shapes are seen; without it, what the
            modules say of themselves (channels, strides) has to do.

    Returns:
        One row a layer, in the order in which the model holds them: `layer`, `removable`, and `reason`, empty if it is.

    Raises:
        TypeError: If the model is not a module.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> removable_layers(model).iloc[:2].to_numpy().tolist()
        [['0', False, 'takes 4 channels and gives 8'], ['2', True, '']]
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    parts = _parts(model)
    reasons = {name: _static_reason(model.get_submodule(name)) for name in parts}
    if sample is not None:
        seen = _run(model, sample, parts)
        reasons = {name: _seen_reason(seen[name]) or reasons[name] for name in parts}
    rows = [(name, not reason, reason) for name, reason in reasons.items()]
    return pd.DataFrame(rows, columns=["layer", "removable", "reason"])


def drop_layers(model: nn.Module, layers: pd.DataFrame | Iterable[str], sample: Tensor | None = None) -> nn.Module:
    """Returns a new, smaller network without some layers, with the weights of the others.

    The modules are gone, not switched off: the result saves, loads and exports like any other. The children of a
    `Sequential` keep their names, so that `layer1.3` is the same block before and after; those of a `ModuleList` are
    numbered anew. To load saved weights, drop the same layers from a new network first.

    Args:
        model: The network; it stays as it is.
        layers: Names, or a plan of `plan_removal`.
        sample: As in `removable_layers`.

    Returns:
        A deep copy without the layers.

    Raises:
        ValueError: If a layer does not exist or cannot be removed; the message says why.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> drop_layers(model, ["0"])
        Sequential(
          (2): Linear(in_features=4, out_features=2, bias=True)
        )
    """
    names = list(layers.layer) if isinstance(layers, pd.DataFrame) else list(layers)
    check_removable(removable_layers(model, sample), names)
    parts = _parts(model)
    smaller = deepcopy(model)
    gone = {smaller.get_submodule(name) for layer in names for name in parts[layer]}
    for module in list(smaller.modules()):
        kept = [(name, child) for name, child in module._modules.items() if child not in gone]
        if len(kept) < len(module._modules):
            if isinstance(module, nn.ModuleList):
                kept = [(str(i), child) for i, (_, child) in enumerate(kept)]
            module._modules.clear()
            module._modules.update(kept)
    return smaller


def check_removable(table: pd.DataFrame, layers: Sequence[str]) -> None:
    """Raises ValueError unless each layer is named once and can go, by a table of `removable_layers`."""
    reasons = dict(zip(table.layer, table.reason, strict=True))
    for layer, number in Counter(layers).items():
        if layer not in reasons:
            there = f"{unknown('removable layer', layer, reasons)}; layers that a module calls by name cannot go"
            raise ValueError(there)
        if reasons[layer]:
            raise ValueError(f"layer {layer!r} cannot be removed: it {reasons[layer]}")
        if number > 1:
            raise ValueError(f"layer {layer!r} is named {number} times")


class Skip(nn.Module):
    """Stands where a layer was and hands on its first argument, in the form in which the layer gave its output."""

    def __init__(self, length: int | None = None) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Any, *_: Any, **__: Any) -> Any:
        """Returns x, or a tuple of x and Nones."""
        return x if self.length is None else (x, *[None] * (self.length - 1))


def _skip(output: Any) -> Skip:
    return Skip(len(output) if isinstance(output, tuple) else None)


def skip_layers(model: nn.Module, layers: Iterable[str], sample: Tensor) -> nn.Module:
    """Returns a copy in which layers are handed over; unlike after `drop_layers` all names stay.

    Args:
        model: The network; it stays as it is.
        layers: Names in `removable_layers`.
        sample: One batch of input.
    """
    layers = list(layers)
    parts = _parts(model)
    seen = _run(model, sample[:2], {layer: parts[layer] for layer in layers}, keep=True)
    copy = deepcopy(model)
    for layer in layers:
        for name in parts[layer]:
            copy.set_submodule(name, _skip(seen[layer].output))
    return copy


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


def without_each(model: nn.Module, samples: Tensor, layers: Sequence[str], at: Sequence[str] = ()) -> Iterator[Trial]:
    """Runs a network without each of some layers in turn.

    What comes before the layer is not computed again: every earlier block hands on what it gave in the whole network.

    Args:
        model: The network; it is as before between the values and afterwards.
        samples: Tensor `[N, ...]`, in one batch.
        layers: Names in `removable_layers`, in any order.
        at: Layers to be recorded.

    Yields:
        A trial for each layer, in the order of execution.
    """
    home = next(model.parameters(), samples).device
    samples, parts = samples.to(home), _parts(model)
    with torch.no_grad(), evaluation(model):
        seen = {name: one for name, one in _run(model, samples, parts, keep=True).items() if one.runs == 1}
        order, last = sorted(seen, key=lambda name: seen[name].place), _last_linear(model, samples)
        for i, layer in enumerate(order):
            if layer not in layers:
                continue
            given = {part: _hand_on(seen[name].output) for name in order[:i] for part in parts[name][-1:]}
            given |= {part: _pass for name in order[:i] for part in parts[name][:-1]}
            given |= {part: _skip(seen[layer].output).forward for part in parts[layer]}
            found: dict[str, Tensor] = {}
            head: list[Tensor] = []
            handles = [] if last is None else [_record_input(model.get_submodule(last), head)]
            handles += [
                model.get_submodule(name).register_forward_hook(
                    lambda _module, _inputs, output, name=name, found=found: found.update({name: _rows(output)})
                )
                for name in at
            ]
            try:
                with _replaced(model, given):
                    logits = _first(model(samples))
            finally:
                for handle in handles:
                    handle.remove()
            yield Trial(layer, found, head[-1] if head else logits.flatten(1), logits)


def classifier_input(model: nn.Module, samples: Tensor) -> Tensor:
    """Returns what the classifier sees: the input `[N, D]` of the last linear layer to run, or the network's output.

    Args:
        model: The network.
        samples: Tensor `[N, ...]`, in one batch.
    """
    found: list[Tensor] = []
    samples = samples.to(next(model.parameters(), samples).device)
    last = _last_linear(model, samples)
    handle = None if last is None else _record_input(model.get_submodule(last), found)
    try:
        with torch.no_grad(), evaluation(model):
            output = model(samples)
    finally:
        if handle is not None:
            handle.remove()
    return found[-1] if found else _rows(output)


def around_each(model: nn.Module, samples: Tensor, layers: Sequence[str]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yields of each layer its name, its input and its output, both `[N, D]`, in the order of execution.

    Args:
        model: The network.
        samples: Tensor `[N, ...]`, in one batch.
        layers: Names in `removable_layers`.
    """
    parts = _parts(model)
    seen = _run(model, samples, {layer: parts[layer] for layer in layers}, keep=True)
    for layer in sorted(seen, key=lambda name: seen[name].place):
        yield layer, _rows(seen[layer].input), _rows(seen[layer].output)


@dataclass
class _Seen:
    """What a layer did in one pass."""

    runs: int = 0
    place: int = 0
    input: Any = None
    output: Any = None
    shapes: tuple[list[int], list[int]] = ([], [])


def _parts(model: nn.Module) -> dict[str, list[str]]:
    """The layers that stand in a chain, in the model's order, each with the modules that go with it."""
    parts: dict[str, list[str]] = {}
    for name, container in model.named_modules():
        if not _is_chain(container) or any(name == layer or name.startswith(f"{layer}.") for layer in parts):
            continue
        owner: str | None = None
        weighted = [child for child in container.children() if isinstance(child, Skip) or _has_weights(child)]
        for key, child in container.named_children():
            path = f"{name}.{key}" if name else key
            if isinstance(child, WEIGHTED):
                owner = path
                parts[path] = [path]
            elif owner and (isinstance(child, FOLLOWERS) or type(child).__module__ == "torch.nn.modules.activation"):
                parts[owner].append(path)
            else:
                owner = None
                if _has_weights(child) and not _is_chain(child) and (len(weighted) > 1 or not _has_chain(child)):
                    parts[path] = [path]
    return parts


def _is_chain(module: nn.Module) -> bool:
    return type(module) in (nn.Sequential, nn.ModuleList)


def _has_weights(module: nn.Module) -> bool:
    return any(isinstance(part, WEIGHTED) for part in module.modules())


def _has_chain(module: nn.Module) -> bool:
    """Whether a module is a network of blocks that a `Sequential` wraps, rather than a block."""
    chains = (part for part in module.modules() if _is_chain(part))
    return any(sum(_has_weights(child) for child in chain.children()) > 1 for chain in chains)


def _static_reason(layer: nn.Module) -> str:
    """Why a layer cannot go, by what its modules say; empty if it can."""
    weighted = [part for part in layer.modules() if isinstance(part, WEIGHTED)]
    given, made = _channels(weighted[0])[0], _channels(weighted[-1])[1]
    if given != made:
        return f"takes {given} channels and gives {made}"
    strides = [part.stride for part in weighted if isinstance(part, _ConvNd) and set(part.stride) != {1}]
    return f"has a stride of {max(strides[0])}" if strides else ""


def _channels(layer: nn.Module) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    assert isinstance(layer, _ConvNd)
    return layer.in_channels, layer.out_channels


def _seen_reason(seen: _Seen) -> str:
    """Why a layer cannot go, by what it did in a pass; empty if it can."""
    if seen.runs != 1:
        return f"runs {seen.runs} times in one pass" if seen.runs else "never runs"
    given, made = seen.shapes
    if not made:
        return "gives no tensor"
    return "" if given == made else f"makes {made} of the shape {given}"


def _run(model: nn.Module, samples: Tensor, parts: Mapping[str, list[str]], *, keep: bool = False) -> dict[str, _Seen]:
    """Runs a model once and says what the layers did, with copies of what they took and gave if `keep`."""
    seen = {layer: _Seen() for layer in parts}
    handles, home = [], next(model.parameters(), samples).device

    def before(one: _Seen, inputs: tuple[Any, ...]) -> None:
        one.runs += 1
        one.place = max(other.place for other in seen.values()) + 1
        x = first_tensor(inputs)
        one.shapes = ([], []) if x is None else (list(x.shape[1:]), [])
        one.input = x.clone() if keep and x is not None else None

    def after(one: _Seen, output: Any) -> None:
        x = first_tensor(output)
        if x is not None:
            one.shapes = (one.shapes[0], list(x.shape[1:]))
        one.output = deepcopy(output) if keep else None

    for layer, names in parts.items():
        one, first, last = seen[layer], model.get_submodule(names[0]), model.get_submodule(names[-1])
        handles += [
            first.register_forward_pre_hook(lambda _module, inputs, one=one: before(one, inputs)),
            last.register_forward_hook(lambda _module, _inputs, output, one=one: after(one, output)),
        ]
    try:
        with torch.no_grad(), evaluation(model):
            model(samples.to(home))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _last_linear(model: nn.Module, samples: Tensor) -> str | None:
    """The name of the last linear layer to run."""
    ran: list[str] = []
    handles = [
        module.register_forward_hook(lambda _module, _inputs, _output, name=name: ran.append(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.no_grad(), evaluation(model):
            model(samples[:1])
    finally:
        for handle in handles:
            handle.remove()
    return ran[-1] if ran else None


def _record_input(module: nn.Module, found: list[Tensor]) -> RemovableHandle:
    return module.register_forward_pre_hook(lambda _module, inputs: found.append(_rows(inputs)))


@contextmanager
def _replaced(model: nn.Module, forwards: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Gives modules another `forward` for a while."""
    modules = {model.get_submodule(name): forward for name, forward in forwards.items()}
    try:
        for module, forward in modules.items():
            module.forward = forward
        yield
    finally:
        for module in modules:
            del module.forward


def _hand_on(output: Any) -> Callable[..., Any]:
    return lambda *_, **__: deepcopy(output)  # what comes behind may work in place


def _pass(x: Any, *_: Any, **__: Any) -> Any:
    return x


def _rows(output: Any) -> Tensor:
    return _first(output).flatten(1).clone()


def _first(output: Any) -> Tensor:
    x = first_tensor(output)
    if x is None:
        raise TypeError(f"the network gives {type(output).__name__}, which holds no tensor")
    return x
