"""Passes over images of one shape, recorded once on a GPU and replayed as one launch."""

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

MOST = 2**31  # bytes of what a pass keeps for the way back: with more a GPU is busy, and a recording holds on to them
SHARE = 1e-2  # by which logits and gradients may be off, of the largest: a GPU may round factors to TF32


def recorded_pass(model: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Returns logits and their gradients as two CUDA graphs; None where they cannot be, or are not worth it.

    What is returned is called and differentiated like the model, but only the latest call can be differentiated. The
    work of the GPU is repeated, other code of the model is not. Random numbers are drawn beside the GPU's own
    generator, which stays as it is.

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
        with torch.cuda.device(x.device), _beside(), _other_randomness():
            start = torch.cuda.memory_allocated()
            with _waiting_refused():  # a recording in which something waits for the GPU would fail
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
    run = partial(_Replay.apply, _Recorded(forward, backward, given, logits, ahead, slope))
    tried = x.detach().clone().requires_grad_()
    found = run(tried)
    rises = [torch.autograd.grad(found, tried, ramp, retain_graph=True)[0] for _ in range(2)]
    pairs = [(found.detach(), expected.detach()), *((one, rise) for one in rises)]
    fits = [((one - other).abs() <= SHARE * other.abs().amax()).all() for one, other in pairs]
    return run if bool(torch.stack(fits).all()) else None


@dataclass(frozen=True, eq=False)
class _Recorded:
    """Two CUDA graphs, from images to logits and from `ahead`, the loss by the logits, to `slope`, by the images."""

    forward: torch.cuda.CUDAGraph
    backward: torch.cuda.CUDAGraph
    images: Tensor
    logits: Tensor
    ahead: Tensor
    slope: Tensor


class _Replay(torch.autograd.Function):
    """One class for all: a class of each recording would be left to the garbage collector, and the graphs with it."""

    @staticmethod
    def forward(context: Any, recorded: _Recorded, images: Tensor) -> Tensor:
        context.recorded = recorded
        with torch.cuda.device(images.device):
            recorded.images.detach().copy_(images)
            recorded.forward.replay()
            return recorded.logits.detach().clone()

    @staticmethod
    def backward(context: Any, ahead: Tensor) -> tuple[None, Tensor]:
        recorded = context.recorded
        with torch.cuda.device(ahead.device):
            recorded.ahead.copy_(ahead)
            recorded.backward.replay()
            return None, recorded.slope.clone()


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
def _other_randomness() -> Iterator[None]:
    """A copy in place of the current GPU's generator, which after a recording that fails draws no more numbers."""
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    own = generator.graphsafe_get_state()
    generator.graphsafe_set_state(generator.clone_state())
    try:
        yield
    finally:
        generator.graphsafe_set_state(own)


@contextmanager
def _waiting_refused() -> Iterator[None]:
    """Lets torch raise an error where a CPU waits for the GPU."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype feature")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _recording(graph: torch.cuda.CUDAGraph, pool: Any = None) -> Iterator[None]:
    """Records what the current stream is given. An older graph that was collected meanwhile would end the recording."""
    collects = gc.isenabled()
    gc.disable()
    try:
        graph.capture_begin(pool)
        try:
            yield
        finally:
            graph.capture_end()
    finally:
        if collects:
            gc.enable()
