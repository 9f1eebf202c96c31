"""What a network costs: parameters, multiply-adds, memory, time."""

import math
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ._layers import leaves
from ._passes import evaluation, hooks, plain_attention, watched
from .inputs import first_tensor, forward, moved, pixels


def cost(model: nn.Module, sample: Tensor) -> dict[str, int]:
    """Counts what a network needs for one sample.

    Args:
        model: Any module; it is as before afterwards.
        sample: One or more samples `[N, ...]`, of which the first is taken.

    Returns:
        `num_parameters`; `macs`, the multiply-adds of convolutions, matrix products and recurrent layers (what papers
        on pruning call FLOPs); `activation_memory`, the bytes of the outputs of all modules without children, but
        scripted ones, which show none.

    Raises:
        TypeError: If the model is not a module, or the sample not a tensor.
        ValueError: If there are no samples, or a layer is quantized.

    Example:
        >>> cost(nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU()), torch.rand(2, 4))
        {'num_parameters': 32, 'macs': 32, 'activation_memory': 64}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}")
    if not isinstance(sample, Tensor):
        raise TypeError(f"sample must be a tensor; got {type(sample).__name__}")
    if sample.dim() == 0 or not len(sample):
        raise ValueError("sample must hold at least one sample; got none")
    for name, module in model.named_modules():
        kind = type(module)  # "FloatFunctional" stands for a sum in a network that is to be quantized
        if re.match(r"torch\.ao\.nn\..*quantized", kind.__module__) and "FloatFunctional" not in kind.__name__:
            raise ValueError(
                f"layer {name!r} is quantized, and cannot be counted; take the network before its conversion"
            )
    memory = 0

    def record(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal memory
        x = first_tensor(output)
        memory += 0 if x is None else x.nbytes

    aten = torch.ops.aten
    more = {
        aten.mkldnn_rnn_layer: _layer_flops,
        aten._cudnn_rnn: _network_flops,
        aten.mv: _vector_flops,
        aten.dot: _vector_flops,
        aten.addbmm: lambda _sum, x, y, *_args, **_named: 2 * math.prod(x) * y[2],
        aten.addmv: lambda _sum, matrix, *_args, **_named: _vector_flops(matrix),
        aten._trilinear: lambda x, weights, *_args, **_named: _network_flops(x, [weights]),
    }
    counter = FlopCounterMode(display=False, custom_mapping=more)
    plain = sdpa_kernel(SDPBackend.MATH)  # fused attention is not counted by every version of torch
    with hooks() as hook, warnings.catch_warnings(), _frozen(model), watched(model), plain_attention(), plain, counter:
        warnings.filterwarnings("ignore", "Using `torch.compile", UserWarning)  # the counter's hooks, which bear it
        for module in leaves(model):
            hook(module.register_forward_hook(record))
        forward(model, sample[:1])
    return {
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "macs": counter.get_total_flops() // 2,
        "activation_memory": memory,
    }


def latency(models: Mapping[str, nn.Module], sample: Tensor, *, repeats: int = 10) -> dict[str, float]:
    """Measures how long networks take for a batch, each in turn, so that a busy machine is busy for all of them.

    Args:
        models: Networks by name, on one device.
        sample: The batch `[N, ...]`.
        repeats: Rounds, after one that does not count.

    Returns:
        The median of the seconds of a forward pass, by name.

    Raises:
        ValueError: If there are no rounds.

    Example:
        >>> sorted(latency({"small": nn.Linear(2, 2), "large": nn.Linear(2, 200)}, torch.rand(1, 2), repeats=1))
        ['large', 'small']
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1; got {repeats}")
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(repeats + 1):
        for name, model in models.items():
            x = moved(pixels(sample), model)
            with torch.no_grad(), evaluation(model):
                _wait(x)
                start = time.perf_counter()
                model(x)
                _wait(x)
            seconds[name].append(time.perf_counter() - start)
    return {name: median(found[1:]) for name, found in seconds.items()}


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """Lets no parameter ask for gradients for a while: the counter cannot take a view of one that does."""
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in asking:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in asking:
            parameter.requires_grad_(True)


def _layer_flops(x: Sequence[int], first: Sequence[int], second: Sequence[int], *_: object, **__: object) -> int:
    """Of one direction of a recurrent layer on a CPU, by the shapes of its input and its matrices."""
    return _network_flops(x, [first, second])


def _network_flops(x: Sequence[int], weights: Sequence[Sequence[int]], *_: object, **__: object) -> int:
    """Of all recurrent layers together, as on a GPU: each matrix multiplies each step of each sample."""
    return 2 * math.prod(x[:-1]) * sum(math.prod(one) for one in weights if len(one) > 1)


def _vector_flops(x: Sequence[int], *_: object, **__: object) -> int:
    """Of the product of a matrix or a vector with a vector."""
    return 2 * math.prod(x)


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
