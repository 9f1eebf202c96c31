"""Several processes at one study: `torchrun --nproc-per-node 2 -m analyses.modularity_curve`.

Every process knows the whole result. What takes time is shared out: each runs its part of the samples through the
network, and takes its part of the products between them. A process alone is a world of one, in which all of this does
nothing.
"""

import itertools
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import torch
import torch.distributed as dist
from torch import Tensor

_SHARING: ContextVar[bool] = ContextVar("processes share their work", default=False)


@contextmanager
def shared_work() -> Iterator[None]:
    """Lets the processes of `torch.distributed` share the work within; all of them must do the same within, in order.

    Raises:
        RuntimeError: If `torch.distributed` has not been initialised.
    """
    if not dist.is_initialized():
        raise RuntimeError("shared_work needs processes: run under torchrun, and call init_process_group first")
    token = _SHARING.set(True)
    try:
        yield
    finally:
        _SHARING.reset(token)


@contextmanager
def processes_of_torchrun() -> Iterator[None]:
    """Joins the processes that torchrun started, if it did, and shares the work; only the first one says anything."""
    if not under_torchrun():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    before = sys.stdout, sys.stderr
    try:
        with Path(os.devnull).open("w") as nowhere, shared_work():
            if dist.get_rank():
                sys.stdout, sys.stderr = nowhere, _NoTerminal(sys.stderr)
            yield
        dist.destroy_process_group()  # not after an error: the others are waiting, and end when this process does
    except RuntimeError as error:
        if not re.search(r"gloo|nccl|peer|socket", str(error), re.IGNORECASE):
            raise
        ended = ConnectionError("another process of this run has ended")
        for note in getattr(error, "__notes__", []):
            ended.add_note(note)
        raise ended from error
    finally:
        sys.stdout, sys.stderr = before


def under_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def world() -> tuple[int, int]:
    """Returns the number of this process and of all that share the work: (0, 1) for one alone.

    Example:
        >>> world()
        (0, 1)
    """
    return (dist.get_rank(), dist.get_world_size()) if _SHARING.get() else (0, 1)


def own_rows(num_rows: int) -> slice:
    """Returns which rows are this process's: contiguous, none twice, as equal in number as can be.

    Raises:
        ValueError: If there are fewer rows than processes.

    Example:
        >>> own_rows(5)
        slice(0, 5, None)
    """
    rank, size = world()
    if num_rows < size:
        raise ValueError(f"{num_rows} samples cannot be shared out to {size} processes; start fewer of them")
    return slice(*_bounds(num_rows)[rank : rank + 2])


def all_rows(own: Tensor, num_rows: int) -> Tensor:
    """Puts the processes' own rows `[·, ...]` together to all rows `[num_rows, ...]`."""
    rank, size = world()
    if size == 1:
        return own
    whole, bounds = own.new_empty(num_rows, *own.shape[1:]), _bounds(num_rows)
    whole[bounds[rank] : bounds[rank + 1]] = own
    bits = whole.view(num_rows, -1).view(torch.uint8)  # gloo does not know every type
    parts = [bits[start:end] for start, end in itertools.pairwise(bounds)]
    _exchange(parts)
    return whole


def all_parts(own: Tensor) -> Tensor:
    """Puts the processes' vectors, of any lengths, one behind the other."""
    rank, size = world()
    if size == 1:
        return own
    lengths = torch.zeros(size, dtype=torch.int64, device=own.device)
    lengths[rank] = len(own)
    dist.all_reduce(lengths)
    parts = [own if source == rank else own.new_empty(length) for source, length in enumerate(lengths.tolist())]
    _exchange(parts)
    return torch.cat(parts)


def maximum_of_all(own: Tensor) -> Tensor:
    """Takes the largest of the processes' tensors at each place, in place."""
    if world()[1] > 1:
        dist.all_reduce(own, dist.ReduceOp.MAX)
    return own


def agreed(value: Any) -> Any:
    """Returns the first process's value, in all of them."""
    if world()[1] == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, 0)
    return box[0]


def _exchange(parts: list[Tensor]) -> None:
    """Fills each part by that of its process, all at the same time."""
    for work in [dist.broadcast(part, source, async_op=True) for source, part in enumerate(parts)]:
        if work is not None:  # as for a process outside a group
            work.wait()


def _bounds(num_rows: int) -> list[int]:
    size = world()[1]
    return [num_rows * rank // size for rank in range(size + 1)]


class _NoTerminal:
    """A stream that no progress bar draws on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
