"""Training and fine-tuning, as a generator of epochs that can be stopped and taken up again."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import mul
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from tqdm.auto import tqdm

from ._augmentation import augmented
from ._checkpoints import fingerprint, resume
from ._files import atomic_file
from ._passes import copied
from ._steps import Precision, recorded_step, seeded, step_of
from ._tensors import class_numbers
from .inputs import pixels, predictions

Labelled = tuple[Tensor, Tensor]
"""Images `[N, ...]` and their labels, integers `[N]`."""


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 0.1,
    milestones: Sequence[int] = (),
    warmup: int = 0,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    augment: int = 0,
    flip: bool = False,
    teacher: nn.Module | None = None,
    teacher_weight: float = 0.5,
    temperature: float = 4.0,
    precision: Precision = "float32",
    channels_last: bool = False,
    cuda_graph: bool = False,
    held_out: Labelled | None = None,
    test: Labelled | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Iterator[dict[str, float]]:
    """Trains a model with SGD and Nesterov momentum, one epoch for each value that is taken.

    The model is changed in place and is in evaluation mode whenever a value comes out, so that it can be measured
    between epochs. With a checkpoint a run that was stopped goes on after its last full epoch and ends with the
    weights that it would have had (on a GPU, but for the order of its sums); the epochs already done come out again,
    without work. What the model draws from torch's own generators, as dropout does, is seeded for each epoch, and the
    generators are left as they were.

    With a teacher, such as the network that the model was pruned from, an image with logits z, and t from the teacher,
    has the loss

        (1 − α) CE(z, label) + α T² KL(softmax(t / T) ‖ softmax(z / T))     α: teacher_weight, T: temperature

    An honest best epoch is chosen on images that neither train nor test: hold some of the training images out
    (`samples.draw`, and `samples.others` for the rest), and of the row with the largest `held_out_accuracy` take the
    `test_accuracy`.

    Args:
        model: A classifier of `images`; it trains on the device where its parameters are.
        images: `[N, ...]`, in memory; uint8 in [0, 255], divided by 255 after the augmentation, or floating, given to
            the model as they are (in [0, 1] for those of graphmod). They are moved to the model's device once.
        labels: Integers `[N]`.
        epochs: Number of passes over the images.
        batch_size: Images in a step.
        lr: Base learning rate; it falls to 0 along a cosine, in epoch e, from 0, to lr (1 + cos(π e / epochs)) / 2.
        milestones: Epochs after which the learning rate is multiplied by 0.1, instead of the cosine.
        warmup: Number n of first epochs in which the learning rate is multiplied by 1/(n + 1), 2/(n + 1), ...
        momentum: Momentum of SGD, Nesterov's; 0 for none.
        weight_decay: Weight decay.
        augment: Largest random shift of an image, in pixels (4 is usual for CIFAR).
        flip: Also mirrors half of the images.
        teacher: A network whose outputs the model learns too, on the same augmented images; a copy is asked, in
            evaluation mode.
        teacher_weight: Share α of the teacher in the loss, in [0, 1].
        temperature: Temperature T of the teacher's loss, above 0.
        precision: Numbers of the forward passes in training, by autocast; weights, loss, held-out and test accuracy are
            in float32.
        channels_last: Puts weights, in place, and images in the memory format that convolutions are faster in.
        cuda_graph: Records a step once on the GPU and replays it, for networks whose many small kernels take longer to
            launch than to run; the forward pass must do the same each time and not wait for the GPU.
        held_out: Images and labels whose accuracy is measured after each epoch, to choose the best epoch by.
        test: The same for the images that judge.
        seed: Seed of the order and the augmentation, alike on all devices, and of dropout; the model's weights are the
            caller's.
        checkpoint: File to keep the run in after each epoch, with fingerprints of images, labels and first weights.
        progress: Shows a progress bar on a terminal.

    Yields:
        `epoch` (from 1), `lr`, `loss` and `train_accuracy` (over the epoch, in [0, 1]), and `held_out_accuracy` and
        `test_accuracy` where there are such images.

    Raises:
        IsADirectoryError: If the checkpoint is a folder.
        TypeError: If labels are not integers, or a setting is not a number.
        ValueError: If there are no images, labels are not one for each or no classes of the model, an option is out of
            its range, the teacher has other classes, a CUDA graph is asked for on a CPU, the checkpoint is of a run
            with other settings, images, labels, first weights or another teacher, or loss or weights are no longer
            finite.

    Example:
        >>> x = torch.rand(64, 2)
        >>> [round(row["lr"], 2) for row in train(nn.Linear(2, 2), x, (x[:, 0] > 0.5).long(), epochs=2)]
        [0.1, 0.05]

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2. The schedule of Lu et
        al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022, is `epochs=150, batch_size=256,
        lr=0.01, milestones=(50, 100), weight_decay=0.005`; their code has plain momentum and steps an epoch earlier.
    """
    epochs, batch_size, warmup, augment, seed, *milestones = _plain(
        int, epochs=epochs, batch_size=batch_size, warmup=warmup, augment=augment, seed=seed,
        **{f"milestones[{i}]": one for i, one in enumerate(milestones)},
    )  # fmt: skip
    lr, momentum, weight_decay, teacher_weight, temperature = _plain(
        float, lr=lr, momentum=momentum, weight_decay=weight_decay, teacher_weight=teacher_weight,
        temperature=temperature,
    )  # fmt: skip
    _check_options(images, augment or flip or channels_last, precision, teacher_weight, temperature)
    _check_schedule(epochs, milestones, warmup)
    if epochs < 0 or batch_size < 1:
        raise ValueError(f"epochs must be at least 0 and batch_size at least 1; got {epochs} and {batch_size}")
    if not 0 <= lr < math.inf:
        raise ValueError(f"lr must be at least 0 and finite; got {lr}")
    if not len(images):
        raise ValueError("images must hold at least one image; got none")
    if checkpoint is not None and Path(checkpoint).is_dir():
        raise IsADirectoryError(f"{checkpoint} is a folder; name a file to keep the run in")
    pairs = {"train": (images, labels), "held_out": held_out, "test": test}
    home = next(model.parameters()).device
    if cuda_graph and home.type != "cuda":
        raise ValueError(f"cuda_graph needs a model on a GPU; it is on {home}")
    sets = {name: _moved(*pair, home) for name, pair in pairs.items() if pair is not None}
    share = teacher_weight if teacher is not None else 0.0
    layout = torch.channels_last if channels_last else torch.preserve_format
    taught = copied(teacher).to(home).to(memory_format=layout).eval() if teacher is not None and share else None
    settings = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "milestones": milestones, "warmup": warmup,
        "momentum": momentum, "weight_decay": weight_decay, "augment": augment, "flip": flip,
        "teacher": None if taught is None else fingerprint([*taught.parameters(), *taught.buffers()]),
        "teacher_weight": share, "temperature": temperature, "precision": precision, "channels_last": channels_last,
        "seed": seed, "num_images": len(images), "num_held_out": len(held_out[0]) if held_out else 0,
    }  # fmt: skip
    if checkpoint is not None:
        settings |= {f"{name}_data": fingerprint(sets[name]) if name in sets else None for name in pairs}
        settings["weights"] = fingerprint(model.state_dict().values())
    model.to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay, nesterov=momentum > 0)
    schedule = _schedule(optimizer, epochs, milestones, warmup)
    history: list[dict[str, float]] = []
    if checkpoint is not None and Path(checkpoint).is_file():
        history, settings = resume(checkpoint, settings, model, optimizer, schedule)
    model.eval()
    yield from map(dict, history)  # copies: what is done to a row is not done to the checkpoint

    images, labels = sets.pop("train")
    low, high = torch.stack(labels.aminmax()).tolist()
    step = step_of(model, taught, (low, high), teacher_weight=share, temperature=temperature, precision=precision)
    replay, at_once = None, 500 if home.type == "cpu" else 5000  # a GPU is not full with fewer images

    def learn(rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        nonlocal replay
        x, y = augmented(images[rows], augment, flip, generator), labels[rows]
        x = pixels(x).to(memory_format=layout)
        if cuda_graph and len(rows) == batch_size:
            replay = replay or recorded_step(step, model, x, y)
            found = replay(x, y)
        else:
            optimizer.zero_grad(set_to_none=not cuda_graph)
            found = step(x, y)
        optimizer.step()
        return found

    for epoch in range(len(history) + 1, epochs + 1):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        steps = torch.randperm(len(images), generator=generator).to(home).split(batch_size)
        if len(steps) > 1 and len(steps[-1]) == 1 < batch_size:  # of which batch norm cannot take the deviation
            steps = (*steps[:-2], torch.cat(steps[-2:]))
        rate = float(schedule.get_last_lr()[0])
        shown = tqdm(steps, f"epoch {epoch}/{epochs}", leave=False, unit="step", disable=not progress or None)
        model.train()
        try:
            with seeded(seed * 1_000_003 + epoch + 2**31, home):  # not the numbers of the augmentation
                found = [learn(rows, generator) for rows in shown]  # on the device, so that nothing waits for it
        finally:
            model.eval()
        losses, correct = map(torch.stack, zip(*found, strict=True))
        schedule.step()
        row: dict[str, float] = {
            "epoch": epoch,
            "lr": rate,
            "loss": sum(map(mul, losses.tolist(), map(len, steps))) / len(images),
            "train_accuracy": int(correct.sum()) / len(images),
        }
        if not math.isfinite(row["loss"]):
            raise ValueError(f"the loss is {row['loss']} after epoch {epoch}; lower lr")
        if not all(parameter.isfinite().all() for parameter in model.parameters()):
            raise ValueError(f"weights are NaN or Inf after epoch {epoch}; lower lr")
        row |= {f"{name}_accuracy": accuracy(model, *pair, batch_size=at_once) for name, pair in sets.items()}
        history.append(row)
        if checkpoint is not None:
            state = {
                "settings": settings, "history": history, "model": model.state_dict(),
                "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
            }  # fmt: skip
            with atomic_file(checkpoint) as temporary:
                torch.save(state, temporary)
        yield dict(row)


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = 500) -> float:
    """Returns the share of images, in [0, 1], whose largest logit is that of their label.

    Args:
        model: A classifier of `images`; it runs in evaluation mode and is left as it was.
        images: `[N, ...]`, uint8 in [0, 255], divided by 255, or floating.
        labels: Integers `[N]`.
        batch_size: Images in one forward pass.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If labels are not one for each image, or the model does not give logits `[N, C]`.

    Example:
        >>> accuracy(nn.Identity(), torch.eye(2), torch.tensor([0, 0]))
        0.5
    """
    labels = class_numbers(labels, len(images))
    found = predictions(model, images, batch_size=batch_size).argmax(1)
    return float((found.cpu() == labels.cpu()).double().mean())


def _plain(kind: type, **settings: Any) -> list[Any]:
    """Settings as Python's own numbers, which a checkpoint can hold.

    Raises:
        TypeError: If one is no number, or no whole one where `kind` is int.
    """
    for name, value in settings.items():
        if kind is int and int(value) != value:
            raise TypeError(f"settings that count must be whole numbers; {name} is {value!r}")
        if isinstance(value, str):
            raise TypeError(f"settings must be numbers, not words; {name} is {value!r}")
    return [kind(value) for value in settings.values()]


def _check_options(images: Tensor, planar: int, precision: str, teacher_weight: float, temperature: float) -> None:
    if planar and images.dim() != 4:
        raise ValueError(f"augment, flip and channels_last need images [N, C, H, W]; got {list(images.shape)}")
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be float32 or bfloat16; got {precision!r}")
    if not 0 <= teacher_weight <= 1 or not 0 < temperature < math.inf:
        raise ValueError(
            "teacher_weight must be in [0, 1] and temperature above 0 and finite; "
            f"got {teacher_weight} and {temperature}"
        )


def _check_schedule(epochs: int, milestones: Sequence[int], warmup: int) -> None:
    if milestones and any(a >= b for a, b in pairwise([0, *milestones, epochs])):
        raise ValueError(f"milestones must rise from 1 on and be less than epochs, {epochs}; got {list(milestones)}")
    if warmup and not 0 < warmup < epochs:
        raise ValueError(f"warmup must be at least 0 and less than epochs, {epochs}; got {warmup}")


def _schedule(optimizer: torch.optim.Optimizer, epochs: int, milestones: Sequence[int], warmup: int) -> LRScheduler:
    def factor(done: int) -> float:
        rising = min((done + 1) / (warmup + 1), 1.0)
        if milestones:
            return rising * 0.1 ** sum(milestone <= done for milestone in milestones)
        return rising * (1 + math.cos(math.pi * done / max(epochs, 1))) / 2

    return LambdaLR(optimizer, factor)


def _moved(images: Tensor, labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    labels = class_numbers(labels, len(images))
    return images.to(device), labels.to(device)
