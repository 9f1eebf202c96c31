"""Ablation: what of a modularity curve is the network's, and what is the graph's."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, get_args

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from ._finished import Finished
from ._names import unknown
from .activations import each_layer, layer_sizes
from .curve_tables import constant_allowed
from .graphs._build import Symmetrize, neighbor_graph
from .graphs._topk import Metric, nearest_neighbors
from .graphs.euclidean_knn import self_tuning
from .metrics.modularity import modularity
from .samples import collect_inputs, draw

SETTINGS = ["num_samples", "k", "metric", "symmetrize", "weight"]
"""The columns that a setting of the graph consists of."""


def ablation(
    model: nn.Module,
    samples: Any,
    labels: Any = None,
    layers: str | Sequence[str] = "blocks",
    *,
    k: Sequence[int] = (3, 5, 7, 9, 11),
    num_samples: Sequence[int] = (200, 500),
    metrics: Sequence[Metric] = get_args(Metric),
    symmetrize: Sequence[Symmetrize] = get_args(Symmetrize),
    weights: Sequence[str] = ("similarity", "binary"),
    draws: int = 3,
    seed: int = 0,
    batch_size: int = 256,
    max_memory: int | str = "2GB",
    progress: bool = True,
) -> pd.DataFrame:
    """Measures Q of every layer under every setting of the graph, from one neighbour search at the largest k.

    Args:
        model: Any module.
        samples: As in `dynamic_graph`; at least the largest of `num_samples`.
        labels: Integers `[N]`; those that come with the samples if None.
        layers: As in `layer_names`.
        k: Numbers of neighbours.
        num_samples: Numbers of samples.
        metrics: `"cosine"`, weighing max(cosine, 0), or `"euclidean"`, with the weights of `euclidean_knn_graph`.
        symmetrize: `"mean"`, `"union"`, `"mutual"`, see `graphs`.
        weights: `"similarity"`, the weights above, or `"binary"`, 1 for every neighbour.
        draws: Stratified draws of each size; they may overlap.
        seed: Seed of the draws.
        batch_size: Samples in one forward pass.
        max_memory: As in `dynamic_graph`.
        progress: Shows a progress bar on a terminal.

    Returns:
        A long table: `layer`, `depth` (from 1), `num_samples`, `draw` (from 0), `k`, `metric`, `symmetrize`, `weight`,
        `modularity`, and `k_reaches_class`: whether the smallest class of the draw has at most k members, so that some
        neighbours are of other classes whatever the layer does.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If a setting is unknown or empty; if there are fewer samples than asked for, or k is too large.

    Example:
        >>> x = torch.rand(40, 4)
        >>> model, y = nn.Sequential(nn.Linear(4, 8)), x[:, 0].round().long()
        >>> len(ablation(model, x, y, "all", k=[1, 2], num_samples=[20], draws=1))
        24
    """
    for name, given, known in (
        ("metrics", metrics, get_args(Metric)),
        ("symmetrize", symmetrize, get_args(Symmetrize)),
        ("weights", weights, ("similarity", "binary")),
    ):
        if not given or set(given) - set(known):
            raise ValueError(f"{name} must be one or more of {', '.join(known)}; got {', '.join(given) or 'none'}")
    if not k or not num_samples or draws < 1:
        raise ValueError(
            "k and num_samples must hold at least one number each and draws be at least 1; "
            f"got {list(k)}, {list(num_samples)} and {draws}"
        )
    x, y = collect_inputs(samples, labels)
    subsets = [(n, i, draw(y, n, seed=seed + i)[0]) for n in num_samples for i in range(draws)]
    rows: list[Sequence[Any]] = []
    order = list(layer_sizes(model, x, layers))
    work = Finished("ablation", model, x, y, k, num_samples, metrics, symmetrize, weights, draws, seed)
    missing = [layer for layer in order if not work.done(layer)]
    activations = each_layer(model, x, missing, max_memory=max_memory, batch_size=batch_size, progress=progress)
    for depth, layer in enumerate(tqdm(order, unit="layer", leave=False, disable=not progress or None), start=1):
        measure = partial(_measured, activations, y, subsets, k, metrics, symmetrize, weights, layer)
        measured = work.remembered(layer, measure)
        rows += [(str(layer), depth, *row) for row in measured]
    names = ["layer", "depth", "num_samples", "draw", *SETTINGS[1:], "modularity", "k_reaches_class"]
    return pd.DataFrame(rows, columns=names)


def rank_stability(table: pd.DataFrame, **default: Any) -> pd.DataFrame:
    """Says how far each setting puts the layers in the order that the default puts them in.

    Args:
        table: A table of `ablation`.
        **default: The default, such as `k=3`; the published k = 3, cosine, mean, similarity, and the largest number of
            samples, where it is not given.

    Returns:
        One row a setting: `num_samples`, `k`, `metric`, `symmetrize`, `weight`; `spearman`, the rank correlation of the
        layers' mean Q with that of the default; `largest_difference`, of the mean Q of any layer; `k_reaches_class`.

    Raises:
        ValueError: If the default is not in the table, or there is no such setting.

    Example:
        >>> table = pd.DataFrame({"layer": ["a", "b"], "depth": [1, 2], "num_samples": 9, "draw": 0, "k": 3})
        >>> table = table.assign(metric="cosine", symmetrize="mean", weight="similarity", modularity=[0.1, 0.9])
        >>> rank_stability(table.assign(k_reaches_class=False)).spearman.round(9).tolist()
        [1.0]
    """
    for name in default:
        if name not in SETTINGS:
            raise ValueError(unknown("setting", name, SETTINGS))
    published = {"num_samples": table.num_samples.max(), "k": 3, "metric": "cosine", "symmetrize": "mean"}
    wanted = {**published, "weight": "similarity", **default}
    mean = table.groupby([*SETTINGS, "depth"]).modularity.mean().unstack("depth")
    key = tuple(wanted[name] for name in SETTINGS)
    if key not in mean.index:
        raise ValueError(f"the default {wanted} is not one of the settings in the table; name one that is")
    with constant_allowed():
        spearman = mean.T.corrwith(mean.loc[key], method="spearman")
    found = pd.DataFrame({"spearman": spearman, "largest_difference": (mean - mean.loc[key]).abs().max(axis=1)})
    found["k_reaches_class"] = table.groupby(SETTINGS).k_reaches_class.any()
    return found.reset_index()


def _measured(
    activations: Iterator[tuple[str, Tensor]],
    y: Tensor,
    subsets: Sequence[tuple[int, int, Tensor]],
    k: Sequence[int],
    metrics: Sequence[Metric],
    symmetrize: Sequence[Symmetrize],
    weights: Sequence[str],
    layer: str,
) -> list[Sequence[Any]]:
    """The rows of one layer, whose activations come next."""
    features = next(activations)[1]
    rows: list[Sequence[Any]] = []
    for (n, i, chosen), metric in product(subsets, metrics):
        part, classes = features[chosen.to(features.device)], y[chosen].to(features.device)
        smallest = int(classes.unique(return_counts=True)[1].min())
        similarity, index = nearest_neighbors(part, max(k), metric=metric, layer=layer)
        for few, rule, kind in product(k, symmetrize, weights):
            weight = _weights(similarity[:, :few], index[:, :few], metric, kind)
            q = float(modularity(neighbor_graph(index[:, :few], weight, symmetrize=rule), classes))
            rows.append((n, i, few, metric, rule, kind, q, smallest <= few))
    return rows


def _weights(similarity: Tensor, index: Tensor, metric: str, kind: str) -> Tensor:
    if kind == "binary":
        return torch.ones_like(similarity)
    return similarity.clamp(min=0) if metric == "cosine" else self_tuning(similarity.abs(), index)
