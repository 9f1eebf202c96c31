"""Removing layers from a network: which can go, why the others cannot, and the smaller network that is left."""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ._chains import WEIGHTED, Seen, chain_layers, num_places, run_once
from ._cuts import cut, hidden_uses, skip
from ._layers import unwrapped
from ._names import unknown
from ._numbering import described, form
from ._passes import copied


def removable_layers(
    model: nn.Module, sample: Tensor | None = None, layers: Iterable[str] | None = None
) -> pd.DataFrame:
    """Lists the layers that could be removed, and for the others why not.

    A network can do without a child of a `Sequential` or `ModuleList` whose output has the shape of its input: a
    residual or transformer block, or in a plain chain a convolution or linear layer with as many channels out as in,
    which takes the norm, activation and dropout that follow it along. Of nested ones the outermost count, not the
    stages that hold them, which are plain containers, classes made of `Sequential`, or named `…Stage`.

    Args:
        model: Any module. Whole networks are meant: what runs in one pass is what counts. Names are those of the
            network inside what `torch.compile` or `DataParallel` wraps around it.
        sample: One batch of input, `[N, ...]`. The model runs on it, so that shapes are seen, and on its first two rows
            without each layer that fits: a layer whose input must not simply stand for its output stays. Without a
            sample, what the modules say of themselves (channels, strides) has to do.
        layers: Those to be tried in that way; all that fit by their shapes if None.

    Returns:
        One row a layer, in the order in which the model holds them: `layer`, `removable`, and `reason`, empty if it is.

    Raises:
        TypeError: If the model is not a module, or the sample no tensor.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> removable_layers(model).iloc[:2].to_numpy().tolist()
        [['0', False, 'takes 4 channels and gives 8'], ['2', True, '']]
    """
    model = unwrapped(model)
    if sample is not None and not isinstance(sample, Tensor):
        raise TypeError(f"sample must be a tensor; got {type(sample).__name__}")
    parts = chain_layers(model)
    places = _places(model, parts, within=sample is None)
    reasons = {name: places[name] or _static_reason(model.get_submodule(name)) for name in parts}
    if sample is not None:
        seen = run_once(model, sample, parts)
        reasons = {name: _seen_reason(seen[name]) or places[name] or _own_reason(model, name) for name in parts}
        asked = {name for name in (parts if layers is None else layers) if reasons.get(name) == ""}
        reasons |= hidden_uses(model, sample[:2], {name: parts[name] for name in parts if name in asked})
    rows = [(name, not reason, reason) for name, reason in reasons.items()]
    return pd.DataFrame(rows, columns=["layer", "removable", "reason"])


def drop_layers(model: nn.Module, layers: pd.DataFrame | Iterable[str], sample: Tensor | None = None) -> nn.Module:
    """Returns a new, smaller network without some layers, with the weights of the others.

    The modules are gone, not switched off: the result saves, loads and exports like any other. The children of a
    `Sequential` keep their names, so that `layer1.3` is the same block before and after; those of a `ModuleList` are
    numbered anew. To load saved weights, drop the same layers from a new network first. A network of Hugging Face comes
    back by `from_pretrained`, as its config is made to say which layers are left; a warning tells where it cannot, as
    of blocks that differ by their place.

    Args:
        model: The network; it stays as it is.
        layers: Names, or a plan of `plan_removal`.
        sample: As in `removable_layers`; a plan needs none, it was made with samples.

    Returns:
        A deep copy without the layers, and without what `torch.compile` or `DataParallel` wraps around it.

    Raises:
        ValueError: If a layer does not exist or cannot be removed; the message says why.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> drop_layers(model, ["0"])
        Sequential(
          (2): Linear(in_features=4, out_features=2, bias=True)
        )
    """
    planned = isinstance(layers, pd.DataFrame) and "damage" in layers
    if isinstance(layers, pd.DataFrame):
        if "layer" not in layers:
            raise ValueError(f"the plan has no column 'layer'; it has {', '.join(map(str, layers.columns))}")
        layers = layers.layer
    names = [layers] if isinstance(layers, str) else list(layers)
    table = removable_layers(model, sample, names)
    if planned and sample is None:
        table["reason"] = ""
    check_removable(table, names)
    if sample is not None:
        check_together(unwrapped(model), sample[:2], names)
    smaller = without(unwrapped(model), names)
    if not _is_described(unwrapped(model), names, smaller):
        warnings.warn(
            f"the config of {type(smaller).__name__} cannot say which layers are left, and from_pretrained would build "
            "another network; save the state_dict, and load it after dropping the same layers from a new network",
            stacklevel=2,
        )
    return smaller


def _is_described(model: nn.Module, layers: Iterable[str], smaller: nn.Module) -> bool:
    """Whether the config of a network of Hugging Face without some layers is that of the network which is left.

    Of one that its config did not describe before, as with a head of one's own, nothing is asked.
    """
    whole = described(model)
    if whole is None or whole.state_dict().keys() != model.state_dict().keys():
        return True
    cut(whole, _modules_of(model, layers))
    again = described(smaller)
    return again is not None and form(again) == form(whole)


def without(model: nn.Module, layers: Iterable[str]) -> nn.Module:
    """Returns a copy without some layers, for which it was checked that they can go."""
    smaller = copied(model)
    cut(smaller, _modules_of(model, layers))
    return smaller


def names_before(model: nn.Module, layers: Iterable[str]) -> dict[str, str]:
    """Returns, for the modules of the network without some layers, the names that they have in the whole one.

    Example:
        >>> names_before(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]), ["0"])
        {'': '', '0': '1'}
    """
    smaller = copied(model)
    before = {module: name for name, module in smaller.named_modules()}
    cut(smaller, _modules_of(model, layers))
    return {name: before[module] for name, module in smaller.named_modules()}


def _modules_of(model: nn.Module, layers: Iterable[str]) -> list[str]:
    """Returns the names of layers, and of what goes with them."""
    parts = chain_layers(model)
    return [name for layer in layers for name in parts[layer]]


def that_can_go(table: pd.DataFrame) -> list[str]:
    """Returns the layers that can go by a table of `removable_layers`; raises ValueError if there are none."""
    layers = list(table.layer[table.removable])
    if not layers:
        raise ValueError(
            f"no layer can go; {len(table)} in a Sequential or ModuleList were looked at, see removable_layers"
        )
    return layers


def check_removable(table: pd.DataFrame, layers: Sequence[str]) -> None:
    """Raises ValueError unless each layer is named once and can go, by a table of `removable_layers`."""
    reasons = dict(zip(table.layer, table.reason, strict=True))
    for layer, number in Counter(layers).items():
        if layer not in reasons:
            there = f"{unknown('removable layer', layer, reasons)}; layers that a module calls by name cannot go"
            raise ValueError(there)
        if reasons[layer]:
            raise ValueError(f"layer {layer!r} cannot be removed: it {reasons[layer]}")
        if number > 1:
            raise ValueError(f"layer {layer!r} is named {number} times; name it once")


def check_together(model: nn.Module, sample: Tensor, layers: Iterable[str]) -> None:
    """Raises ValueError if the network without all of some layers, each of which can go, is not that which skips them.

    So it is where the network counts its layers, and takes something from the middle one, or from the fourth.
    """
    layers = sorted(layers, key=list(chain_layers(model)).index)
    if len(layers) < 2:
        return
    if reason := hidden_uses(model, sample, {"": _modules_of(model, layers)})[""]:
        raise ValueError(f"layers {', '.join(layers)} can go one by one, but not together: what they do {reason}")


def skip_layers(model: nn.Module, layers: Iterable[str], sample: Tensor) -> nn.Module:
    """Returns a copy in which some layers hand on their input; unlike after `drop_layers` all names stay.

    Args:
        model: The network; it stays as it is.
        layers: Names in `removable_layers`.
        sample: One batch of input.
    """
    parts, copy = chain_layers(model), copied(model)
    chosen = {layer: parts[layer] for layer in layers}
    for layer, one in run_once(model, sample[:2], chosen, keep="outputs").items():
        skip(copy, parts[layer], one.output)
    return copy


def _places(model: nn.Module, layers: Iterable[str], *, within: bool) -> dict[str, str]:
    """Why layers cannot go that stand in several places, or are `within` what does; empty if they do not."""
    number, found = num_places(model), {}
    for layer in layers:
        parts = layer.split(".")
        holders = [".".join(parts[:end]) for end in range(1 if within else len(parts), len(parts) + 1)]
        most = max(number[model.get_submodule(name)] for name in holders)
        found[layer] = f"stands in {most} places" if most > 1 else ""
    return found


def _static_reason(layer: nn.Module) -> str:
    """Why a layer cannot go, by what its modules say; empty if it can."""
    weighted = [part for part in layer.modules() if isinstance(part, WEIGHTED)]
    if not weighted:
        return ""
    given, made = _channels(weighted[0])[0], _channels(weighted[-1])[1]
    own = layer is weighted[0]
    if given != made:
        return f"takes {given} channels and gives {made}" if own else f"seems to take {given} channels and give {made}"
    stride = max((max(part.stride) for part in weighted if isinstance(part, _ConvNd)), default=1)
    if stride == 1:
        return ""
    return f"has a stride of {stride}" if own else f"seems to have a stride of {stride}"


def _own_reason(model: nn.Module, name: str) -> str:
    """Why a convolution cannot go whatever shapes a pass has seen: its stride may have had nothing to step over."""
    layer = model.get_submodule(name)
    return _static_reason(layer) if isinstance(layer, WEIGHTED) else ""


def _channels(layer: nn.Module) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    assert isinstance(layer, _ConvNd)
    return layer.in_channels, layer.out_channels


def _seen_reason(seen: Seen) -> str:
    """Why a layer cannot go, by what it did in a pass; empty if it can."""
    if seen.runs != 1:
        return f"runs {seen.runs} times in one pass" if seen.runs else "never runs"
    if seen.given is None or seen.made is None:
        return f"{'takes' if seen.given is None else 'gives'} no tensor"
    return "" if seen.given == seen.made else f"makes {seen.made} of the shape {seen.given}"
