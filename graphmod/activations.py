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
from ._layers import patterns, unwrapped
from ._names import nearest
from .inputs import Graphs, Inputs, Named, forward, one_row_each
from .pooling import Pool, check_pool, pool_rows, token_mask
from .samples import batches


def layer_activations(
    model: nn.Module,
    samples: Any,
    layers: str | Sequence[str] = "blocks",
    *,
    batch_size: int = 256,
    pool: Pool = "flatten",
    device: torch.device | str | None = None,
    title: str = "",
    progress: bool = True,
) -> dict[str, Tensor]:
    """Runs samples through a model and records what the layers give, one row a sample.

    The model runs in evaluation mode, without gradients, uncompiled, on the device and with the floating type of its
    parameters. Its mode is put back and every hook removed, also when an error ends the run. Each output is copied at
    the moment it is made, so that a later in-place operation does not change it. Of a tuple the first tensor is taken,
    of a dict or a Hugging Face output `last_hidden_state`, or else its first tensor.

    Args:
        model: Any module whose forward takes one batch of samples.
        samples: A tensor, tensors by name, a data set, a graph, or anything that yields batches, see
            `graphmod.samples.batches`.
        layers: Names or patterns as in `layer_names`. Of what a pattern selects, layers that never run are left out. A
            layer that runs several times in a forward pass, such as a shared ReLU or a recurrent cell, is as many
            layers: `relu@1`, `relu@2`, ...; each of them may be asked for.
        batch_size: Samples in one forward pass, where `samples` does not come in batches.
        pool: How a layer's output `[B, ...]` becomes a row: `"flatten"`, `"mean"`, `"cls"`, `"last"` or a function,
            see `graphmod.pooling.pool_rows`. Padding that an `attention_mask` tells of is left out.
        device: Where the activations are kept; where they were made if None.
        title: What the progress bar begins with.
        progress: Shows a progress bar on a terminal.

    Returns:
        For each layer, in the order in which they run, a tensor `[N, D]` of the type that the layer gave.

    Raises:
        ValueError: If a layer does not exist, never runs, runs more often or gives more numbers for one batch than for
            another, or gives something whose first dimension is not the samples; if there are no samples; if there is
            no such pooling.
        TypeError: If a layer gives no tensor; if the samples are not what the model takes.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> {name: tuple(x.shape) for name, x in layer_activations(model, torch.rand(5, 4), "all").items()}
        {'0': (5, 8), '1': (5, 8), '2': (5, 2)}
    """
    check_pool(pool)
    model = unwrapped(model)
    calls = _calls(model, layers)
    sized = isinstance(samples, Tensor | Named | Graphs)
    rows: dict[tuple[str, int], list[Tensor]] = {}
    runs: Counter[str] = Counter()
    seen: list[Counter[str]] = []
    x: Any = None
    done = 0

    def record(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            runs[name] += 1
            if (wanted := calls[name]) is None or runs[name] in wanted:
                row, kept = _rows(name, output, x, pool), rows.setdefault((name, runs[name]), [])
                if kept and row.shape[1:] != kept[0].shape[1:]:
                    raise ValueError(
                        f"layer {name!r} gives {kept[0].shape[1]} numbers a sample for one batch and {row.shape[1]} "
                        "for another; pool them, as by pool='mean'"
                    )
                if not sized:
                    kept.append(row.to(device=device, copy=True))
                    return
                if not kept:  # room for all samples at once, so that nothing is held twice
                    kept.append(row.new_empty(len(samples), *row.shape[1:], device=device or row.device))
                kept[0][done : done + len(row)] = row

        return hook

    total = -(-len(samples) // max(batch_size, 1)) if sized else None
    hooks = {name: record(name) for name in calls}
    with torch.no_grad(), evaluation(model), torch.compiler.set_stance("force_eager"), _hooks(model, hooks):
        source, shown = batches(samples, batch_size), not progress or None  # None: on a terminal only
        for x, _ in tqdm(source, f"{title} forward".strip(), total, leave=False, unit="batch", disable=shown):
            runs.clear()
            forward(model, x)
            seen.append(runs.copy())
            done += len(x)
    _check_runs(model, layers, calls, seen)
    often = {name: calls[name] is not None or max(one[name] for one in seen) > 1 for name in calls}
    whole = {f"{name}@{call}" if often[name] else name: rows.pop((name, call)) for name, call in list(rows)}
    return {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in whole.items()}


def layer_groups(
    model: nn.Module,
    samples: Inputs,
    layers: str | Sequence[str] = "blocks",
    *,
    max_memory: int | str = "2GB",
    pool: Pool = "flatten",
) -> list[list[str]]:
    """Splits layers into groups whose activations fit into memory together; two samples are run to learn their sizes.

    Args:
        model: Any module.
        samples: Tensor `[N, ...]`, or one of `graphmod.inputs`.
        layers: Names or patterns as in `layer_activations`.
        max_memory: Size of a group's activations, in bytes or as `"500MB"`, `"2GB"`. A larger layer is a group.
        pool: As in `layer_activations`.

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
    for name, rows in layer_activations(model, samples[:2], layers, pool=pool, progress=False).items():
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


def _rows(name: str, output: Any, samples: Any, pool: Pool) -> Tensor:
    x = first_tensor(output)
    if x is None:
        raise TypeError(f"layer {name!r} gives {type(output).__name__}, which holds no tensor; name a layer inside it")
    x = x.detach()
    if x.dim():
        x = pool_rows(one_row_each(samples, x), pool, token_mask(samples))
    if x.dim() == 0 or len(x) != len(samples):
        raise ValueError(
            f"layer {name!r} gives shape {list(x.shape)} for {len(samples)} samples; the first dimension must be "
            "the samples: pass a function as pool that brings them to the front"
        )
    return x


def _calls(model: nn.Module, layers: str | Sequence[str]) -> dict[str, set[int] | None]:
    """Which of its calls in a forward pass each layer is recorded at; None for all of them."""
    calls: dict[str, set[int] | None] = {}
    for pattern in patterns(layers):
        found = re.fullmatch(r"(.+)@(\d+)", pattern)
        for name in layer_names(model, found[1] if found else pattern):
            known = calls.get(name, set())
            calls[name] = known | {int(found[2])} if found and known is not None else None
    return calls


def _check_runs(
    model: nn.Module,
    layers: str | Sequence[str],
    calls: Mapping[str, set[int] | None],
    seen: Sequence[Counter[str]],
) -> None:
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
