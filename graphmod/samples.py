"""Samples, in whatever form they come: batches of them, tensors of them, disjoint draws of them."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeGuard

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

Order = Literal["file", "stratified"]

INTEGERS = {
    torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64,
}  # fmt: skip


def is_dense(x: object) -> TypeGuard[Tensor]:
    """Whether this is a tensor with a number at each place: not sparse, nested, quantized or without data.

    Example:
        >>> is_dense(torch.eye(2)), is_dense(torch.eye(2).to_sparse()), is_dense([1.0])
        (True, False, False)
    """
    return isinstance(x, Tensor) and x.layout == torch.strided and not (x.is_nested or x.is_meta or x.is_quantized)


def batches(samples: Any, batch_size: int = 256) -> Iterator[tuple[Tensor, Any]]:
    """Yields batches `(x, y)` of anything that holds samples; y is None where there are no labels.

    Args:
        samples: Tensor `[N, ...]`, a map-style data set of `(x, y)`, or anything that yields batches `x` or `(x, y)`.
        batch_size: Samples in a batch, where `samples` does not come in batches.

    Raises:
        TypeError: If a batch holds no tensor.
        ValueError: If there are no samples.

    Example:
        >>> [x.tolist() for x, _ in batches(torch.arange(3), batch_size=2)]
        [[0, 1], [2]]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    if not isinstance(samples, Iterable | Dataset):
        raise TypeError(f"samples must be a tensor, a data set or yield batches; got {type(samples).__name__}")
    source: Any = samples
    if isinstance(samples, Tensor):
        source = samples.split(batch_size)
    elif isinstance(samples, Dataset):
        source = DataLoader(samples, batch_size=batch_size)
    empty = True
    for batch in source:
        x, y = (*batch, None)[:2] if isinstance(batch, tuple | list) else (batch, None)
        if not isinstance(x, Tensor):
            raise TypeError(f"samples must be a tensor or yield tensors x or pairs (x, y); got {type(x).__name__}")
        if len(x):
            empty = False
            yield x, y
    if empty:
        raise ValueError("samples must hold at least one sample; got none")


def collect(samples: Any, labels: Any = None, *, num_samples: int | None = None) -> tuple[Tensor, Tensor]:
    """Makes one tensor of samples and one of labels, in the order in which they come.

    Args:
        samples: Tensor `[N, ...]`, a map-style data set of `(x, y)`, or anything that yields batches `x` or `(x, y)`.
        labels: Integers `[N]`; those that come with the samples if None.
        num_samples: Stops after so many; reads all if None.

    Returns:
        Samples `[N, ...]` and labels, int64 `[N]`.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If there are no labels, or they are of another length, negative, or all the same.

    Example:
        >>> x, y = collect([(torch.rand(2, 4), torch.tensor([0, 1])), (torch.rand(2, 4), torch.tensor([1, 0]))])
        >>> x.shape, y
        (torch.Size([4, 4]), tensor([0, 1, 1, 0]))
    """
    xs: list[Tensor] = []
    ys: list[Any] = []
    for x, y in batches(samples):
        xs.append(x)
        ys.append(y)
        if num_samples is not None and sum(map(len, xs)) >= num_samples:
            break
    x = torch.cat(xs)[:num_samples]
    if labels is None and any(y is None for y in ys):
        raise ValueError("there are no labels: pass labels, or samples that yield pairs (x, y)")
    try:
        y = torch.cat([torch.as_tensor(part) for part in ys]) if labels is None else torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"labels must be integers, the numbers of the classes: {error}") from error
    if not is_dense(y):
        raise TypeError("labels must be integers, the numbers of the classes; got a tensor that is not dense")
    y = y[:num_samples] if y.dim() else y
    if y.dtype not in INTEGERS:
        raise TypeError(f"labels must be integers, the numbers of the classes; got {y.dtype}")
    if y.shape != (len(x),):
        raise ValueError(f"labels must have shape [{len(x)}], one for each sample; got {list(y.shape)}")
    y = y.long()
    if len(y) and y.min() < 0:
        raise ValueError(f"labels must be at least 0; got {int(y.min())}: leave unlabelled samples out")
    if len(y.unique()) < 2:
        raise ValueError(f"labels must name at least two classes; all {len(y)} samples have the same")
    return x, y


def draw(
    labels: Tensor, num_samples: int, repeats: int = 1, *, order: Order = "stratified", seed: int = 0
) -> list[Tensor]:
    """Draws disjoint subsets of equal size.

    Args:
        labels: Int64 `[N]`.
        num_samples: Size of each subset.
        repeats: Number of subsets.
        order: `"file"`: the first `num_samples`, the next ones, and so on; `"stratified"`: at random, with as many of
            each class as its share in `labels`, to within one.
        seed: Seed of the random draw.

    Returns:
        Row numbers, int64 `[num_samples]` for each subset.

    Raises:
        ValueError: If there are not enough samples.

    Example:
        >>> [subset.tolist() for subset in draw(torch.tensor([0, 1, 0, 1]), 2, 2, order="file")]
        [[0, 1], [2, 3]]
    """
    if num_samples < 1 or repeats < 1:
        raise ValueError(f"num_samples and repeats must be at least 1; got {num_samples} and {repeats}")
    if num_samples * repeats > len(labels):
        raise ValueError(
            f"{repeats} x {num_samples} samples were asked for, there are {len(labels)}; lower num_samples or repeats"
        )
    if order == "file":
        ranks = torch.arange(len(labels))
    elif order == "stratified":
        ranks = interleaved(labels.cpu(), seed)
    else:
        raise ValueError(f"order must be 'file' or 'stratified'; got {order!r}")
    return list(ranks[: num_samples * repeats].split(num_samples))


def others(rows: Tensor, num_samples: int) -> Tensor:
    """Returns the row numbers that are not among some, in order: the samples that a draw has left.

    Args:
        rows: Row numbers, int64.
        num_samples: Number of all rows.

    Example:
        >>> others(torch.tensor([3, 1]), 5).tolist()
        [0, 2, 4]
    """
    left = torch.ones(num_samples, dtype=torch.bool)
    left[rows.cpu()] = False
    return left.nonzero().flatten()


def interleaved(labels: Tensor, seed: int = 0) -> Tensor:
    """Returns the row numbers in a random order of which every stretch holds each class in its share.

    Member j of the n samples of a class, in a random order, is put at place (j + ½) / n.

    Args:
        labels: Int64 `[N]`.
        seed: Seed of the random order.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    position = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = shuffled[labels[shuffled] == label]
        position[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    return shuffled[position[shuffled].sort(stable=True).indices]
