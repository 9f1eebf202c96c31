"""Samples, in whatever form they come: batches of them, tensors of them, disjoint draws of them."""

from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, SequentialSampler, Subset
from torch_geometric.data import Batch, Data
from torch_geometric.data import Dataset as GraphDataset
from torch_geometric.loader import DataLoader as GraphLoader

from ._draws import Order as Order
from ._draws import draw as draw
from ._draws import evenly as evenly
from ._draws import interleaved as interleaved
from ._draws import others as others
from ._tensors import INTEGERS, class_numbers, is_dense
from .inputs import Graphs, Named, Nodes, join, pixels

LABELS = ("labels", "label", "y", "target", "targets")
"""The names that labels have in batches of named tensors."""


def batches(samples: Any, batch_size: int = 256) -> Iterator[tuple[Any, Any]]:
    """Yields batches `(x, y)` of anything that holds samples; y is None where there are no labels.

    Args:
        samples: One of the following; images of bytes become numbers in [0, 1].

            - a tensor or array `[N, ...]`, or several by name (a tokenizer's output); a tuple of these and labels;
            - a map-style data set, of torch or of Hugging Face;
            - anything that yields batches `x`, `(x, y)`, or tensors by name with the labels under `labels`, `label`,
              `y` or `target`, such as a `DataLoader`;
            - a graph of torch_geometric, whose nodes are the samples, or part of them (`graphmod.inputs.Nodes`); a list
              of graphs or their `DataLoader`, whose graphs are.
        batch_size: Samples in a batch, where `samples` does not come in batches.

    Yields:
        Samples as a tensor `[B, ...]` or as one of `graphmod.inputs`, and labels.

    Raises:
        TypeError: If a batch holds no tensor.
        ValueError: If there are no samples.

    Example:
        >>> [x.tolist() for x, _ in batches(torch.arange(3), batch_size=2)]
        [[0, 1], [2]]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    empty = True
    for batch in _source(samples, batch_size):
        x, y = _pair(batch)
        if len(x):
            empty = False
            yield x, y
    if empty:
        raise ValueError("samples must hold at least one sample; got none")


def _source(samples: Any, batch_size: int) -> Iterable[Any]:
    """Batches, of whatever kind they are."""
    if isinstance(samples, np.ndarray):
        samples = torch.as_tensor(samples)
    if isinstance(samples, Mapping) or _is_labelled(samples):
        x, y = _pair(samples)
        if y is not None and len(y) != len(x):
            raise ValueError(f"labels must have shape [{len(x)}], one for each sample; got [{len(y)}]")
        return [(x[start : start + batch_size], None if y is None else y[start : start + batch_size])
                for start in range(0, len(x), batch_size)]  # fmt: skip
    if isinstance(samples, Data):
        return [samples]
    if isinstance(samples, Tensor | Named | Graphs | Nodes):
        size = len(samples) if isinstance(samples, Nodes) else batch_size  # a whole graph runs at once
        return (samples[start : start + size] for start in range(0, len(samples), size))
    own = torch.Generator()  # a loader draws a number whenever it is read
    if hasattr(samples, "with_format"):  # Hugging Face; a stream of theirs does not say its format
        plain = getattr(samples, "format", {"type": None})["type"] in (None, "python")
        return DataLoader(samples.with_format("torch") if plain else samples, batch_size, generator=own)
    if _holds_graphs(samples):
        return GraphLoader(samples, batch_size, generator=own)
    if isinstance(samples, Dataset):
        return DataLoader(samples, batch_size, generator=own)
    if not isinstance(samples, Iterable) or isinstance(samples, str | bytes):
        raise TypeError(f"samples must be a tensor, a data set or yield batches; got {type(samples).__name__}")
    return samples


def _holds_graphs(samples: Any) -> bool:
    """Whether this is a list or data set of graphs, or a part of one."""
    while isinstance(samples, Subset | ConcatDataset):
        samples = samples.dataset if isinstance(samples, Subset) else samples.datasets[0]
    some = isinstance(samples, list | tuple) and bool(samples)
    return isinstance(samples, GraphDataset) or (some and isinstance(samples[0], Data))


def _pair(batch: Any) -> tuple[Any, Any]:
    """Samples and labels of a batch."""
    if isinstance(batch, Batch):
        return Graphs(batch.to_data_list()), batch.y
    if isinstance(batch, Data | Nodes):
        nodes = batch if isinstance(batch, Nodes) else Nodes(batch)
        return nodes, None if nodes.data.y is None else nodes.data.y[nodes.rows]
    if isinstance(batch, Graphs):
        known = all(graph.y is not None for graph in batch.graphs)
        return batch, torch.cat([torch.as_tensor(graph.y).reshape(-1) for graph in batch.graphs]) if known else None
    parts = batch if isinstance(batch, tuple | list) else (batch,)
    if len(parts) > 2:
        raise TypeError(f"samples must come as x or (x, y); got {len(parts)} parts, of which any may be the labels")
    x, y = (*parts, None)[:2]
    if isinstance(x, Mapping):
        label = next((name for name in LABELS if name in x), None)
        y = x[label] if y is None and label is not None else y
        tensors = {name: torch.as_tensor(value) for name, value in x.items() if _is_array(value) and name != label}
        images = {name: pixels(one) for name, one in tensors.items() if one.dim() > 2}  # a mask has two
        return Named(tensors | images), y
    if isinstance(x, Named):
        return x, y
    if not isinstance(x, Tensor | np.ndarray):
        raise TypeError(
            f"samples must be a tensor or yield tensors x, pairs (x, y) or tensors by name; got {type(x).__name__}"
        )
    if isinstance(y, int) or (_is_array(y) and y.ndim == 0):
        raise TypeError(
            "samples must come in batches; wrap single ones (x, y) as in DataLoader(samples, batch_size=256)"
        )
    return pixels(torch.as_tensor(x)), y


def _is_labelled(samples: Any) -> bool:
    """Whether this is a tuple of samples and their labels, and not one of two batches, as `split` gives."""
    if not isinstance(samples, tuple) or len(samples) != 2 or isinstance(samples[0], tuple | list):
        return False
    return (isinstance(samples[0], Mapping | Named) or np.ndim(samples[0]) > 1) and np.ndim(samples[1]) == 1


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def collect(samples: Any, labels: Any = None, *, num_samples: int | None = None) -> tuple[Tensor, Tensor]:
    """Makes one tensor of samples and one of labels, in the order in which they come.

    Args:
        samples: As in `batches`.
        labels: Integers `[N]`; those that come with the samples if None.
        num_samples: How many are read; all if None.

    Returns:
        Samples `[N, ...]` and labels, int64 `[N]`.

    Raises:
        TypeError: If labels are not integers, or samples are of several tensors or graphs.
        ValueError: If there are no labels, or they are of another length, negative, or all the same, or passed beside a
            loader that shuffles.

    Example:
        >>> x, y = collect([(torch.rand(2, 4), torch.tensor([0, 1])), (torch.rand(2, 4), torch.tensor([1, 0]))])
        >>> x.shape, y
        (torch.Size([4, 4]), tensor([0, 1, 1, 0]))
    """
    x, y = collect_inputs(samples, labels, num_samples=num_samples)
    if isinstance(x, Named) and len(x.tensors) == 1:
        x = next(iter(x.tensors.values()))
    if not isinstance(x, Tensor):
        raise TypeError(f"samples must be one tensor [N, ...] here; got {type(x).__name__.lower()}")
    return x, y


def collect_inputs(samples: Any, labels: Any = None, *, num_samples: int | None = None) -> tuple[Any, Tensor]:
    """Collects samples of any kind, and their labels.

    Args:
        samples: As in `batches`.
        labels: As in `collect`.
        num_samples: As in `collect`.

    Returns:
        The samples, a tensor `[N, ...]` or one of `graphmod.inputs`, and labels, int64 `[N]`.

    Raises:
        TypeError, ValueError: As `collect`.
    """
    if labels is not None and isinstance(samples, DataLoader) and not _in_order(samples):
        raise ValueError(
            "labels were passed beside a loader that gives its samples in another order; let it yield (x, y)"
        )
    xs: list[Any] = []
    ys: list[Any] = []
    whole = isinstance(samples, Tensor | np.ndarray | Mapping | Named | Graphs)  # and so not copied
    for x, y in batches(samples, 2**40 if whole or _is_labelled(samples) else 256):
        xs.append(x)
        ys.append(y)
        if num_samples is not None and sum(map(len, xs)) >= num_samples:
            break
    x = join(xs)[:num_samples]
    if labels is None and any(y is None for y in ys):
        raise ValueError("there are no labels: pass labels, or samples that yield pairs (x, y)")
    try:
        y = torch.cat([_as_tensor(part) for part in ys]) if labels is None else _as_tensor(labels)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        hint = "numpy.unique(names, return_inverse=True)[1] numbers classes that have names"
        raise TypeError(f"labels must be integers, the numbers of the classes; {hint}: {error}") from error
    y = class_numbers(y[:num_samples] if is_dense(y) and y.dim() else y, len(x), "sample")
    if len(y) and y.min() < 0:
        raise ValueError(f"labels must be at least 0; got {int(y.min())}: leave unlabelled samples out")
    if len(y.unique()) < 2:
        raise ValueError(f"labels must name at least two classes; all {len(y)} samples have the same")
    return x, y


def _as_tensor(labels: Any) -> Tensor:
    """Labels of any kind, also of pandas, as a tensor."""
    return labels if isinstance(labels, Tensor) else torch.as_tensor(np.array(labels))


def _in_order(loader: DataLoader[Any]) -> bool:
    """Whether a loader is known to yield its samples as they stand."""
    by_batch = loader.batch_sampler
    return isinstance(loader.sampler if by_batch is None else getattr(by_batch, "sampler", None), SequentialSampler)


def collect_draws(
    samples: Any,
    labels: Any = None,
    num_samples: int | None = None,
    repeats: int = 1,
    *,
    order: Order = "stratified",
    seed: int = 0,
) -> tuple[Any, Tensor, list[Tensor]]:
    """Collects samples for disjoint draws, and reads no more of them than are drawn where that can be known before.

    It can in file order, and of a map-style data set whose labels are passed, or listed in its `targets`.

    Args:
        samples: As in `batches`.
        labels: As in `collect`.
        num_samples: Size of each draw; an equal part of all samples if None.
        repeats: Number of draws.
        order: As in `draw`.
        seed: Seed of the draws.

    Returns:
        Samples and labels as `collect_inputs` gives, and the rows of each draw.

    Raises:
        TypeError, ValueError: As `collect` and `draw`.
    """
    needed = None if num_samples is None else num_samples * repeats
    known = _known_labels(samples, labels)
    if order == "stratified" and num_samples and known is not None and 0 < num_samples * repeats <= len(known):
        rows = torch.cat(draw(known, num_samples, repeats, seed=seed))
        samples, labels, order = Subset(samples, rows.tolist()), None if labels is None else known[rows], "file"
    x, y = collect_inputs(samples, labels, num_samples=needed if order == "file" else None)
    each = len(y) // max(repeats, 1) if num_samples is None else num_samples
    return x, y, draw(y, each, repeats, order=order, seed=seed)


def _known_labels(samples: Any, labels: Any) -> Tensor | None:
    """The labels of a map-style data set, if they can be told without reading it."""
    if not isinstance(samples, Dataset) or isinstance(samples, IterableDataset | GraphDataset):
        return None
    known = getattr(samples, "targets", None) if labels is None else labels
    if known is None or (labels is None and getattr(samples, "target_transform", None)):
        return None
    with suppress(TypeError, ValueError, RuntimeError):  # what is wrong with them is said when they are collected
        y = torch.as_tensor(known)
        return y if y.dtype in INTEGERS and y.shape == (len(cast("Sized", samples)),) else None
    return None
