"""Layers that add nothing: where the modularity curve is level or falls, and which to remove for a smaller network."""

import math
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import pandas as pd
from torch import Tensor, nn
from tqdm.auto import tqdm

from ._layers import stages, unwrapped
from .activations import layer_sizes
from .costs import cost
from .criteria import State, find_criterion
from .samples import collect
from .surgery import (
    check_removable,
    check_together,
    drop_layers,
    removable_layers,
    skip_layers,
    that_can_go,
    without,
)

__all__ = ["beyond_layout", "count_phases", "drop_layers", "plan_removal", "redundant_layers", "removable_layers"]
PHASES = ("separation", "plateau", "degradation")


def redundant_layers(values: pd.DataFrame, *, confidence: float = 0.95, tolerance: float | None = None) -> pd.DataFrame:
    """Reads a modularity curve as its authors do: which layers separate the classes, and which idle or mix them.

    A layer's gain is its Q less that of the layer before, on the same samples. Lu et al. name plateau and degradation
    by eye; here the repeats decide. A layer is `separation` if the confidence interval of its mean gain (Student's t
    over the repeats) lies above 0, `degradation` if it lies below, and `plateau` if it holds 0.

    Args:
        values: A table of `graphmod.measure` over at least two repeats, with the metric `modularity`.
        confidence: Confidence level of the interval of a gain, in (0, 1).
        tolerance: Half the width of the interval, at least 0, instead of the one that the repeats give; then a single
            repeat is enough.

    Returns:
        One row a layer: `layer`, `depth`, `modularity` (mean), `gain`, `gain_low`, `gain_high`, `phase`; the first
        layer has no gain and no phase, and neither has one beside which Q is NaN.

    Raises:
        ValueError: If the table has no modularity, is of several networks, or has a single repeat and there is no
            tolerance; if confidence is not in (0, 1) or the tolerance negative.

    Example:
        >>> q = [0.1, 0.1, 0.8, 0.12, 0.09, 0.85]
        >>> values = pd.DataFrame({"repeat": [0, 0, 0, 1, 1, 1], "layer": list("abcabc"), "depth": [1, 2, 3] * 2})
        >>> redundant_layers(values.assign(metric="modularity", value=q)).phase.tolist()[1:]
        ['plateau', 'separation']

    Reference:
        Lu et al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022, section 4.4.
    """
    from scipy import stats

    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1); got {confidence}")
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0; got {tolerance}")
    rows = values[values.metric == "modularity"] if "metric" in values else values.head(0)
    if rows.empty:
        raise ValueError("the table has no metric 'modularity'; pass the one that measure returns, of modularity_terms")
    if rows.duplicated(["repeat", "depth"]).any():
        raise ValueError("the table has several rows for one repeat and depth; pass that of one network")
    q = rows.pivot(index="repeat", columns="depth", values="value")
    if len(q) < 2 and tolerance is None:
        raise ValueError("one repeat says nothing about chance; measure several repeats, or state a tolerance")
    gain = q.diff(axis=1)
    reach = tolerance
    if reach is None:
        reach = gain.std(skipna=False) * stats.t.ppf((1 + confidence) / 2, len(q) - 1) / len(q) ** 0.5
    table = rows.drop_duplicates("depth")[["layer", "depth"]].set_index("depth").sort_index()
    table["modularity"], table["gain"] = (one.mean(skipna=False) for one in (q, gain))
    table["gain_low"], table["gain_high"] = table.gain - reach, table.gain + reach
    table["phase"] = "plateau"
    table.loc[table.gain_low > 0, "phase"] = "separation"
    table.loc[table.gain_high < 0, "phase"] = "degradation"
    table["phase"] = table.phase.where(table.gain.notna())
    return table.reset_index()[["layer", "depth", "modularity", "gain", "gain_low", "gain_high", "phase"]]


def count_phases(curves: pd.DataFrame) -> pd.DataFrame:
    """Counts the layers of each phase of several networks and data sets.

    Args:
        curves: Tables of `redundant_layers` one under the other, with columns `network` and `dataset`.

    Returns:
        One row a network and data set: `network`, `dataset`, `num_layers`, the number of layers of each phase
        (`separation`, `plateau`, `degradation`), `first_q`, `lowest_q` and `last_q`.

    Example:
        >>> curves = pd.DataFrame({"network": "vgg11", "dataset": "digits", "depth": [1, 2], "modularity": [0.1, 0.8]})
        >>> count_phases(curves.assign(phase=[None, "separation"])).iloc[0, 2:].tolist()
        [2.0, 1.0, 0.0, 0.0, 0.1, 0.1, 0.8]
    """
    groups = curves.sort_values("depth", kind="stable").groupby(["network", "dataset"], sort=False)
    q = groups.modularity
    table = q.agg(num_layers="size", first_q=lambda one: one.iloc[0], lowest_q="min", last_q=lambda one: one.iloc[-1])
    for place, phase in enumerate(PHASES, start=1):
        counted = (curves.phase == phase).groupby([curves.network, curves.dataset]).sum()
        table.insert(place, phase, counted.reindex(table.index))
    order = curves.drop_duplicates(["network", "dataset"])[["network", "dataset"]]
    return order.merge(table.reset_index())


def plan_removal(
    model: nn.Module,
    samples: Any,
    labels: Any = None,
    *,
    num_layers: int | None = None,
    max_macs: float | None = None,
    criterion: str | Callable[[State], dict[str, float]] = "anchored_modularity",
    layers: str | Sequence[str] | pd.DataFrame | None = None,
    at: str | None = None,
    k: int = 3,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Chooses layers to remove, one after the other, each by what the network does without it and those before it.

    Args:
        model: The network; it stays as it is. Of a compiled or `DataParallel` one the network inside is meant.
        samples: The samples that choose: a few hundred, none of which should judge the result. As in
            `graphmod.samples.collect`: one tensor, also of a data set or a loader.
        labels: Integers `[N]`; those that come with the samples if None.
        num_layers: How many layers to remove. Either this or `max_macs`.
        max_macs: Removes layers until the network needs at most so many multiply-adds a sample, or, if it is at most 1,
            such a share of what it needed.
        criterion: A file of `graphmod/criteria`, or a function like those. The default asks, greedily, without which
            layer each sample stays nearest to where the whole network puts others of its class; of the criteria of
            modularity it keeps the most accuracy. Where many layers go and training follows, `plateau_by_stage` ends
            higher, see docs/studies.md.
        layers: Those that may go; all that can if None. A table of `removable_layers(model, sample)` is taken as it is.
        at: The layer whose modularity counts, not inside one that may go; the last block that runs if None.
        k: Neighbours of each sample.
        seed: Seed of criteria that draw at random.
        progress: Shows a progress bar on a terminal.

    Returns:
        One row a removal, in order: `step` (from 1), `layer`, `damage` by the criterion, `reason`, and `macs` and
        `num_parameters` of what is left. `drop_layers(model, plan)` carries it out.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If not exactly one of `num_layers` and `max_macs` is given, if it cannot be reached, if a layer, or
            all that were chosen together, cannot be removed, or if `at` does not name one layer outside of those.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> x = torch.rand(40, 4)
        >>> plan = plan_removal(model, x, x[:, 0].round().long(), num_layers=1)
        >>> len(plan), cost(drop_layers(model, plan), x)["macs"]
        (1, 24)
    """
    if (num_layers is None) == (max_macs is None):
        raise ValueError(f"give either num_layers or max_macs; got {num_layers} and {max_macs}")
    x, y = collect(samples, labels)
    model = unwrapped(model)
    left = _candidates(model, x[:2], layers)
    if num_layers is not None and not (isinstance(num_layers, Integral) and 1 <= num_layers <= len(left)):
        raise ValueError(f"num_layers must be from 1 to {len(left)}, the layers that can go; got {num_layers}")
    limit = None if max_macs is None else macs_limit(model, x[:1], left, max_macs)
    judge = find_criterion(criterion) if isinstance(criterion, str) else criterion
    name = criterion if isinstance(criterion, str) else getattr(criterion, "__name__", "criterion")
    at = judging_layer(model, x[:2], left, at)
    known: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    removed: list[str] = []
    with tqdm(desc=name, total=num_layers, unit="layer", leave=False, disable=not progress or None) as bar:
        while len(removed) != num_layers and (limit is None or not rows or rows[-1]["macs"] > limit):
            current = skip_layers(model, removed, x)
            damage = judge(State(current, model, x, y, left, at, k, seed + len(removed), known))
            if missing := [layer for layer in left if layer not in damage]:
                raise ValueError(
                    f"criterion {name!r} must give a damage for each layer; there is none for {missing[0]!r}"
                )
            damage = {layer: math.inf if math.isnan(worth) else worth for layer, worth in damage.items()}
            layer, *following = sorted(left, key=damage.__getitem__)
            reason = f"{name}: {damage[layer]:.4g}, the least of {len(left)}"
            reason += f"; next {following[0]}, {damage[following[0]]:.4g}" if following else ""
            left.remove(layer)
            removed.append(layer)
            check_together(model, x[:2], removed)
            now = cost(without(model, removed), x[:1])
            row = {"step": len(removed), "layer": layer, "damage": damage[layer], "reason": reason}
            rows.append({**row, "macs": now["macs"], "num_parameters": now["num_parameters"]})
            bar.update()
    return pd.DataFrame(rows)


def _candidates(model: nn.Module, sample: Tensor, layers: str | Sequence[str] | pd.DataFrame | None) -> list[str]:
    """The layers that may go, as `plan_removal` is told them."""
    if isinstance(layers, pd.DataFrame):
        return that_can_go(layers)
    names = [layers] if isinstance(layers, str) else layers
    table = removable_layers(model, sample, names)
    if names is None:
        return that_can_go(table)
    check_removable(table, names)
    return [layer for layer in that_can_go(table) if layer in names]


def macs_limit(model: nn.Module, sample: Tensor, layers: Sequence[str], max_macs: float) -> float:
    """Returns how many multiply-adds a sample a network may need, which `max_macs` says as `plan_removal` takes it.

    Raises:
        ValueError: If the network without any of the layers needs more, or the whole one no more.
    """
    whole, least = (cost(one, sample)["macs"] for one in (model, without(model, layers)))
    limit = max_macs if max_macs > 1 else max_macs * whole
    if not least <= limit < whole:
        raise ValueError(
            f"max_macs must be at least {least / whole:.3f} and below 1, or at least {least} and below {whole}; "
            f"got {max_macs}"
        )
    return limit


def judging_layer(model: nn.Module, sample: Tensor, layers: Sequence[str], at: str | None = None) -> str:
    """Returns the layer whose modularity counts: the last block that runs, or the layer that may go and holds it.

    Args:
        model: The network.
        sample: At least two samples that it takes.
        layers: Those that may go.
        at: The layer that is asked for, by name.

    Raises:
        ValueError: If `at` is not one layer that runs once, or is inside one that may go.
    """
    names = list(layer_sizes(model, sample, "blocks" if at is None else at))
    once = [name for name in names if "@" not in name]
    if at is not None and (len(names) > 1 or not once):
        raise ValueError(f"at must be one layer that runs once; got {at!r}, which is {', '.join(names)}")
    last = (once or layers)[-1]
    holder = next((layer for layer in layers if last.startswith(f"{layer}.")), None)
    if at is not None and holder:
        raise ValueError(
            f"at must not be inside a layer that may go; got {at!r}, which is inside {holder!r}: name that"
        )
    return holder or last


def beyond_layout(model: nn.Module, layout: Sequence[int]) -> list[str]:
    """Lists the layers beyond the first few of each stage, for `drop_layers`: the network of a stated layout is left.

    Args:
        model: A network of stages, such as a ResNet.
        layout: How many layers of each stage stay, such as (2, 3, 6) of a ResNet-56's (9, 9, 9).

    Returns:
        Names, in the order of the model.

    Raises:
        ValueError: If there is another number of stages, or a stage has fewer layers.

    Example:
        >>> from graphmod.models import build
        >>> beyond_layout(build("resnet20"), (2, 3, 1))
        ['layer1.2', 'layer3.1', 'layer3.2']
    """
    there = stages([layer for layer in removable_layers(model).layer if "." in layer])
    sizes = [len(stage) for stage in there.values()]
    if len(layout) != len(sizes) or any(not 0 <= few <= size for few, size in zip(layout, sizes, strict=True)):
        raise ValueError(f"layout must be at most {sizes}, the layers of each stage; got {list(layout)}")
    return [layer for few, stage in zip(layout, there.values(), strict=True) for layer in stage[few:]]
