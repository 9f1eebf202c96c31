"""Layers cut out of a network in place, or skipped, and whether that is the same."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ._chains import WEIGHTED, num_weights, run_once, skip_like
from ._numbering import number_anew, numbers_kept
from ._passes import copied, hooks, watched
from ._steps import seeded
from .inputs import first_tensor, forward


def cut(model: nn.Module, names: Iterable[str]) -> None:
    """Takes modules out of those that hold them; the layers of a `ModuleList` are numbered anew, also in configs."""
    before: dict[nn.Module, list[nn.Module]] = {
        module: list(module) for module in model.modules() if isinstance(module, nn.ModuleList)
    }
    gone: dict[nn.Module, set[str]] = {}
    for name in names:
        holder, _, key = name.rpartition(".")
        gone.setdefault(model.get_submodule(holder), set()).add(key)
    for module, keys in gone.items():
        kept = [(key, child) for key, child in module._modules.items() if key not in keys]
        if isinstance(module, nn.ModuleList):
            kept = [(str(i), child) for i, (_, child) in enumerate(kept)]
        module._modules.clear()
        module._modules.update(kept)
    number_anew(model, before)


def skip(model: nn.Module, names: Iterable[str], output: Any) -> None:
    """Lets modules hand on their input, in the form of an output that was seen."""
    for name in names:
        model.set_submodule(name, skip_like(output, num_weights(model.get_submodule(name))))


def hidden_uses(model: nn.Module, samples: Tensor, parts: Mapping[str, list[str]]) -> dict[str, str]:
    """Says of each layer why deleting it differs from letting it hand on its input; empty if it does not.

    They differ where the network adds what a layer gives to its input, addresses its layers by number, unpacks them, or
    needs all that they give.

    Args:
        model: The network; it stays as it is.
        samples: A few samples, `[N, ...]`.
        parts: Layers, each with the modules that go with it, each of which runs once.
    """
    seen, copy = run_once(model, samples, parts, keep="outputs"), copied(model).eval()
    found = {}
    for layer, names in parts.items():
        try:
            with _children_kept(copy), numbers_kept(copy):
                cut(copy, names)
                dropped = _ends(copy, samples)
        except Exception as error:  # whatever a network may raise
            found[layer] = f"is counted on: without it the network raises {type(error).__name__}"
            continue
        try:
            with _children_kept(copy):
                skip(copy, names, seen[layer].output)
                skipped = _ends(copy, samples)
        except Exception as error:
            found[layer] = f"cannot be tried: where it hands on its input the network raises {type(error).__name__}"
            continue
        alike = len(dropped) == len(skipped) and all(map(_same, dropped, skipped))
        found[layer] = "" if alike else "is more than a step: the network without it is not that where it does nothing"
    return found


@contextmanager
def _children_kept(model: nn.Module) -> Iterator[None]:
    """Gives all modules their children back afterwards."""
    children = {module: dict(module._modules) for module in model.modules()}
    try:
        yield
    finally:
        for module, own in children.items():
            module._modules.clear()
            module._modules.update(own)


def _ends(model: nn.Module, samples: Tensor) -> list[Tensor]:
    """What goes into the last convolution or linear layer to run, which may be zero, and the output."""
    given: Any = None
    home = next(model.parameters(), samples).device

    def note(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        nonlocal given
        given = inputs or named

    with hooks() as hook, watched(model), seeded(0, home):
        for module in model.modules():
            if isinstance(module, WEIGHTED):
                hook(module.register_forward_pre_hook(note, with_kwargs=True))
        output = forward(model, samples)
    return [x for x in (first_tensor(given), first_tensor(output)) if x is not None]


def _same(x: Tensor, y: Tensor) -> bool:
    """Whether two outputs differ by no more than rounding."""
    if x.shape != y.shape:
        return False
    x, y = x.double(), y.double()
    size = float(y.nan_to_num(0, 0, 0).abs().max()) if y.numel() else 0.0
    return torch.allclose(x, y, rtol=1e-4, atol=1e-4 * size, equal_nan=True)
