"""What networks of Hugging Face say of their layers: how many there are, of what kind each is, and its number."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

NUMBERS = ("layer_idx", "layer_id", "layer_number")
"""What a part of a layer calls the number of that layer; only the first does so in networks without a config."""

COUNTS = {
    "": ("num_hidden_layers", "num_layers"),
    "encoder": ("encoder_layers", "num_hidden_layers", "num_layers"),
    "decoder": ("decoder_layers", "num_decoder_layers"),
}
"""What a config calls the number of layers; where there are two stacks, by the stack."""


def number_anew(model: nn.Module, before: Mapping[nn.Module, Sequence[nn.Module]]) -> None:
    """Lets configs and layers be true after layers have left some lists.

    Args:
        model: The network; its layers and the configs of its modules are changed.
        before: What each of the lists held.
    """
    for name, holder in model.named_modules():
        layers, configs = list(holder._modules.values()), _configs(model, name)
        if holder not in before or layers == list(before[holder]):
            continue
        for layer in dict.fromkeys(layers):  # one that stands in two places once
            shift = layers.index(layer) - before[holder].index(layer)
            for part in layer.modules():
                for number in NUMBERS if configs else NUMBERS[:1]:
                    if isinstance(vars(part).get(number), int):
                        vars(part)[number] += shift
        kept = [before[holder].index(layer) for layer in layers]
        for config in configs:
            _restate(config, name.split("."), len(before[holder]), kept)


@contextmanager
def numbers_kept(model: nn.Module) -> Iterator[None]:
    """Puts back afterwards what `number_anew` changes."""
    named = [(vars(part), name) for part in model.modules() for name in NUMBERS if name in vars(part)]
    numbers = [own[name] for own, name in named]
    configs = {id(config): config for name, _ in model.named_modules() for config in _configs(model, name)}
    said = {key: dict(vars(config)) for key, config in configs.items()}
    try:
        yield
    finally:
        for (own, name), number in zip(named, numbers, strict=True):
            own[name] = number
        for key, config in configs.items():
            vars(config).update(said[key])


def described(model: nn.Module) -> nn.Module | None:
    """Returns the network, without numbers in it, that `from_pretrained` builds from a Hugging Face network's config.

    None if the model is no such network, or none can be built.
    """
    config: Any = vars(model).get("config")
    if not (hasattr(type(model), "from_pretrained") and hasattr(config, "to_dict")):
        return None
    try:
        with torch.device("meta"):
            found: nn.Module = type(model)(type(config).from_dict(config.to_dict()))
    except Exception:  # whatever a config or a network may raise
        return None
    return found


def form(model: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the shapes of a network's tensors, and the whole numbers and words that modules hold, such as a stride.

    How many layers there are, which some modules note, is seen by their tensors.
    """
    shapes = {name: x.shape for name, x in model.state_dict().items()}
    passed_over = re.compile("_|training|.*layers|n_layer")
    notes = {
        f"{name}.{key}": value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, int | str) and not passed_over.match(key)
    }
    return shapes, notes


def _configs(model: nn.Module, name: str) -> list[Any]:
    """The configs of a module and of all that hold it, each once."""
    parts = name.split(".") if name else []
    holders = [model.get_submodule(".".join(parts[:end])) for end in range(len(parts) + 1)]
    found = {id(config): config for holder in holders if hasattr(config := vars(holder).get("config"), "to_dict")}
    return list(found.values())


def _restate(config: Any, path: Sequence[str], number: int, kept: Sequence[int]) -> None:
    """Lets a config say of a list at a path, which had `number` layers, that it has those that were kept."""
    depths, stage = getattr(config, "depths", None), next((int(part) for part in reversed(path) if part.isdigit()), 0)
    if isinstance(depths, list | tuple) and stage < len(depths) and depths[stage] == number:
        config.depths = [len(kept) if i == stage else depth for i, depth in enumerate(depths)]
        return
    for name, value in list(vars(config).items()):
        per_layer = "layer" in name or name == "attention_window"
        if per_layer and isinstance(value, list | tuple) and len(value) == number:
            setattr(config, name, type(value)(value[was] for was in kept))
    two_stacks = getattr(config, "is_encoder_decoder", False)
    for name in COUNTS[next((part for part in reversed(path) if part in COUNTS), "") if two_stacks else ""]:
        if getattr(config, name, None) == number:
            setattr(config, name, len(kept))
    stages: Any = getattr(config, "stage_names", None)  # of a backbone, which gives the outputs of some
    if isinstance(stages, list) and len(stages) == number + 1 and config.out_features == stages[-1:]:
        config.stage_names = stages[: len(kept) + 1]
        config.out_features = config.stage_names[-1:]
