"""A model made ready for many passes over images of one shape: the same logits up to rounding, in less time."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from .._passes import hooks
from .._tensors import check_classes, has_bfloat16
from ..inputs import moved, output_tensor
from ._cuda_graph import SHARE, recorded_pass

Model = Callable[[Tensor], Tensor]
"""Images `[N, ...]` to logits `[N, C]`."""

CLOSE = {torch.float32: 1e-4, torch.float64: 1e-10}  # how far logits may be off, as a share of the largest
WORTH = 8  # passes forward and backward for which recording them pays; preparing as well, for five times as many
FEW = 32  # images that leave a GPU waiting for its next launch
MANY = 32  # images whose passes forward and backward take longer than it takes to prepare a model, on a CPU


@contextmanager
def prepared(model: nn.Module, sizes: Iterable[int] = (), classes: tuple[int, int] = (0, 0)) -> Iterator["Prepared"]:
    """Yields the logits of a model as a function of images, for a while, in which it has less to do.

    Each batch norm is folded into the convolution before it, and on a CPU the channels of a pixel lie side by side. The
    model itself still runs, with its own code and hooks; only `forward` of these layers is another meanwhile. All this
    is tried on two images, and where a model does not bear it, it runs as it is. It is done at the second call, or at
    the first if that has `MANY` images of a CPU: an attack of one pass over few would pay for nothing.

    Args:
        model: A classifier in evaluation mode.
        sizes: Number of images in each of the batches to come.
        classes: The smallest and the largest number of a class that is asked for; a model that has others is refused.
    """
    with ExitStack() as undo:
        yield Prepared(model, Counter(sizes), classes, undo)


class Prepared:
    """See `prepared`."""

    def __init__(self, model: nn.Module, sizes: Counter[int], classes: tuple[int, int], undo: ExitStack) -> None:
        self._model, self._sizes, self._classes, self._undo = model, sizes, classes, undo
        self._calls = 0
        self._layout: torch.memory_format | None = None
        self._graphs: dict[tuple[object, ...], Model | None] = {}

    def __call__(self, x: Tensor) -> Tensor:
        self._calls += 1
        if self._calls > 1 or (x.device.type == "cpu" and len(x) >= MANY):
            self._prepare(x)
        return self._logits(x)

    def replayed(self, x: Tensor, passes: int) -> Model:
        """Returns the same for passes over images like these, forward and backward; see `replayed`."""
        kind, passes = (x.shape, x.dtype, x.device), passes * max(1, self._sizes[len(x)])
        if kind not in self._graphs and x.is_cuda and passes >= WORTH:
            if passes >= 5 * WORTH:
                self._prepare(x)
            self._graphs[kind] = None if _watched(self._model) else recorded_pass(self._logits, x)
        return self._graphs.get(kind) or self

    def _prepare(self, x: Tensor) -> None:
        if self._layout is None:
            self._layout = _prepare(self._model, x[:2].detach(), self._undo)

    def _logits(self, x: Tensor) -> Tensor:
        x = x if self._layout is None else x.contiguous(memory_format=self._layout)
        logits = output_tensor(self._model(moved(x, self._model))).to(x.dtype)
        check_classes(*self._classes, logits.shape[-1])
        return logits


def replayed(model: Model, x: Tensor, passes: int) -> Model:
    """Returns a model for so many passes over a batch of the shape of `x`, each one forward and then backward.

    On a GPU it is a CUDA graph, as small networks take longer to launch than to run. Where it cannot be recorded, has
    hooks to call, or the passes are too few to pay for it, it is the model that was given.
    """
    return model.replayed(x, passes) if isinstance(model, Prepared) else model


def is_to_shrink(x: Tensor, left: int, held: int) -> bool:
    """Returns whether images that are done leave a batch; on a GPU most must be done, and out of many.

    A CUDA graph is of one shape, another takes as long as ten passes to record, and few images take as long as fewer.
    """
    return left < held and (not x.is_cuda or (left <= held / 4 and held > FEW))


def rough(model: Model, x: Tensor) -> Model | None:
    """Returns a function that gives logits to two digits, in half the time; None where the CPU or the model does not.

    Args:
        model: Gives logits.
        x: A few images, on which it is tried.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or not has_bfloat16():
        return None

    def run(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model(x).float()

    with torch.no_grad():
        expected = [model(x) for _ in range(2)]  # after the first it may be prepared, which is to be done exactly
        return run if _close(run, x, expected[1], 0.1) else None


def at_a_time(x: Tensor) -> int:
    """Returns how many images like these go into one pass: as many as a CPU's cache holds, or as fill a GPU."""
    return 64 if x.device.type == "cpu" else max(128, 2**22 // x[0].numel())


def _watched(model: nn.Module) -> bool:
    """Whether somebody's code is to run in each pass, or other code than the layers' own, which may do anything."""
    layers = list(model.modules())
    return any(map(_has_hooks, layers)) or _runs_otherwise(layers)


def _has_hooks(layer: nn.Module) -> bool:
    return any(found for name, found in vars(layer).items() if name.endswith("_hooks"))


def _runs_otherwise(layers: list[nn.Module]) -> bool:
    return any(one._compiled_call_impl or hasattr(one, "_orig_mod") or type(one) is nn.DataParallel for one in layers)


def _prepare(model: nn.Module, x: Tensor, undo: ExitStack) -> torch.memory_format:
    """Folds what can be folded until `undo` is closed, and returns the layout in which images are to come."""
    layers = list(model.modules())
    if _runs_otherwise(layers) or x.dtype not in CLOSE or not any(type(one) is nn.Conv2d for one in layers):
        return torch.contiguous_format
    layouts, close = [torch.contiguous_format], CLOSE[x.dtype]
    if x.device.type != "cpu":
        close = SHARE
    elif x.dtype == torch.float32:
        layouts.insert(0, torch.channels_last)
    with torch.no_grad(), ExitStack() as trial:
        try:
            pairs, expected = _pairs(model, x)
            for convolution, norm in pairs:
                _fold(convolution, norm, trial)
        except Exception:  # the attack's own call will tell
            return torch.contiguous_format
        for layout in layouts:
            if _close(model, x.contiguous(memory_format=layout), expected, close):
                undo.push(trial.pop_all())
                return layout
    return torch.contiguous_format


def _close(model: Model, x: Tensor, expected: Tensor, share: float) -> bool:
    """Whether a model gives these logits, to within a share of the largest."""
    try:
        return bool(((output_tensor(model(x)) - expected).abs() <= share * expected.abs().amax()).all())
    except Exception:  # it does not run so: `view` of channels that lie side by side, or two dtypes in one product
        return False


class _Readers(TorchFunctionMode):
    """Notes which convolutions have an output that anything reads but the batch norm behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[int, tuple[nn.Conv2d, Tensor, int]] = {}
        self.others: set[nn.Conv2d] = set()
        self.in_norm = False

    def __torch_function__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.in_norm:
            read = (self.made.get(id(one)) for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor))
            self.others.update(found[0] for found in read if found is not None)
        return function(*args, **(kwargs or {}))


def _pairs(model: nn.Module, x: Tensor) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], Tensor]:
    """Convolutions whose output goes, as it is, into a batch norm with statistics and nowhere else; both without hooks.

    Both run once. The model's output is returned, too.
    """
    readers, found = _Readers(), []
    runs: Counter[nn.Module] = Counter()

    def after_convolution(layer: Any, _inputs: Any, output: Tensor) -> None:
        runs[layer] += 1
        with DisableTorchFunction():
            readers.made[id(output)] = layer, output, output._version  # which is held, so that no other gets its id

    def before_norm(layer: Any, inputs: Any) -> None:
        runs[layer] += 1
        with DisableTorchFunction():
            convolution, _, version = readers.made.get(id(inputs[0]), (None, None, -1))
            if convolution is not None and inputs[0]._version == version:
                found.append((convolution, layer))
        readers.in_norm = True

    def after_norm(*_: Any) -> None:
        readers.in_norm = False

    with hooks() as hook:
        for layer in model.modules():
            theirs = "forward" in vars(layer) or _has_hooks(layer)
            if type(layer) is nn.Conv2d and not theirs:
                hook(layer.register_forward_hook(after_convolution))
            if type(layer) is nn.BatchNorm2d and layer.running_mean is not None and not theirs:
                hook(layer.register_forward_pre_hook(before_norm))
                hook(layer.register_forward_hook(after_norm))
        with readers:
            output = output_tensor(model(x))
    uses = Counter(convolution for convolution, _ in found)
    alone = [pair for pair in found if uses[pair[0]] == runs[pair[0]] == runs[pair[1]] == 1]
    return [pair for pair in alone if pair[0] not in readers.others], output


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d, undo: ExitStack) -> None:
    """Lets a convolution do the work of the batch norm behind it, with weights of its own, until `undo` is closed."""
    kept: Any = norm  # its statistics are there
    weight, bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, kept.running_mean, kept.running_var, norm.eps, norm.weight, norm.bias
    )
    for layer, forward in (
        (convolution, partial(convolution._conv_forward, weight=weight.detach(), bias=bias.detach())),
        (norm, nn.Identity().forward),
    ):
        layer.forward = forward  # type: ignore[method-assign]
        undo.callback(vars(layer).pop, "forward")
