"""Weights from files, read without running anything that they say."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .._files import atomic_file, existing_file, read_torch, readable
from .._layers import unwrapped
from .._tensors import is_dense

WRAPPERS = ("module.", "_orig_mod.")


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Copies the weights of a file into a model, all of them or none.

    Args:
        model: The module to fill. It is changed, and returned.
        path: A safetensors file, or a PyTorch file with a state dict, alone or under the key `state_dict` or `model`.
            Prefixes that a parallel wrapper or a compiler left (`module.`, `_orig_mod.`) are dropped, and such wrappers
            of the model are filled inside; the counters `num_batches_tracked`, which older files lack, may be missing.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds anything but tensors, or not exactly the model's weights.

    Example:
        >>> import tempfile, torch
        >>> path = Path(tempfile.mkdtemp()) / "weights.pt"
        >>> torch.save(nn.Linear(2, 2).state_dict(), path)
        >>> load_weights(nn.Linear(2, 2), path)
        Linear(in_features=2, out_features=2, bias=True)
    """
    path = existing_file(path, " of weights")
    inside = unwrapped(model)
    wanted, state = inside.state_dict(), _read(path)
    for prefix in WRAPPERS * 2:
        if not state.keys() & wanted.keys() and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    state = {key: value for key, value in wanted.items() if key.endswith(".num_batches_tracked")} | state
    missing, unexpected = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or unexpected:
        raise ValueError(
            f"{path} does not hold the weights of this {type(inside).__name__}: {len(missing)} are missing"
            f"{_some(missing)}, {len(unexpected)} are unexpected{_some(unexpected)}"
        )
    if turned := [key for key in wanted if state[key].is_complex() != wanted[key].is_complex()]:
        raise ValueError(f"{path} holds complex weights for real ones, or real for complex{_some(turned)}")
    unlike = [
        f"{key} {list(state[key].shape)} for {list(wanted[key].shape)}"
        for key in wanted
        if state[key].shape != wanted[key].shape
    ]
    if unlike:
        raise ValueError(f"{path} holds weights of other shapes than the model's{_some(unlike)}: does num_classes fit?")
    inside.load_state_dict(state)
    return model


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Writes a model's weights to a safetensors file, whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    state = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format)  # weights that are shared, too
             for key, value in model.state_dict().items()}  # fmt: skip
    with atomic_file(path) as temporary:
        save_file(state, temporary)


def check_outputs(name: str, theirs: int, num_classes: int | None) -> None:
    """Refuses another number of outputs than that of the weights that come with a network."""
    if num_classes not in (None, theirs):
        raise ValueError(
            f"the weights that come with {name} give {theirs} outputs; got num_classes={num_classes}: "
            "leave it out, or pass a file of weights for these classes"
        )


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        with readable(path, "a safetensors file"):
            return load_file(path)
    state = read_torch(path)
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(k, str) and is_dense(v) for k, v in state.items()):
        raise ValueError(f"{path} must hold a state dict, names and tensors; got {type(state).__name__}")
    return dict(state)


def _some(names: list[str]) -> str:
    return f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""
