"""What a training keeps on disk: its settings, its history, and the state of everything that changes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from ._files import read_torch, readable
from ._tensors import raw_bytes


def fingerprint(values: Iterable[Any]) -> str:
    """What the numbers of the tensors among some values are, in 16 letters."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in values:
        if isinstance(tensor, Tensor):
            digest.update(raw_bytes(tensor))
    return digest.hexdigest()


def resume(
    checkpoint: str | Path,
    settings: dict[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: LRScheduler,
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Puts a run where its checkpoint left it, and returns its history and settings.

    The model has the weights that the run started from, or those at which it stopped.
    """
    state = load_checkpoint(checkpoint, next(model.parameters()).device)
    found = state["settings"]
    with readable(checkpoint, "a checkpoint of this training"):
        if fingerprint(model.state_dict().values()) == fingerprint(state["model"].values()):
            settings = settings | {"weights": found.get("weights")}
    if unlike := {name: found.get(name) for name in (found | settings) if found.get(name) != settings.get(name)}:
        raise ValueError(f"{checkpoint} is of another run, with {unlike}; remove it to start anew")
    with readable(checkpoint, "a checkpoint of this training"):
        restore(model, optimizer, schedule, state)
    return state["history"], settings


def load_checkpoint(checkpoint: str | Path, device: torch.device) -> dict[str, Any]:
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


def restore(model: nn.Module, optimizer: torch.optim.Optimizer, schedule: LRScheduler, state: dict[str, Any]) -> None:
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
