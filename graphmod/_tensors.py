"""Which tensors can be computed with, and how many rows of them at once."""

from typing import TypeGuard

import torch
from torch import Tensor

INTEGERS = {
    torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64,
}  # fmt: skip
CHUNK = 2**23
"""Numbers that are held at once: 64 MB of float64."""


def is_dense(x: object) -> TypeGuard[Tensor]:
    """Whether this is a tensor with a number at each place: not sparse, nested, quantized or without data.

    Example:
        >>> is_dense(torch.eye(2)), is_dense(torch.eye(2).to_sparse()), is_dense([1.0])
        (True, False, False)
    """
    return isinstance(x, Tensor) and x.layout == torch.strided and not (x.is_nested or x.is_meta or x.is_quantized)


def is_plain(x: object) -> bool:
    """Whether this is a dense tensor of floating numbers that can be compared, those of 16 bits or more."""
    return is_dense(x) and x.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def kind(x: object) -> str:
    """What to call a thing that is no plain tensor."""
    if not isinstance(x, Tensor):
        return type(x).__name__
    return str(x.dtype) if is_dense(x) else f"{x.dtype}, not dense"


def class_numbers(labels: object, number: int, each: str = "image") -> Tensor:
    """Returns labels as a tensor, int64 `[N]`.

    Args:
        labels: Integers, one for each of the samples.
        number: N.
        each: What a sample is called.

    Raises:
        TypeError: If they are not integers.
        ValueError: If there is not one for each sample.
    """
    labels = torch.as_tensor(labels)
    if not is_dense(labels) or labels.dtype not in INTEGERS:
        raise TypeError(f"labels must be integers, the numbers of the classes; got {kind(labels)}")
    if labels.shape != (number,):
        raise ValueError(f"labels must have shape [{number}], one for each {each}; got {list(labels.shape)}")
    return labels.long()


def check_classes(low: int, high: int, number: int) -> None:
    """Raises ValueError unless labels from `low` to `high` are in 0 … number − 1; others would end a GPU's process."""
    if low < 0 or high >= number:
        raise ValueError(f"labels must be numbers of {number} classes; got {low} to {high}")


def raw_bytes(x: Tensor) -> memoryview:
    """Returns the numbers of a tensor as they lie in memory, row by row, for a checksum."""
    data: memoryview = x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return data


def unit_rows(x: Tensor) -> Tensor:
    """Returns rows `[N, D]` of length 1 that point the same way, float64, however small or large; zeros stay zeros."""
    x = x.double()
    for length in (lambda x: x.abs().amax(dim=1, keepdim=True), lambda x: x.norm(dim=1, keepdim=True)):
        size = length(x)
        x = x / torch.where(size > 0, size, 1.0)
    return x


def has_bfloat16() -> bool:
    """Whether this CPU multiplies 16-bit numbers faster than 32-bit ones."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def in_chunks(number: int, width: int) -> tuple[Tensor, ...]:
    """Returns the numbers 0 … `number` − 1, int64, in parts for which rows of `width` numbers take `CHUNK` in all.

    Example:
        >>> [len(part) for part in in_chunks(5, CHUNK // 2)]
        [2, 2, 1]
    """
    return torch.arange(number).split(max(1, CHUNK // max(1, width)))
