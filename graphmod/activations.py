"""What each layer of a network says about each sample: `Module, samples -> {layer: Tensor [N, D]}`.

Layers are recorded by forward hooks, so that any `torch.nn.Module` will do, traceable or not.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ._layers import layer_names as layer_names
from ._names import nearest
from .samples import batches


def layer_activations(
    model: nn.Module,
    samples: Any,
    layers: str | Sequence[str] = "blocks",
    *,
    batch_size: int = 256,
    transform: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str | None = None,
    title: str = "",
    progress: bool = True,
) -> dict[str, Tensor]:
    """Runs samples through a model and records what the layers give, each sample's output flattened to one row.

    The model runs in evaluation mode, without gradients, on the device where its parameters are. Its mode is put back
    and every hook removed, also when an error ends the run. Each output is copied at the moment it is made, so that a
    later in-place operation does not change it. Of a tuple the first tensor is taken, of a dict or a Hugging Face
    output `last_hidden_state`, or else its first tensor.

    Args:
        model: Any module whose forward takes one batch of samples.
        samples: Tensor `[N, ...]`, a map-style data set, or anything that yields batches `x` or `(x, y)`, such as a
            `torch.utils.data.DataLoader`.
        layers: Names or patterns as in `layer_names`.
        batch_size: Samples in one forward pass, where `samples` does not come in batches.
        transform: Applied to a layer's output `[B, ...]` before it is flattened, such as a pooling.
        device: Where the activations are kept; where they were made if None.
        title: What the progress bar begins with.
        progress: Shows a progress bar on a terminal.

    Returns:
        For each layer, in the order in which they run, a tensor `[N, D]` of the type that the layer gave.

    Raises:
        ValueError: If a layer does not exist, never runs, runs more than once in one forward pass, or gives something
            whose first dimension is not the samples; if there are no samples.
        TypeError: If a layer gives no tensor.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> {name: tuple(x.shape) for name, x in layer_activations(model, torch.rand(5, 4), "all").items()}
        {'0': (5, 8), '1': (5, 8), '2': (5, 2)}
    """
    names = layer_names(model, layers)
    rows: dict[str, list[Tensor]] = {}
    runs: Counter[str] = Counter()
    num_samples = 0

    def record(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            runs[name] += 1
            if runs[name] == 1:
                copy = _rows(name, output, num_samples, transform).to(device=device, copy=True)
                rows.setdefault(name, []).append(copy)

        return hook

    total = -(-len(samples) // max(batch_size, 1)) if isinstance(samples, Tensor) else None
    home = next(model.parameters(), torch.empty(0)).device
    with torch.no_grad(), evaluation(model), _hooks(model, {name: record(name) for name in names}):
        source, shown = batches(samples, batch_size), not progress or None  # None: on a terminal only
        for x, _ in tqdm(source, f"{title} forward".strip(), total, leave=False, unit="batch", disable=shown):
            runs.clear()
            num_samples = len(x)
            model(x.to(home))
            _check_runs(model, names, runs)
    return {name: torch.cat(rows.pop(name)) for name in list(rows)}


def layer_groups(
    model: nn.Module,
    samples: Tensor,
    layers: str | Sequence[str] = "blocks",
    *,
    max_memory: int | str = "2GB",
    transform: Callable[[Tensor], Tensor] | None = None,
) -> list[list[str]]:
    """Splits layers into groups whose activations fit into memory together; two samples are run to learn their sizes.

    Args:
        model: Any module.
        samples: Tensor `[N, ...]`.
        layers: Names or patterns as in `layer_names`.
        max_memory: Size of a group's activations, in bytes or as `"500MB"`, `"2GB"`. A larger layer is a group.
        transform: As in `layer_activations`.

    Returns:
        Names in the order in which the layers run.

    Raises:
        ValueError: If `max_memory` is not a size, or as `layer_activations`.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> layer_groups(model, torch.rand(100, 4), "all", max_memory="4KB")
        [['0'], ['1', '2']]
    """
    free = limit = num_bytes(max_memory)
    groups: list[list[str]] = [[]]
    for name, rows in layer_activations(model, samples[:2], layers, transform=transform, progress=False).items():
        size = rows[0].nbytes * len(samples)
        if size > free and groups[-1]:
            groups.append([])
            free = limit
        groups[-1].append(name)
        free -= size
    return groups


def first_tensor(output: Any) -> Tensor | None:
    """Returns the tensor that stands for a layer's output, or None if there is none."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = [output["last_hidden_state"]] if "last_hidden_state" in output else list(output.values())
    if isinstance(output, Sequence):
        return next((item for item in output if isinstance(item, Tensor)), None)
    return None


def _rows(name: str, output: Any, num_samples: int, transform: Callable[[Tensor], Tensor] | None) -> Tensor:
    x = first_tensor(output)
    if x is None:
        raise TypeError(f"layer {name!r} gives {type(output).__name__}, which holds no tensor; name a layer inside it")
    x = transform(x) if transform else x
    if x.dim() == 0 or len(x) != num_samples:
        raise ValueError(
            f"layer {name!r} gives shape {list(x.shape)} for {num_samples} samples; the first dimension must be "
            "the samples: pass a transform that brings them to the front"
        )
    return x.detach().reshape(num_samples, -1)


def _check_runs(model: nn.Module, names: Sequence[str], runs: Counter[str]) -> None:
    for name in names:
        if runs[name] == 1:
            continue
        said = "never runs" if runs[name] == 0 else f"runs {runs[name]} times"
        others = (other for other, _ in model.named_modules() if other not in ("", name))
        raise ValueError(
            f"layer {name!r} {said} in one forward pass; name a layer that runs once: {nearest(name, others)}"
        )


def num_bytes(size: int | str) -> int:
    """Reads a size such as `"500MB"`.

    Raises:
        ValueError: If it is none.

    Example:
        >>> num_bytes("2GB"), num_bytes(100)
        (2000000000, 100)
    """
    found = re.fullmatch(r"(\d{1,20}(?:\.\d{1,20})?) ?([KMGT]?)B?", str(size).strip(), re.ASCII | re.IGNORECASE)
    if not found:
        raise ValueError(f"max_memory must be a number of bytes or a size such as '500MB' or '2GB'; got {size!r}")
    return int(float(found[1]) * 1000 ** " KMGT".index(found[2].upper() or " "))


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Puts a model into evaluation mode for a while; afterwards every module has its own mode again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _hooks(model: nn.Module, hooks: Mapping[str, Callable[[nn.Module, Any, Any], None]]) -> Iterator[None]:
    handles = [model.get_submodule(name).register_forward_hook(hook) for name, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
