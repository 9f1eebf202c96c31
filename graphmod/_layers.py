"""Which layers, and which of their calls, a pattern means: `Module, pattern -> names`."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.modules.conv import _ConvNd
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrize import type_before_parametrizations

from ._names import nearest, unknown


class LayerName(str):
    """A name that stands for one layer only, be it called `blocks`: for what is to be given as a pattern again."""

    __slots__ = ()


def layer_names(model: nn.Module, pattern: str | Sequence[str] = "blocks") -> list[str]:
    """Lists the layers of a model that a pattern selects, in the order in which the model holds them.

    Args:
        model: Any module. Names are those of `model.named_modules()`.
        pattern: One of the following, or several of them:

            - an exact name, `"layer1.0"`;
            - a glob, in which `*` stands for one part of a dotted name and `**` for any number: `"layer*.*"`;
            - either with a module type behind a colon: `"features.*:Conv2d"`, `"**:Linear"`;
            - `"all"`: every module without children;
            - `"blocks"`: the points that the network's designers would name. A model may state its own in an
              attribute `LAYERS` (a sequence of patterns; the models of graphmod do). Otherwise these are the first
              convolution and the blocks of each container in which a kind of block repeats (residual networks,
              transformers, graph networks), a module with three blocks of a kind counting as one (GoogLeNet); where
              nothing repeats, every convolution (VGG, AlexNet), or else every linear layer, or else every recurrent
              one. Of a T5 or another network of several stacks these are the blocks of all of them.

            A module that is itself called so is meant with its type: `"blocks:Sequential"`.

            Compiled, `DataParallel` and `DistributedDataParallel` networks have the names of the network inside.

    Returns:
        Names, none twice.

    Raises:
        TypeError: If the model is not a module.
        ValueError: If a pattern selects nothing; the message names the nearest layers.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> layer_names(model), layer_names(model, "*:ReLU")
        (['0', '2'], ['1'])
    """
    modules = {name: module for name, module in unwrapped(model).named_modules() if not _computes_weights(name)}
    chosen: set[str] = set()
    for one in patterns(pattern):
        found = _select(modules, one)
        if not found and one == "blocks":
            raise ValueError(
                "the model has no blocks, and no convolutions, linear or recurrent layers; name its layers"
            )
        if not found:
            raise ValueError(unknown("layer", one, filter(None, modules)))
        chosen.update(found)
    return [name for name in modules if name in chosen]


def layer_calls(model: nn.Module, layers: str | Sequence[str]) -> dict[str, set[int] | None]:
    """Says which of its calls in a forward pass each layer is recorded at; None for all of them.

    Raises:
        TypeError, ValueError: As `layer_names`.

    Example:
        >>> layer_calls(nn.Sequential(nn.ReLU(), nn.ReLU()), ["0", "1@2"])
        {'0': None, '1': {2}}
    """
    calls: dict[str, set[int] | None] = {}
    for pattern in patterns(layers):
        found = re.fullmatch(r"(.+)@([1-9]\d*)", pattern)
        for name in layer_names(model, type(pattern)(found[1]) if found else pattern):
            known = calls.get(name, set())
            calls[name] = known | {int(found[2])} if found and known is not None else None
    return calls


def check_runs(
    model: nn.Module,
    layers: str | Sequence[str],
    calls: Mapping[str, set[int] | None],
    seen: Sequence[Counter[str]],
) -> None:
    """Raises ValueError unless the layers ran as they were asked for.

    Args:
        model: The network.
        layers: What was asked for.
        calls: What that means, as `layer_calls` says.
        seen: How often each layer ran, for each batch.
    """
    exact = {name.partition("@")[0] for name in patterns(layers)}
    often = {name: [one[name] for one in seen] for name in calls}
    idle = [name for name in calls if not any(often[name])]
    others = [name for name, _ in model.named_modules() if name and name not in idle]
    for name, wanted in calls.items():
        least, most = min(often[name]), max(often[name])
        if name in idle and (name in exact or len(idle) == len(calls)):
            raise ValueError(f"layer {name!r} never runs in a forward pass; {nearest(name, others)}")
        if wanted and max(wanted) > least:
            raise ValueError(f"there is no {name}@{max(wanted)}: the layer runs {least} times in a forward pass")
        if wanted is None and least < most:
            raise ValueError(
                f"layer {name!r} runs {least} times for one batch and {most} times for another; name its calls, "
                f"{name}@1 and so on"
            )


def stages(layers: Iterable[str]) -> dict[str, list[str]]:
    """Groups layers, in their order, by what their names have before the last dot.

    Example:
        >>> stages(["layer1.0", "layer1.1", "layer2.0"])
        {'layer1': ['layer1.0', 'layer1.1'], 'layer2': ['layer2.0']}
    """
    found: dict[str, list[str]] = {}
    for layer in layers:
        found.setdefault(layer.rpartition(".")[0], []).append(layer)
    return found


def patterns(layers: str | Sequence[str]) -> list[str]:
    """Returns one pattern or several as a list.

    Raises:
        TypeError: If one of them is not text.

    Example:
        >>> patterns("blocks")
        ['blocks']
    """
    found = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, str) else [layers]
    for one in found:
        if not isinstance(one, str):
            raise TypeError(f"layers must be one name or pattern, or several; got {type(one).__name__}")
    return found


def _select(modules: Mapping[str, nn.Module], pattern: str) -> list[str]:
    if isinstance(pattern, LayerName):
        return [pattern] if pattern in modules else []
    if pattern == "blocks":
        return _blocks(modules)
    if pattern == "all":
        return [name for name, module in modules.items() if name and not _has_children(module)]
    glob, _, kind = pattern.partition(":")
    parts = re.split(r"(\*\*|\*)", glob)
    return [
        name
        for name, module in modules.items()
        if (not kind or _kind(module).__name__ == kind)
        and (name == glob or (not name.endswith("._orig_mod") and _matches(name.replace("._orig_mod", ""), parts)))
    ]


def _matches(name: str, parts: Sequence[str]) -> bool:
    """Whether the parts of a glob make up the name; in time that grows with their lengths, whatever they are."""
    ends = {0}
    for part in parts:
        if part == "**":
            ends = set(range(min(ends) + 1, len(name) + 1))
        elif part == "*":
            ends = {end for start in ends for end in range(start + 1, _dot(name, start) + 1)}
        else:
            ends = {start + len(part) for start in ends if name.startswith(part, start)}
        if not ends:
            return False
    return len(name) in ends


def _dot(name: str, start: int) -> int:
    """Where the part of a dotted name that holds `start` ends."""
    end = name.find(".", start)
    return len(name) if end < 0 else end


def _blocks(modules: Mapping[str, nn.Module]) -> list[str]:
    for name, module in modules.items():  # the outermost that states its own, also inside a wrapper
        stated: Any = getattr(module, "LAYERS", None)
        if stated is not None and not isinstance(module, OptimizedModule):  # which has all that the one inside has
            return [f"{name}.{layer}".lstrip(".") for layer in layer_names(module, stated)]
    convolutions = [name for name, module in modules.items() if isinstance(module, _ConvNd)]
    blocks = _repeated_blocks(modules)
    if blocks:
        inside = tuple(f"{name}." for name in blocks)
        return [name for name in convolutions[:1] if not name.startswith(inside)] + blocks
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    recurrent = nn.RNNBase | nn.RNNCellBase
    return convolutions or linear or [name for name, module in modules.items() if isinstance(module, recurrent)]


def _repeated_blocks(modules: Mapping[str, nn.Module]) -> list[str]:
    """The outermost composite elements of containers in which the class of one occurs more than once."""
    elements: dict[str, list[str]] = {}  # by their outermost container
    for name, module in modules.items():
        norm = re.search(r"^(?!.*Conv).*Norm", _kind(module).__name__)  # timm's holds its activation
        if name and _has_children(module) and not _is_container(module) and not norm:
            parent = name.rpartition(".")[0]
            if _is_container(modules[parent]) or _holds_many(modules[parent]):
                while parent and _is_container(modules[parent.rpartition(".")[0]]):
                    parent = parent.rpartition(".")[0]
                elements.setdefault(parent, []).append(name)
    count = Counter(_kind(modules[name]) for names in elements.values() for name in names)
    repeated = {
        name for names in elements.values() if any(count[_kind(modules[name])] > 1 for name in names) for name in names
    }
    return [
        name for name in modules if name in repeated and not any(name.startswith(f"{other}.") for other in repeated)
    ]


def unwrapped(model: nn.Module) -> nn.Module:
    """Returns the network inside what `torch.compile`, `DataParallel` and `DistributedDataParallel` wrap around it.

    Raises:
        TypeError: If the model is not a module.

    Example:
        >>> unwrapped(nn.DataParallel(nn.ReLU()))
        ReLU()
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    while isinstance(model, nn.DataParallel | DistributedDataParallel | OptimizedModule):
        inner = model._orig_mod if isinstance(model, OptimizedModule) else model.module
        assert isinstance(inner, nn.Module)
        model = inner
    return model


def _is_container(module: nn.Module) -> bool:
    kind = _kind(module)
    plain = kind in (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    return plain or kind.__name__.endswith("Stage")  # a stage of blocks, as timm and transformers name it


def _holds_many(module: nn.Module) -> bool:
    """Whether three composite children are of one class, other than containers."""
    kinds = Counter(_kind(child) for child in module.children() if _has_children(child) and not _is_container(child))
    return max(kinds.values(), default=0) > 2


def _has_children(module: nn.Module) -> bool:
    return any(name != "parametrizations" for name, _ in module.named_children())


def _computes_weights(name: str) -> bool:
    """Whether a name is that of a module which `torch.nn.utils.parametrize` computes a weight with."""
    return "parametrizations" in name.split(".")


def _kind(module: nn.Module) -> type:
    """The class of what is compiled or parametrized: of a linear layer with a weight norm, `Linear`."""
    return type_before_parametrizations(unwrapped(module))


def leaves(model: nn.Module) -> list[nn.Module]:
    """Lists the modules that hold no others and take hooks: not scripted ones, nor those that compute weights.

    Example:
        >>> leaves(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh())))
        [ReLU(), Tanh()]
    """
    return [
        module
        for name, module in model.named_modules()
        if not (_has_children(module) or _computes_weights(name) or isinstance(module, torch.jit.ScriptModule))
    ]
