"""The layers that stand in a chain: which they are, and what they do in one pass."""

from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import ParametrizationList

from ._layers import unwrapped
from ._passes import hooks, layer_of, watched
from .inputs import first_tensor, forward, output_tensor

Keep = Literal["nothing", "outputs", "inputs and outputs"]
WEIGHTED = (_ConvNd, nn.Linear)
FOLLOWERS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.Dropout, nn.Dropout2d, nn.Identity)
"""What a convolution of a plain chain takes with it, beside the activations of `torch.nn`."""
NO_STEPS = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RNNBase, ParametrizationList)
"""What has matrices and is no step of a chain."""


class Skip(nn.Module):
    """Stands where a layer was and hands on its first argument, in the form in which the layer gave its output.

    It counts as many convolutions and linear layers as there were, so that the others are the same layers as before.
    """

    def __init__(self, length: int | None = None, weights: int = 1) -> None:
        super().__init__()
        self.length = length
        self.weights = weights

    def forward(self, *given: Any, **named: Any) -> Any:
        """Returns the first argument x, or a tuple of x and Nones."""
        x = first_argument(given, named)
        return x if self.length is None else (x, *[None] * (self.length - 1))


def skip_like(output: Any, weights: int = 1) -> Skip:
    """A `Skip` that gives what has the form of an output, and counts as so many convolutions and linear layers."""
    return Skip(len(output) if isinstance(output, tuple) else None, weights)


def first_argument(given: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """What a module is called with first, by place or by name."""
    return given[0] if given else next(iter(named.values()))


@dataclass
class Seen:
    """What a layer did in one pass."""

    runs: int = 0
    place: int = 0
    input: Any = None
    output: Any = None
    given: list[int] | None = None
    made: list[int] | None = None


def chain_layers(model: nn.Module) -> dict[str, list[str]]:
    """The layers that stand in a chain, in the model's order, each with the modules that go with it.

    Of nested ones the outermost count, and of a stage those in its chains. What stands in several places goes along
    with none. What is scripted cannot be looked at, and is no layer.
    """
    parts: dict[str, list[str]] = {}
    closed: list[str] = []
    places = num_places(model)
    for name, container in model.named_modules():
        if any(name == other or name.startswith(f"{other}.") for other in (*parts, *closed)):
            continue
        if _is_stage(container):
            closed += [f"{name}.{key}" for key, child in container.named_children() if not _holds_layers(child)]
        if not _is_chain(container):
            continue
        owner: str | None = None
        lone = sum(has_weights(child) for child in container.children()) < 2
        for key, child in container._modules.items():
            if child is None:
                continue
            path = f"{name}.{key}" if name else key
            if isinstance(child, WEIGHTED):
                owner = path
                parts[path] = [path]
            elif owner and (isinstance(child, FOLLOWERS) or type(child).__module__ == "torch.nn.modules.activation"):
                parts[owner] += [path] if places[child] == 1 else []
            else:
                owner = None
                inside = (
                    isinstance(child, Skip | torch.jit.ScriptModule)
                    or _holds_layers(child)
                    or _is_network(child, model, lone)
                )
                if has_weights(child) and not inside:
                    parts[path] = [path]
    return parts


def num_places(model: nn.Module) -> Counter[nn.Module]:
    """In how many places modules stand: held by several others, or by one under several names."""
    return Counter(child for module in model.modules() for child in module._modules.values() if child is not None)


def num_weights(module: nn.Module) -> int:
    """The number of convolutions, linear layers and other modules with matrices in a module."""
    return sum(part.weights if isinstance(part, Skip) else _is_weighted(part) for part in module.modules())


def _is_weighted(module: nn.Module) -> bool:
    """Whether a module is a convolution or linear layer, or has matrices of its own, as GPT-2's linear layers have."""
    matrices = any(parameter.dim() == 2 for parameter in module.parameters(recurse=False))
    return isinstance(module, WEIGHTED) or (matrices and not isinstance(module, NO_STEPS))


def has_weights(module: nn.Module) -> bool:
    return num_weights(module) > 0


def _is_chain(module: nn.Module) -> bool:
    """Whether the children run one after the other; a class that joins a convolution and its norm makes a layer."""
    module = unwrapped(module)
    if type(module) in (nn.Sequential, nn.ModuleList):
        return True
    plain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
    return plain and any(num_weights(child) > 1 for child in module.children())


def _is_stage(module: nn.Module) -> bool:
    """Whether a module holds blocks rather than being one, as timm and transformers name it."""
    return type(module).__name__.endswith("Stage")


def _holds_layers(module: nn.Module) -> bool:
    return _is_chain(module) or _is_stage(module)


def _is_network(module: nn.Module, model: nn.Module, lone: bool) -> bool:
    """Whether a module is a network of blocks that a `Sequential` holds, alone or with a head, rather than a block."""
    most = 2 * num_weights(module) > num_weights(model)
    if not lone and not most:
        return False
    least = 1 if lone and most else 2  # weights of what may be a block
    chains = [part for part in module.modules() if _is_chain(part)]
    blocks = [sum(num_weights(child) >= least for child in chain.children()) for chain in chains]
    return max(blocks, default=0) > 1 and (lone or sum(blocks) > 2)  # two may be what a residual block adds up


def run_once(
    model: nn.Module, samples: Tensor, parts: Mapping[str, list[str]], *, keep: Keep = "nothing"
) -> dict[str, Seen]:
    """Runs a model once and says what the layers did, with copies of what they gave, or took and gave.

    Args:
        model: The network; it is as before afterwards.
        samples: One batch of input.
        parts: Layers, each with the modules that go with it.
        keep: What is kept of the layers.
    """
    seen = {layer: Seen() for layer in parts}

    def before(one: Seen, _module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        one.runs += 1
        one.place = max(other.place for other in seen.values()) + 1
        x = first_tensor(inputs or named)
        one.given = None if x is None else list(x.shape[1:])
        one.input = x.clone() if keep == "inputs and outputs" and x is not None else None

    def after(one: Seen, _module: nn.Module, _inputs: Any, output: Any) -> None:
        x = first_tensor(output)
        one.made = None if x is None else list(x.shape[1:])
        one.output = deepcopy(output) if keep != "nothing" else None

    with hooks() as hook, watched(model):
        for layer, names in parts.items():
            first, last = layer_of(model, names[0]), layer_of(model, names[-1])
            hook(first.register_forward_pre_hook(partial(before, seen[layer]), with_kwargs=True))
            hook(last.register_forward_hook(partial(after, seen[layer])))
        forward(model, samples)
    return seen


def rows_of(output: Any) -> Tensor:
    return output_tensor(output).flatten(1).clone()
