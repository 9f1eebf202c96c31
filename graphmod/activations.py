"""What each layer of a network says about each sample: `Module, samples -> {layer: Tensor [N, D]}`.

Layers are recorded by forward hooks, so that any `torch.nn.Module` will do, traceable or not.
"""

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ._layers import LayerName, check_runs, layer_calls, unwrapped
from ._layers import layer_names as layer_names
from ._passes import EnoughError, Passes, hooked, plain_attention, watched
from .inputs import Graphs, Inputs, Named, first_tensor, forward, one_row_each
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
    max_memory: int | str | None = None,
    title: str = "",
    progress: bool = True,
) -> dict[str, Tensor]:
    """Runs samples through a model and records what the layers give, one row a sample.

    The model runs in evaluation mode, without gradients, uncompiled, on the device and with the floating type of its
    parameters; if `samples` is a tensor, every batch but the first stops after the last wanted layer. Its mode is put
    back and every hook removed, also when an error ends the run. Each output is copied at the moment it is made, so
    that a later in-place operation does not change it. Of a tuple the first tensor is taken, of a dict or a Hugging
    Face output `last_hidden_state`, or else its first tensor.

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
        max_memory: A layer that takes more, in bytes or as `"500MB"`, `"2GB"`, is kept in a temporary file, mapped
            into memory, unless it is kept on a GPU or the number of samples is not known. None: all are in memory.
        title: What the progress bar begins with.
        progress: Shows a progress bar on a terminal.

    Returns:
        For each layer, in the order in which they run, a tensor `[N, D]` of the type that the layer gave.

    Raises:
        ValueError: If a layer does not exist, never runs, runs more often or gives more numbers for one batch than for
            another, or gives something whose first dimension is not the samples; if there are no samples; if there is
            no such pooling, or `max_memory` is not a size.
        TypeError: If a layer gives no tensor; if the samples are not what the model takes.
        OSError: If there is no room for a temporary file.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> {name: tuple(x.shape) for name, x in layer_activations(model, torch.rand(5, 4), "all").items()}
        {'0': (5, 8), '1': (5, 8), '2': (5, 2)}
    """
    check_pool(pool)
    model = unwrapped(model)
    calls = layer_calls(model, layers)
    sized = isinstance(samples, Tensor | Named | Graphs)
    limit = None if max_memory is None else num_bytes(max_memory)
    rows: dict[tuple[str, int], list[Tensor]] = {}
    runs: Counter[str] = Counter()
    seen: list[Counter[str]] = []
    x: Any = None
    passes = Passes()
    done = 0

    def record(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            runs[name] += 1
            if (wanted := calls[name]) is None or runs[name] in wanted:
                passes.go_on()
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
                    kept.append(_room(name, row, len(samples), device, limit))
                kept[0][done : done + len(row)] = row

        return hook

    total = -(-len(samples) // max(batch_size, 1)) if sized else None
    hooks = {name: record(name) for name in calls}
    with watched(model), plain_attention(), hooked(model, passes.start, hooks):
        source, shown = batches(samples, batch_size), not progress or None  # None: on a terminal only
        for x, _ in tqdm(source, f"{title} forward".strip(), total, leave=False, unit="batch", disable=shown):
            runs.clear()
            passes.begin(isinstance(samples, Tensor))  # whose batches are of one shape
            with suppress(EnoughError):
                forward(model, x)
            seen.append(runs.copy())
            done += len(x)
    check_runs(model, layers, calls, seen)
    often = {name: calls[name] is not None or max(one[name] for one in seen) > 1 for name in calls}
    whole = {f"{name}@{call}" if often[name] else name: rows.pop((name, call)) for name, call in list(rows)}
    return {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in whole.items()}


def each_layer(
    model: nn.Module,
    samples: Inputs,
    layers: str | Sequence[str] = "blocks",
    *,
    max_memory: int | str = "2GB",
    pool: Pool = "flatten",
    **options: Any,
) -> Iterator[tuple[str, Tensor]]:
    """Yields layer after layer what `layer_activations` records, with only so much held at a time as fits.

    Layers that fit together are recorded together; every such group costs a forward pass up to its last layer.

    Args:
        model: Any module.
        samples: Tensor `[N, ...]`, or one of `graphmod.inputs`.
        layers: Names or patterns as in `layer_activations`.
        max_memory: How much is held at a time, in bytes or as `"500MB"`, `"2GB"`. A layer that takes more by itself is
            kept in a temporary file, mapped into memory; on a GPU it is held whole.
        pool: As in `layer_activations`.
        **options: Passed on to `layer_activations`.

    Yields:
        Names and tensors `[N, D]`, in the order in which the layers run.

    Raises:
        ValueError, TypeError, OSError: As `layer_activations`.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> [name for name, rows in each_layer(model, torch.rand(100, 4), "all", max_memory="4KB")]
        ['0', '1', '2']
    """
    for group in groups_that_fit(layer_sizes(model, samples, layers, pool=pool), max_memory):
        found = layer_activations(model, samples, group, pool=pool, max_memory=max_memory, **options)
        for name in group:
            yield str(name), found.pop(name)


def layer_sizes(
    model: nn.Module, samples: Inputs, layers: str | Sequence[str] = "blocks", *, pool: Pool = "flatten"
) -> dict[str, int]:
    """Says how many bytes each layer's activations take, in the order in which the layers run; two samples are run.

    The names may be given as `layers` again, whatever the layers are called.

    Args:
        model: Any module.
        samples: Tensor `[N, ...]`, or one of `graphmod.inputs`.
        layers: Names or patterns as in `layer_activations`.
        pool: As in `layer_activations`.

    Raises:
        ValueError, TypeError: As `layer_activations`.

    Example:
        >>> layer_sizes(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.rand(100, 4), "all")
        {'0': 3200, '1': 3200}
    """
    few = layer_activations(model, samples[:2], layers, pool=pool, progress=False)
    return {LayerName(name): rows[0].nbytes * len(samples) for name, rows in few.items()}


def groups_that_fit(sizes: Mapping[str, int], max_memory: int | str) -> list[list[str]]:
    """Splits layers, in their order, into groups that take no more than that together; one that takes more is alone.

    Args:
        sizes: What each layer takes, in bytes.
        max_memory: As in `each_layer`.

    Example:
        >>> groups_that_fit({"conv1": 3, "conv2": 2, "fc": 9}, 5)
        [['conv1', 'conv2'], ['fc']]
    """
    free = limit = num_bytes(max_memory)
    groups: list[list[str]] = []
    for name, size in sizes.items():
        if size > free or not groups:
            groups.append([])
            free = limit
        groups[-1].append(name)
        free -= size
    return groups


def _rows(name: str, output: Any, samples: Any, pool: Pool) -> Tensor:
    x = first_tensor(output)
    if x is None:
        raise TypeError(f"layer {name!r} gives {type(output).__name__}, which holds no tensor; name a layer inside it")
    x = x.detach().dequantize() if x.is_quantized else x.detach()
    if x.dim():
        x = pool_rows(one_row_each(samples, x), pool, token_mask(samples, name))
    if x.dim() == 0 or len(x) != len(samples):
        raise ValueError(
            f"layer {name!r} gives shape {list(x.shape)} for {len(samples)} samples; the first dimension must be "
            "the samples: pass a function as pool that brings them to the front"
        )
    return x


def _room(name: str, row: Tensor, num_rows: int, device: torch.device | str | None, limit: int | None) -> Tensor:
    """An empty tensor `[num_rows, D]` for rows such as these; in a temporary file if it takes more than the limit."""
    home, shape = torch.device(device or row.device), (num_rows, *row.shape[1:])
    size = row[0].nbytes * num_rows
    if limit is None or size <= limit or home.type != "cpu":
        return row.new_empty(shape, device=home)
    place = tempfile.gettempdir()
    if size > (free := shutil.disk_usage(place).free):
        raise OSError(
            f"layer {name!r} takes {size / 1e9:.1f} GB, more than max_memory, and {place} has {free / 1e9:.1f} GB "
            "free; take fewer samples, pool, or set TMPDIR to a folder with room"
        )
    with tempfile.TemporaryFile() as file:  # it goes when the mapping does
        return torch.from_numpy(np.memmap(file, np.uint8, "w+", shape=size)).view(row.dtype).view(shape)


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
