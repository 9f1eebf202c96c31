"""What surrounds a forward pass that is watched: a copy, evaluation mode, hooks, plain attention, and an early end."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Puts a model into evaluation mode for a while; afterwards every module has its own mode again."""
    modes = {module: module.training for module in model.modules() if hasattr(module, "training")}  # frozen: none
    try:
        for module in modes:
            if module.training:
                module.training = False  # and not `eval()`, which may do more, such as merge weights
        yield
    finally:
        for module, training in modes.items():
            if module.training != training:
                module.training = training


@contextmanager
def watched(model: nn.Module) -> Iterator[None]:
    """Lets a network run in evaluation mode, without gradients and uncompiled, as is best for a few passes."""
    with torch.no_grad(), evaluation(model), torch.compiler.set_stance("force_eager"):
        yield


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
def hooks() -> Iterator[Callable[[RemovableHandle], None]]:
    """Yields a function that takes handles of hooks; all are removed afterwards, also where the next cannot be made."""
    with ExitStack() as undo:

        def keep(handle: RemovableHandle) -> None:
            undo.callback(handle.remove)

        yield keep


def layer_of(model: nn.Module, name: str) -> nn.Module:
    """Returns the layer of a name, for a hook.

    Raises:
        ValueError: If it is scripted.
    """
    layer = model if isinstance(model, torch.jit.ScriptModule) else model.get_submodule(name)
    if isinstance(layer, torch.jit.ScriptModule):
        raise ValueError(f"layer {name!r} is scripted, which takes no hooks; pass the module that it was made of")
    return layer


def copied(model: nn.Module) -> nn.Module:
    """Returns a deep copy, also of tensors that hooks compute before each pass, as `torch.nn.utils.prune` has it."""
    found = _computed([vars(module) for module in model.modules()], set())
    return deepcopy(model, {id(one): one.detach().clone() for one in found})


def _computed(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """The tensors with a history in a value, also in lists, tuples and dicts."""
    if isinstance(value, Tensor) and not value.is_leaf:
        yield value
    elif isinstance(value, list | tuple | dict) and id(value) not in seen:
        seen.add(id(value))
        for one in value.values() if isinstance(value, dict) else value:
            yield from _computed(one, seen)


@contextmanager
def hooked(
    model: nn.Module,
    before: Callable[[str], Callable[[nn.Module, Any], None]],
    behind: Mapping[str, Callable[[nn.Module, Any, Any], None]],
) -> Iterator[None]:
    """Calls functions for a while: before every layer, but scripted ones, which take none, and behind some by name."""
    with hooks() as keep:
        for name, layer in model.named_modules():
            if not isinstance(layer, torch.jit.ScriptModule):
                keep(layer.register_forward_pre_hook(before(name)))
        for name, hook in behind.items():
            keep(layer_of(model, name).register_forward_hook(hook))
        yield


class EnoughError(BaseException):
    """Ends a forward pass that has given all that is wanted; no network catches it."""


class Passes:
    """Stops every forward pass after the first as soon as all wanted layers have run.

    It stops at the module that came next in the first pass.
    """

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
