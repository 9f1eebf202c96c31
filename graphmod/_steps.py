"""A step of a training: forward passes, loss and gradients of one batch; on a GPU, recorded once and replayed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._tensors import check_classes
from .inputs import forward, output_tensor

Precision = Literal["float32", "bfloat16"]
Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes images and labels to the loss and the number of them that are recognised, and leaves gradients behind."""


def step_of(
    model: nn.Module,
    teacher: nn.Module | None,
    classes: tuple[int, int],
    *,
    teacher_weight: float,
    temperature: float,
    precision: Precision,
) -> Step:
    """Returns the step of a model that learns labels, and the outputs of a teacher if there is one.

    Args:
        model: Is left with gradients.
        teacher: Another model, or None.
        classes: The smallest and the largest label that may come.
        teacher_weight: As in `graphmod.training.train`.
        temperature: As there.
        precision: As there.
    """

    def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = _logits(model, x, precision)
        check_classes(*classes, logits.shape[1])
        loss = F.cross_entropy(logits, y)
        if teacher is not None:
            with torch.no_grad():
                wanted = _logits(teacher, x, precision)
            loss = (1 - teacher_weight) * loss + teacher_weight * _distillation(logits, wanted, temperature)
        loss.backward()
        return loss.detach(), (logits.argmax(1) == y).sum()

    return step


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's own generators of the CPU and of a GPU for a while; afterwards they are as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.default_generators[device.index].manual_seed(seed)
        yield


def recorded_step(step: Step, model: nn.Module, x: Tensor, y: Tensor) -> Step:
    """Returns the same step for batches of the shape of `x` and `y`, as a CUDA graph, which has no kernels to launch.

    It is recorded and replayed on the GPU of `x`, which need not be the current one.
    Its gradients lie where they lay when it was recorded: a replay replaces them; between replays they may be zeroed in
    place, but not be taken away.

    Reference:
        https://docs.pytorch.org/docs/stable/notes/cuda.html, "Whole-network capture".
    """
    given = x.clone(), y.clone()
    statistics = [(buffer, buffer.clone()) for buffer in model.buffers()]
    search, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True  # for the fastest kernels
    try:
        with torch.cuda.device(x.device):
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.random.fork_rng([x.device]), torch.cuda.stream(beside):  # libraries make themselves ready
                for _ in range(3):
                    model.zero_grad(set_to_none=True)
                    step(*given)
            torch.cuda.current_stream().wait_stream(beside)
            model.zero_grad(set_to_none=True)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=beside):  # torch's own stream is of the first GPU that it records on
                found = step(*given)
    finally:
        torch.backends.cudnn.benchmark = search
        for buffer, before in statistics:
            buffer.copy_(before)

    def replay(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        for place, value in zip(given, (x, y), strict=True):
            place.copy_(value)
        with torch.cuda.device(x.device):
            graph.replay()
        return found[0].clone(), found[1].clone()

    return replay


def _logits(model: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        logits = output_tensor(forward(model, images))
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _distillation(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(wanted / T) ‖ softmax(logits / T)), the mean over the samples."""
    if wanted.shape != logits.shape:
        raise ValueError(f"the teacher must give logits {list(logits.shape)}, as the model; got {list(wanted.shape)}")
    soft, target = (F.log_softmax(one / temperature, dim=1) for one in (logits, wanted))
    return temperature**2 * F.kl_div(soft, target, reduction="batchmean", log_target=True)
