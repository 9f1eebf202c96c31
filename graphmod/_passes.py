"""What surrounds a forward pass that is watched: evaluation mode, hooks, plain attention, and an early end."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Puts a model into evaluation mode for a while; afterwards every module has its own mode again."""
    modes = {module: module.training for module in model.modules()}
    if any(modes.values()):
        model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            if module.training != training:
                module.training = training


@contextmanager
def plain_attention() -> Iterator[None]:
    """Keeps torch's encoder from packing tokens into nested tensors, which hooks cannot read, for a while."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def hooked(
    model: nn.Module,
    before: Callable[[str], Callable[[nn.Module, Any], None]],
    behind: Mapping[str, Callable[[nn.Module, Any, Any], None]],
) -> Iterator[None]:
    """Calls functions for a while: before every layer, but scripted ones, which take none, and behind some by name."""
    layers = [pair for pair in model.named_modules() if not isinstance(pair[1], torch.jit.ScriptModule)]
    handles = [layer.register_forward_pre_hook(before(name)) for name, layer in layers]
    handles += [model.get_submodule(name).register_forward_hook(hook) for name, hook in behind.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class EnoughError(BaseException):
    """Ends a forward pass that has given all that is wanted; no network catches it."""


class Passes:
    """Ends forward passes but the first at the module that came next there, once all is there that was wanted."""

    def __init__(self) -> None:
        self._short = False
        self._wanted = self._seen = 0
        self._started: set[str] = set()
        self._end: str | None = None

    def begin(self, alike: bool) -> None:
        """A pass begins; whether its batch is like the first one."""
        self._short = alike and self._wanted > 0
        self._seen = 0

    def start(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_module: nn.Module, _inputs: Any) -> None:
            if self._short and name == self._end and self._seen >= self._wanted:
                raise EnoughError
            if name not in self._started:
                self._started.add(name)
                self._end = self._end or name

        return hook

    def go_on(self) -> None:
        """Something that is wanted has run."""
        self._seen += 1
        if not self._short:
            self._wanted, self._end = self._seen, None
