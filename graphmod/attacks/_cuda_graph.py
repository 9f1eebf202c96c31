"""Passes over images of one shape, recorded once on a GPU and replayed as one launch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

MOST = 2**31  # bytes of what a pass keeps for the way back: with more a GPU is busy, and a recording holds on to them
SHARE = 1e-2  # by which logits and gradients may be off, of the largest: a GPU may round factors to TF32


def recorded_pass(model: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Returns logits and their gradients as two CUDA graphs; None where they cannot be, or are not worth it.

    What is returned is called and differentiated like the model, but only the latest call can be differentiated. The
    work of the GPU is repeated, other code of the model is not.

    Args:
        model: Gives logits `[N, C]`.
        x: Images `[N, ...]` on a GPU.

    Reference:
        https://docs.pytorch.org/docs/stable/notes/cuda.html, "Partial-network capture". The function that torch has for
        it empties the memory cache at either recording, which takes longer than ten steps of a small network.
    """
    given = x.detach().clone().requires_grad_()
    forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    try:
        with torch.cuda.device(x.device), _beside():
            start = torch.cuda.memory_allocated()
            expected = model(given)  # libraries make themselves ready
            if torch.cuda.memory_allocated() - start > MOST:
                return None
            ramp = torch.linspace(-1, 2, expected.numel(), dtype=x.dtype, device=x.device).view_as(expected)
            ahead = ramp.clone()
            (rise,) = torch.autograd.grad(expected, given, ahead)
            with _recording(forward):
                logits = model(given)
            with _recording(backward, forward.pool()):
                (slope,) = torch.autograd.grad(logits, given, ahead, retain_graph=True)  # or its place is used again
    except Exception:  # it waits for the GPU, or depends on what is in its images
        return None

    class Replay(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, images: Tensor) -> Tensor:
            with torch.cuda.device(given.device):
                given.copy_(images)
                forward.replay()
                return logits.detach().clone()

        @staticmethod
        def backward(_: Any, slopes: Tensor) -> Tensor:
            with torch.cuda.device(given.device):
                ahead.copy_(slopes)
                backward.replay()
                return slope.clone()

    def run(images: Tensor) -> Tensor:
        found: Tensor = Replay.apply(images)
        return found

    tried = x.detach().clone().requires_grad_()
    found = run(tried)
    rises = [torch.autograd.grad(found, tried, ramp, retain_graph=True)[0] for _ in range(2)]
    pairs = [(found.detach(), expected.detach()), *((one, rise) for one in rises)]
    fits = [((one - other).abs() <= SHARE * other.abs().amax()).all() for one, other in pairs]
    return run if bool(torch.stack(fits).all()) else None


@contextmanager
def _beside() -> Iterator[None]:
    """Another stream of the current GPU, as recording needs it."""
    here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
    beside.wait_stream(here)
    try:
        with torch.cuda.stream(beside):
            yield
    finally:
        here.wait_stream(beside)


@contextmanager
def _recording(graph: torch.cuda.CUDAGraph, pool: Any = None) -> Iterator[None]:
    graph.capture_begin(pool)
    try:
        yield
    finally:
        graph.capture_end()
