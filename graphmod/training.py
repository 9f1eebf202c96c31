"""Training from scratch, as a generator of epochs that can be stopped and taken up again."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from ._files import atomic_file, read_torch


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch_size: int = 128,
    lr: float = 0.1,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    augment: int = 0,
    flip: bool = False,
    test_images: Tensor | None = None,
    test_labels: Tensor | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Iterator[dict[str, float]]:
    """Trains a model with SGD, Nesterov momentum and a cosine schedule, one epoch for each value that is taken.

    The model is changed in place and is in evaluation mode whenever a value comes out, so that it can be measured
    between epochs. With a checkpoint a run that was stopped goes on after its last full epoch and ends with the
    weights that it would have had; the epochs already done come out again, without work.

    Args:
        model: A classifier of `images`; it trains on the device where its parameters are.
        images: `[N, ...]`, in memory.
        labels: Int64 `[N]`.
        epochs: Number of passes over the images.
        batch_size: Images in a step.
        lr: Learning rate of the first epoch; it falls to 0 along a cosine.
        momentum: Momentum of SGD.
        weight_decay: Weight decay.
        augment: Shifts each image at random by up to so many pixels (4 is usual for CIFAR).
        flip: Also mirrors half of the images.
        test_images: Images to measure accuracy on after each epoch.
        test_labels: Their labels.
        seed: Seed of the order and the augmentation; the model's weights are the caller's.
        checkpoint: File to keep the run in after each epoch.
        progress: Shows a progress bar on a terminal.

    Yields:
        `epoch` (from 1), `lr`, `loss` (mean cross-entropy over the epoch), `train_accuracy` (over the epoch, in
        [0, 1]), and `test_accuracy` where there are test images.

    Raises:
        ValueError: If the checkpoint is of a run with other settings, or the loss is no longer finite.

    Example:
        >>> x = torch.rand(64, 2)
        >>> [round(row["lr"], 2) for row in train(nn.Linear(2, 2), x, (x[:, 0] > 0.5).long(), epochs=2)]
        [0.1, 0.05]
    """
    settings = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "momentum": momentum, "weight_decay": weight_decay,
        "augment": augment, "flip": flip, "seed": seed, "num_images": len(images),
    }  # fmt: skip
    home = next(model.parameters()).device
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    history: list[dict[str, float]] = []
    if checkpoint is not None and Path(checkpoint).is_file():
        state = _load(checkpoint, home)
        if state["settings"] != settings:
            raise ValueError(f"{checkpoint} is of another run, with {state['settings']}; remove it to start anew")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        history = state["history"]
    model.eval()
    yield from history

    for epoch in range(len(history) + 1, epochs + 1):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(images), generator=generator)
        loss_sum, correct, rate = 0.0, 0, float(schedule.get_last_lr()[0])
        model.train()
        steps = order.split(batch_size)
        bar = tqdm(steps, f"epoch {epoch}/{epochs}", leave=False, unit="step", disable=not progress or None)
        for rows in bar:
            x = _augmented(images[rows], augment, flip, generator).to(home)
            y = labels[rows].to(home)
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(rows)
            correct += int((logits.argmax(1) == y).sum())
        schedule.step()
        model.eval()
        row: dict[str, float] = {
            "epoch": epoch,
            "lr": rate,
            "loss": loss_sum / len(images),
            "train_accuracy": correct / len(images),
        }
        if not math.isfinite(row["loss"]):
            raise ValueError(f"the loss is {row['loss']} after epoch {epoch}; lower lr")
        if test_images is not None and test_labels is not None:
            row["test_accuracy"] = accuracy(model, test_images, test_labels)
        history.append(row)
        if checkpoint is not None:
            state = {
                "settings": settings,
                "history": history,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
            }
            with atomic_file(checkpoint) as temporary:
                torch.save(state, temporary)
        yield row


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = 500) -> float:
    """Returns the share of images, in [0, 1], whose largest logit is that of their label; the model's mode stays.

    Example:
        >>> accuracy(nn.Identity(), torch.eye(2), torch.tensor([0, 0]))
        0.5
    """
    home = next(model.parameters(), images).device
    with torch.no_grad():
        found = torch.cat([model(x.to(home)).argmax(1).cpu() for x in images.split(batch_size)])
    return float((found == labels.cpu()).double().mean())


def _load(checkpoint: str | Path, device: torch.device) -> dict[str, Any]:
    state = read_torch(checkpoint, device)
    if not isinstance(state, dict) or not state.keys() >= {"settings", "history", "model", "optimizer", "schedule"}:
        raise ValueError(f"{checkpoint} is not a checkpoint of a training; remove it to start anew")
    return state


def _augmented(images: Tensor, shift: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Random crops of images padded by `shift` zeros, and mirror images of half of them."""
    if shift:
        size = images.shape[-2:]
        padded = F.pad(images, (shift,) * 4)
        corner = torch.randint(2 * shift + 1, (2, len(images)), generator=generator)
        rows = (corner[0][:, None] + torch.arange(size[0]))[:, None, :, None]
        columns = (corner[1][:, None] + torch.arange(size[1]))[:, None, None, :]
        channel = torch.arange(images.shape[1])[None, :, None, None]
        images = padded[torch.arange(len(images))[:, None, None, None], channel, rows, columns]
    if flip:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return images
