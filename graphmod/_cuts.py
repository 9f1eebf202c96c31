"""Layers cut out of a network in place."""

from collections.abc import Iterable

from torch import nn


def cut(model: nn.Module, names: Iterable[str]) -> None:
    """Takes modules out of those that hold them; the children of a `ModuleList` are numbered anew."""
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
