"""Training and fine-tuning, as a generator of epochs that can be stopped and taken up again."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import pairwise
from operator import mul
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler
from tqdm.auto import tqdm

from ._files import atomic_file, read_torch, readable

Precision = Literal["float32", "bfloat16"]

# Settings that older checkpoints do not name, with the values that they were trained with.
_EARLIER = {
    "milestones": [], "warmup": 0, "teacher": None, "teacher_weight": 0.0, "temperature": 4.0, "precision": "float32",
    "channels_last": False, "num_held_out": 0,
}  # fmt: skip


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
    held_out: tuple[Tensor, Tensor] | None = None,
    test_images: Tensor | None = None,
    test_labels: Tensor | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Iterator[dict[str, float]]:
    """Trains a model with SGD and Nesterov momentum, one epoch for each value that is taken.

    The model is changed in place and is in evaluation mode whenever a value comes out, so that it can be measured
    between epochs. With a checkpoint a run that was stopped goes on after its last full epoch and ends with the
    weights that it would have had (on a GPU, but for the order of its sums); the epochs already done come out again,
    without work.

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
        labels: Int64 `[N]`.
        epochs: Number of passes over the images.
        batch_size: Images in a step.
        lr: Learning rate of the first epoch; it falls to 0 along a cosine.
        milestones: Epochs after which the learning rate is multiplied by 0.1, instead of the cosine.
        warmup: Number n of first epochs in which the learning rate is multiplied by 1/(n + 1), 2/(n + 1), ...
        momentum: Momentum of SGD.
        weight_decay: Weight decay.
        augment: Shifts each image at random by up to so many pixels (4 is usual for CIFAR).
        flip: Also mirrors half of the images.
        teacher: A network whose outputs the model learns too, on the same augmented images; a copy is asked, in
            evaluation mode.
        teacher_weight: Share α of the teacher in the loss, in [0, 1].
        temperature: Temperature T of the teacher's loss, above 0.
        precision: Numbers of the forward passes in training, by autocast; weights, loss, held-out and test accuracy are
            in float32.
        channels_last: Puts weights, in place, and images in the memory format that convolutions are faster in.
        held_out: Images and labels to measure accuracy on after each epoch, besides the test images.
        test_images: Images to measure accuracy on after each epoch.
        test_labels: Their labels.
        seed: Seed of the order and the augmentation, alike on all devices; the model's weights are the caller's.
        checkpoint: File to keep the run in after each epoch.
        progress: Shows a progress bar on a terminal.

    Yields:
        `epoch` (from 1), `lr`, `loss` and `train_accuracy` (over the epoch, in [0, 1]), and `held_out_accuracy` and
        `test_accuracy` where there are such images.

    Raises:
        ValueError: If labels are not one for each image, an option is out of its range, the teacher has other classes,
            the checkpoint is of a run with other settings or another teacher, or the loss is no longer finite.

    Example:
        >>> x = torch.rand(64, 2)
        >>> [round(row["lr"], 2) for row in train(nn.Linear(2, 2), x, (x[:, 0] > 0.5).long(), epochs=2)]
        [0.1, 0.05]

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2. The schedule of Lu et
        al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022, is `epochs=150, batch_size=256,
        lr=0.01, milestones=(50, 100), weight_decay=0.005`; their code has plain momentum and steps an epoch earlier.
    """
    _check_options(images, augment or flip or channels_last, precision, teacher_weight, temperature)
    _check_schedule(epochs, milestones, warmup)
    if epochs < 0 or batch_size < 1:
        raise ValueError(f"epochs must be at least 0 and batch_size at least 1; got {epochs} and {batch_size}")
    pairs = {"train": (images, labels), "held_out": held_out or (None, None), "test": (test_images, test_labels)}
    home = next(model.parameters()).device
    sets = {name: _moved(x, y, home) for name, (x, y) in pairs.items() if x is not None and y is not None}
    share = teacher_weight if teacher is not None else 0.0
    layout = torch.channels_last if channels_last else torch.preserve_format
    taught = deepcopy(teacher).to(home).to(memory_format=layout).eval() if teacher is not None and share else None
    settings = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "milestones": list(milestones), "warmup": warmup,
        "momentum": momentum, "weight_decay": weight_decay, "augment": augment, "flip": flip,
        "teacher": None if taught is None else _fingerprint(taught), "teacher_weight": share,
        "temperature": temperature, "precision": precision, "channels_last": channels_last, "seed": seed,
        "num_images": len(images), "num_held_out": len(held_out[0]) if held_out else 0,
    }  # fmt: skip
    model.to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay, nesterov=True)
    schedule = _schedule(optimizer, epochs, milestones, warmup)
    history: list[dict[str, float]] = []
    if checkpoint is not None and Path(checkpoint).is_file():
        state = _load(checkpoint, home)
        if _EARLIER | state["settings"] != settings:
            raise ValueError(f"{checkpoint} is of another run, with {state['settings']}; remove it to start anew")
        with readable(checkpoint, "a checkpoint of this training"):
            _restore(model, optimizer, schedule, state)
        history = state["history"]
    model.eval()
    yield from history

    images, labels = sets.pop("train")
    for epoch in range(len(history) + 1, epochs + 1):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        steps = torch.randperm(len(images), generator=generator).to(home).split(batch_size)
        losses, correct = [], []  # they stay on the device, so that nothing waits for it within the epoch
        rate = float(schedule.get_last_lr()[0])
        model.train()
        for rows in tqdm(steps, f"epoch {epoch}/{epochs}", leave=False, unit="step", disable=not progress or None):
            x, y = _augmented(images[rows], augment, flip, generator), labels[rows]
            x = _scaled(x).to(memory_format=layout)
            logits = _logits(model, x, precision)
            loss = F.cross_entropy(logits, y)
            if taught is not None:
                with torch.no_grad():
                    wanted = _logits(taught, x, precision)
                loss = (1 - share) * loss + share * _distillation(logits, wanted, temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            correct.append((logits.argmax(1) == y).sum())
        schedule.step()
        model.eval()
        row: dict[str, float] = {
            "epoch": epoch,
            "lr": rate,
            "loss": sum(map(mul, torch.stack(losses).tolist(), map(len, steps))) / len(images),
            "train_accuracy": int(torch.stack(correct).sum()) / len(images),
        }
        if not math.isfinite(row["loss"]):
            raise ValueError(f"the loss is {row['loss']} after epoch {epoch}; lower lr")
        row |= {f"{name}_accuracy": accuracy(model, *pair) for name, pair in sets.items()}
        history.append(row)
        if checkpoint is not None:
            state = {
                "settings": settings, "history": history, "model": model.state_dict(),
                "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
            }  # fmt: skip
            with atomic_file(checkpoint) as temporary:
                torch.save(state, temporary)
        yield row


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = 500) -> float:
    """Returns the share of images, in [0, 1], whose largest logit is that of their label; the model's mode stays.

    Args:
        model: A classifier of `images`.
        images: `[N, ...]`, uint8 in [0, 255], divided by 255, or floating.
        labels: Int64 `[N]`.
        batch_size: Images in one forward pass.

    Raises:
        ValueError: If labels are not one for each image.

    Example:
        >>> accuracy(nn.Identity(), torch.eye(2), torch.tensor([0, 0]))
        0.5
    """
    _check_labels(images, labels)
    home = next(model.parameters(), images).device
    with torch.no_grad():
        found = torch.cat([model(_scaled(x.to(home))).argmax(1) for x in images.split(batch_size)])
    return float((found.cpu() == labels.cpu()).double().mean())


def reestimate_batch_norm(
    model: nn.Module, images: Tensor, *, batch_size: int = 256, num_batches: int | None = None
) -> nn.Module:
    """Returns a copy whose batch norms have the means and variances of these images, which need no labels.

    After a removal the layers behind see other numbers than those that their statistics were taken from; this repairs
    the statistics, without any training. They are plain averages over the batches, each normalised by itself on its
    way, of the mean and the unbiased variance.

    Args:
        model: The network; it stays as it is.
        images: `[N, ...]`, at least two, uint8 in [0, 255], divided by 255, or floating; in an order that mixes the
            classes, or the batches are not alike.
        batch_size: Images in one forward pass, at least 2; the parts are as equal as can be, none of a single image.
        num_batches: Takes the first `num_batches * batch_size` images only; all if None.

    Returns:
        A deep copy in evaluation mode, with the same weights; a norm that no image reaches keeps its statistics.

    Raises:
        ValueError: If there are fewer than two images, or `batch_size` or `num_batches` is too low.

    Example:
        >>> model = reestimate_batch_norm(nn.BatchNorm1d(1), torch.tensor([[1.0], [3.0]]))
        >>> model.running_mean.item(), model.running_var.item()
        (2.0, 2.0)

    Reference:
        Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", ECCV 2020, section 3.2.
    """
    if len(images) < 2:
        raise ValueError(f"batch norm needs at least two images; got {len(images)}")
    if batch_size < 2 or (num_batches is not None and num_batches < 1):
        raise ValueError(f"batch_size must be at least 2 and num_batches 1; got {batch_size} and {num_batches}")
    copy = deepcopy(model).eval()
    momenta: dict[_BatchNorm, float | None] = {}
    for module in copy.modules():
        if isinstance(module, _BatchNorm) and module.num_batches_tracked is not None:
            momenta[module] = module.momentum
            module.num_batches_tracked.zero_()
            module.momentum = None  # a plain average over the batches, of which the first replaces what was there
            module.train()
    home = next(copy.parameters(), images).device
    images = images[: num_batches and num_batches * batch_size]
    parts = min(math.ceil(len(images) / batch_size), len(images) // 2)
    with torch.no_grad():
        for x in images.tensor_split(parts):
            copy(_scaled(x.to(home)))
    for module, momentum in momenta.items():
        module.momentum = momentum
    return copy.eval()


def _check_labels(images: Tensor, labels: Tensor) -> None:
    if labels.shape != (len(images),):
        raise ValueError(f"labels must have shape [{len(images)}], one for each image; got {list(labels.shape)}")


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
    if not milestones and not warmup:
        return CosineAnnealingLR(optimizer, epochs)

    def factor(done: int) -> float:
        rising = min((done + 1) / (warmup + 1), 1.0)
        if milestones:
            return rising * 0.1 ** sum(milestone <= done for milestone in milestones)
        return rising * (1 + math.cos(math.pi * done / epochs)) / 2

    return LambdaLR(optimizer, factor)


def _logits(model: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    if precision == "float32":
        return model(images)
    with torch.autocast(images.device.type, torch.bfloat16):
        logits = model(images)
    return logits.float()


def _distillation(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """T² · KL(softmax(wanted / T) ‖ softmax(logits / T)), the mean over the samples."""
    if wanted.shape != logits.shape:
        raise ValueError(f"the teacher must give logits {list(logits.shape)}, as the model; got {list(wanted.shape)}")
    soft, target = (F.log_softmax(one / temperature, dim=1) for one in (logits, wanted))
    return temperature**2 * F.kl_div(soft, target, reduction="batchmean", log_target=True)


def _fingerprint(model: nn.Module) -> str:
    """What the numbers of a model are, in 16 letters."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in [*model.parameters(), *model.buffers()]:
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _load(checkpoint: str | Path, device: torch.device) -> dict[str, Any]:
    state = read_torch(checkpoint, device)
    kinds = {"settings": dict, "history": list, "model": dict, "optimizer": dict, "schedule": dict}
    whole = isinstance(state, dict) and all(isinstance(state.get(name), kind) for name, kind in kinds.items())
    if not whole or not all(_is_row(row) for row in state["history"]) or not _is_plain(state["settings"]):
        raise ValueError(f"{checkpoint} is not a checkpoint of a training; remove it to start anew")
    found: dict[str, Any] = state
    return found


def _is_row(row: Any) -> bool:
    numbers = isinstance(row, dict) and all(map(_is_number, row.values()))
    return numbers and row.keys() >= {"epoch", "lr", "loss", "train_accuracy"}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_plain(value: Any) -> bool:
    """Whether values can be compared and shown: no tensors among them."""
    if isinstance(value, dict | list | tuple):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, bool | int | float | str)


def _restore(model: nn.Module, optimizer: torch.optim.Optimizer, schedule: LRScheduler, state: dict[str, Any]) -> None:
    """Puts a run back where it was, if the checkpoint holds names, kinds and shapes of what is there."""
    for found, fresh in zip(state["optimizer"]["param_groups"], optimizer.state_dict()["param_groups"], strict=True):
        unlike = [key for key in found.keys() & fresh.keys() if _is_number(found[key]) != _is_number(fresh[key])]
        if unlike or not _is_plain(found):
            raise ValueError("its optimizer has other settings")
    parameters = list(model.parameters())
    for number, entry in state["optimizer"]["state"].items():
        if entry["momentum_buffer"] is not None and entry["momentum_buffer"].shape != parameters[number].shape:
            raise ValueError("its momenta have other shapes")
    if any(hasattr(schedule, key) for key in state["schedule"].keys() - schedule.state_dict().keys()):
        raise ValueError("its schedule is another one")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])


def _moved(images: Tensor, labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    _check_labels(images, labels)
    return images.to(device), labels.to(device)


def _scaled(images: Tensor) -> Tensor:
    return images / 255 if images.dtype == torch.uint8 else images


def _augmented(images: Tensor, shift: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Random crops of images padded by `shift` zeros, and mirror images of half of them, on the images' device.

    The numbers are drawn on the CPU, alike for all devices, and sent without waiting for the device.
    """
    home = images.device
    if shift:
        size = images.shape[-2:]
        padded = F.pad(images, (shift,) * 4)
        corner = torch.randint(2 * shift + 1, (2, len(images)), generator=generator).to(home, non_blocking=True)
        rows = (corner[0][:, None] + torch.arange(size[0], device=home))[:, None, :, None]
        columns = (corner[1][:, None] + torch.arange(size[1], device=home))[:, None, None, :]
        channel = torch.arange(images.shape[1], device=home)[None, :, None, None]
        images = padded[torch.arange(len(images), device=home)[:, None, None, None], channel, rows, columns]
    if flip:
        mirrored = (torch.rand(len(images), generator=generator) < 0.5).to(home, non_blocking=True)
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return images
