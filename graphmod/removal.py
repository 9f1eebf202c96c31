"""What is left of a network as its layers go: the criteria of removal side by side."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ._finished import Finished
from ._layers import unwrapped
from ._passes import copied
from .batch_norm import reestimate_batch_norm
from .costs import cost
from .criteria import State, find_criterion
from .pruning import judging_layer, plan_removal
from .samples import collect, draw, others
from .surgery import removable_layers, that_can_go, without
from .training import accuracy


def removal_curves(
    model: nn.Module,
    samples: Any,
    labels: Any = None,
    *,
    criteria: Sequence[str],
    removed: Sequence[int],
    num_samples: int = 200,
    splits: int = 5,
    draws: Mapping[str, int] | None = None,
    k: int = 3,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Measures the accuracy that is left after some removals, for each criterion, with no training at all.

    In each split some samples choose the layers and all others judge the network; the choosing samples of different
    splits are disjoint, too. Batch-norm statistics are re-estimated on the choosing samples, without their labels.

    Args:
        model: The network; it stays as it is.
        samples: As in `graphmod.samples.collect`.
        labels: Integers `[N]`; those that come with the samples if None.
        criteria: Names in `graphmod/criteria`.
        removed: Numbers of layers at which the network is judged.
        num_samples: Samples that choose.
        splits: Number of splits.
        draws: How often a criterion is asked in each split, with another seed, if not once; `{"random": 4}`.
        k: Neighbours of each sample, for criteria of modularity.
        seed: Seed of the splits and of criteria that draw at random.
        progress: Shows progress bars on a terminal.

    Returns:
        One row a criterion, split, draw and number of layers, and one with `removed` 0 for each split: `criterion`,
        `split`, `draw`, `removed`, `layer` (the last one removed), `num_parameters`, `macs`, `activation_memory`,
        `accuracy` in [0, 1], and `accuracy_reestimated`, after re-estimating batch norm.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If a criterion is unknown, there are too few samples, or more layers are to go than can.
    """
    for name in criteria:
        find_criterion(name)
    if not criteria or not removed or min(removed) < 1:
        raise ValueError(
            "criteria and removed must hold at least one entry each, removed numbers from 1 on; "
            f"got {list(criteria)} and {list(removed)}"
        )
    if draws and min(draws.values()) < 1:
        raise ValueError(f"draws must be at least 1; got {dict(draws)}")
    x, y = collect(samples, labels)
    model = unwrapped(model)
    if x.dim() == 4:
        model = copied(model).to(memory_format=torch.channels_last)  # a fifth faster on a CPU
    there = removable_layers(model, x[:2])
    asked = [(name, one) for name in criteria for one in range((draws or {}).get(name, 1))]
    tables = []
    with tqdm(total=splits * len(asked), unit="plan", leave=False, disable=not progress or None) as bar:
        for split, chosen in enumerate(draw(y, num_samples, splits, seed=seed)):
            judges = others(chosen, len(x))
            known: dict[frozenset[str], dict[str, float]] = {}
            for name, one in asked:
                work = Finished(find_criterion(name), model, x, y, chosen, list(removed), k, seed)
                plan = partial(
                    plan_removal, model, x[chosen], y[chosen], num_layers=max(removed), criterion=name, layers=there,
                    k=k, seed=seed + 1000 * (one + 1000 * split), progress=progress,
                )  # fmt: skip
                judge = partial(_judged, model, plan, removed, x[chosen], x[judges], y[judges], known)
                rows = work.remembered(f"{name} {one}", judge)
                tables.append(pd.DataFrame(rows).assign(criterion=name, split=split, draw=one))
                bar.update()
    first = ["criterion", "split", "draw"]
    table = pd.concat(tables, ignore_index=True)
    return table[[*first, *table.columns.drop(first)]]


def single_removals(
    model: nn.Module, samples: Any, labels: Any = None, *, num_samples: int = 200, k: int = 3, seed: int = 0
) -> pd.DataFrame:
    """Compares what the curve says of each layer with what the network does without it.

    Args:
        model: The network; it stays as it is.
        samples: As in `graphmod.samples.collect`.
        labels: Integers `[N]`; those that come with the samples if None.
        num_samples: Samples that the modularity is measured on; all others measure the accuracy.
        k: Neighbours of each sample.
        seed: Seed of the draw.

    Returns:
        One row a layer that can go: `layer`; `gain` of Q across it, the absolute `change`, the `modularity` of the last
        layer without it; `accuracy` without it, in [0, 1], and `accuracy_loss`, that of the whole network less this.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If there are too few samples, or no layer can go.
    """
    x, y = collect(samples, labels)
    model = unwrapped(model)
    chosen = draw(y, num_samples, seed=seed)[0]
    judges = others(chosen, len(x))
    layers = that_can_go(removable_layers(model, x[:2]))
    state = State(model, model, x[chosen], y[chosen], layers, judging_layer(model, x[:2], layers), k, seed)
    gain, last = find_criterion("gain")(state), find_criterion("modularity")(state)
    whole = accuracy(model, x[judges], y[judges])
    rows = []
    for layer in layers:
        left = accuracy(without(model, [layer]), x[judges], y[judges])
        rows.append((layer, gain[layer], abs(gain[layer]), -last[layer], left, whole - left))
    return pd.DataFrame(rows, columns=["layer", "gain", "change", "modularity", "accuracy", "accuracy_loss"])


def compare_networks(networks: Mapping[str, nn.Module], chosen: Tensor, images: Tensor, labels: Tensor) -> pd.DataFrame:
    """Says what networks cost and how often they are right.

    Args:
        networks: Networks by name; they stay as they are.
        chosen: Images to re-estimate batch norm on, `[M, ...]`, other than those that judge.
        images: Images that judge, `[N, ...]`.
        labels: Their labels, int64 `[N]`.

    Returns:
        One row a network: `network`, `num_parameters`, `macs`, `activation_memory` (see `graphmod.costs.cost`),
        `accuracy` and `accuracy_reestimated`, in [0, 1].
    """
    rows = [{"network": name, **_judge(one, chosen, images, labels)} for name, one in networks.items()]
    return pd.DataFrame(rows)


def _judge(model: nn.Module, chosen: Tensor, images: Tensor, labels: Tensor) -> dict[str, float]:
    return {
        **cost(model, images[:1]),
        "accuracy": accuracy(model, images, labels),
        "accuracy_reestimated": accuracy(reestimate_batch_norm(model, chosen), images, labels),
    }


def _judged(
    model: nn.Module,
    plan: Callable[[], pd.DataFrame],
    removed: Sequence[int],
    chosen: Tensor,
    images: Tensor,
    labels: Tensor,
    known: dict[frozenset[str], dict[str, float]],
) -> list[dict[str, Any]]:
    """The rows of one plan; the same layers gone in another order are not judged twice."""
    rows, layers = [], list(plan().layer)
    for n in sorted({0, *removed}):
        gone = frozenset(layers[:n])
        if gone not in known:
            known[gone] = _judge(without(model, gone), chosen, images, labels)
        rows.append({"removed": n, "layer": layers[n - 1] if n else None, **known[gone]})
    return rows
