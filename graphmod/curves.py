"""Where the stages meet: a network and labelled samples become graphs, and graphs become tables.

modularity_curve = summarize ∘ measure ∘ dynamic_graph, over repeats
"""

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from tqdm.auto import tqdm

from ._finished import Finished
from ._names import nearest
from .activations import each_layer, layer_sizes, num_bytes
from .curve_tables import summarize as summarize
from .distributed import agreed, all_rows, own_rows
from .graphs import find_graph
from .graphs._dynamic import SAVED, DynamicGraph
from .graphs._topk import check_k
from .inputs import num_copies
from .metrics import Metric, Metrics, find_metrics
from .metrics.modularity import modularity_terms
from .pooling import Pool
from .samples import Order, collect, collect_draws, collect_inputs
from .stored import StoredActivations, as_rows


def dynamic_graph(
    model: nn.Module,
    samples: Any,
    labels: Any = None,
    layers: str | Sequence[str] = "blocks",
    *,
    graph: str | Callable[..., Data] = "knn",
    k: int = 3,
    batch_size: int = 256,
    pool: Pool = "flatten",
    max_memory: int | str = "2GB",
    title: str = "",
    progress: bool = True,
    **graph_options: Any,
) -> DynamicGraph:
    """Runs samples through a model and joins them, at each layer, to the samples that the layer puts near them.

    Args:
        model: Any module, on any device; graphs are made where the activations are, for Apple's MPS on the CPU.
        samples: A tensor, tensors by name, a data set, a graph, or batches, see `graphmod.samples.batches`.
        labels: Integers `[N]`, at least two classes; those that come with the samples if None.
        layers: Names or patterns as in `layer_names`.
        graph: A file of `graphmod/graphs`, such as `"mutual_knn"`, or a function `(x, k, *, y, layer, ...) -> Data`.
        k: Neighbours of each sample.
        batch_size: Samples in one forward pass.
        pool: As in `layer_activations`.
        max_memory: How much of the activations is held at a time, as in `each_layer`.
        title: What the progress bars begin with.
        progress: Shows progress bars on a terminal.
        **graph_options: Passed on to `graph`, such as `compat="lu2022"` or `keep_x=True`.

    Returns:
        One graph for each layer. A warning says if samples are copies of one another, or a class has too few for k.

    Raises:
        TypeError: If labels are not integers, a layer gives no tensor, or there is no such option.
        ValueError: If labels, layers or k do not fit, or a layer is constant or holds NaN or Inf.

    Example:
        >>> import torch
        >>> x = torch.rand(20, 4)
        >>> dynamic_graph(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), x, x[:, 0].round().long(), "all")
        DynamicGraph(2 layers, 20 samples, 0 … 1)
    """
    graph = find_graph(graph)
    _check_options(dynamic_graph, graph, graph_options)
    num_bytes(max_memory)  # a wrong one is said also where all graphs are there
    x, y = collect_inputs(samples, labels)
    if copies := num_copies(x):
        warnings.warn(
            f"{copies} of {len(x)} samples are exact copies of others; copies are each other's nearest neighbours and "
            "raise Q: remove them",
            stacklevel=2,
        )
    _check_classes(y, k)
    order = layer_sizes(model, x, layers, pool=pool)
    work, home = Finished("graph", model, x, y, pool, graph, k, graph_options), next(model.parameters(), x).device
    place = torch.device("cpu") if home.type == "mps" else None  # which has no float64
    there = agreed({name: file for name in order if (file := work.done(name))})
    missing, own = [name for name in order if name not in there], own_rows(len(x))  # each process runs its samples
    activations = each_layer(
        model, x[own], missing, max_memory=max_memory, batch_size=batch_size, pool=pool, device=place, title=title,
        progress=progress,
    )  # fmt: skip
    graphs: dict[str, Data] = {}
    shown = not progress or None  # None: on a terminal only
    for name in tqdm(order, f"{title} graphs".strip(), leave=False, unit="layer", disable=shown):
        if name in there:
            graphs[str(name)] = next(iter(DynamicGraph.load(there[name]).values())).to(place or home)
            continue
        features = all_rows(next(activations)[1], len(x))
        graphs[str(name)] = graph(features, k, y=y.to(features.device), layer=str(name), **graph_options)
        del features  # before the next layers run
        if SAVED >= set(graphs[name].keys()) >= {"edge_index", "edge_weight"}:
            with suppress(TypeError, ValueError):  # a graph of another kind is made again
                work.keep(name, DynamicGraph({name: graphs[name]}).save)
    return DynamicGraph(graphs)


def from_activations(
    activations: Mapping[str, Any] | str | Path,
    labels: Any,
    *,
    graph: str | Callable[..., Data] = "knn",
    k: int = 3,
    device: str | torch.device | None = None,
    progress: bool = True,
    **graph_options: Any,
) -> DynamicGraph:
    """Joins samples by activations that somebody already has: no network is run.

    Args:
        activations: By layer, first layer first: floating tensors or arrays `[N, ...]`, flattened to `[N, D]`; memory
            maps are read a layer at a time. Or what `graphmod.stored.StoredActivations` reads: the path of a `.npz` or
            `.safetensors` file, or of a folder of `.npy` files.
        labels: Integers `[N]`, at least two classes.
        graph: As in `dynamic_graph`.
        k: Neighbours of each sample.
        device: Where the graphs are made; where the activations are if None.
        progress: Shows a progress bar on a terminal.
        **graph_options: Passed on to `graph`.

    Returns:
        One graph for each layer.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        TypeError: If labels are not integers, or activations neither a mapping nor floating.
        ValueError: If layers have other numbers of samples than there are labels, k does not fit, a layer is constant
            or holds NaN or Inf, or a file cannot be read.

    Example:
        >>> import torch
        >>> from_activations({"a": torch.rand(20, 4), "b": torch.rand(20, 3, 2)}, torch.arange(20) % 2)
        DynamicGraph(2 layers, 20 samples, a … b)
    """
    layers = StoredActivations(activations) if isinstance(activations, str | Path) else activations
    if not isinstance(layers, Mapping):
        raise TypeError(f"activations must be a mapping from layers to arrays, or a path; got {type(layers).__name__}")
    graph = find_graph(graph)
    _check_options(from_activations, graph, graph_options)
    graphs: dict[str, Data] = {}
    for name in tqdm(layers, "graphs", leave=False, unit="layer", disable=not progress or None):
        x, y = collect(as_rows(layers[name], name), labels)
        if not graphs:
            _check_classes(y, k)
        x = x.to(device)
        graphs[str(name)] = graph(x, k, y=y.to(x.device), layer=str(name), **graph_options)
    return DynamicGraph(graphs)


def measure(graphs: DynamicGraph | Iterable[DynamicGraph], metrics: Metrics = modularity_terms) -> pd.DataFrame:
    """Measures every layer's graph.

    Args:
        graphs: The graphs of a network; or several such, one for each repeat.
        metrics: One or more files of `graphmod/metrics`, or functions of a graph that return a number `[]`, which is
            named after the function, or a dict of numbers by name.

    Returns:
        A long table: `repeat` (from 0), `layer`, `depth` (from 1), `metric`, `value`.

    Raises:
        TypeError: If the graphs are no `DynamicGraph`, a metric is no function, or gives no numbers.
        ValueError: If there is no metric of a name, or two have one name.

    Example:
        >>> import torch
        >>> from graphmod import knn_graph
        >>> graphs = DynamicGraph({"fc": knn_graph(torch.eye(4), k=1, y=torch.tensor([0, 0, 1, 1]))})
        >>> list(measure(graphs).metric)
        ['modularity', 'overlap', 'expected', 'maximum', 'normalized']
    """
    repeats = graphs if isinstance(graphs, Iterable) and not isinstance(graphs, DynamicGraph) else [graphs]
    functions = find_metrics(metrics)
    rows = []
    for repeat, one in enumerate(repeats):
        if not isinstance(one, DynamicGraph):
            raise TypeError(f"graphs must be one DynamicGraph, or several; got {type(one).__name__}")
        for depth, (layer, graph) in enumerate(one.items(), start=1):
            found: dict[str, float] = {}
            for function in functions:
                named = _numbers(function, function(graph))
                if twice := sorted(found.keys() & named.keys()):
                    raise ValueError(f"two metrics are called {twice[0]!r}; let one return a dict with another name")
                found |= named
            rows += [(repeat, layer, depth, name, value) for name, value in found.items()]
    return pd.DataFrame(rows, columns=["repeat", "layer", "depth", "metric", "value"])


def modularity_curve(
    model: nn.Module,
    samples: Any,
    labels: Any = None,
    *,
    layers: str | Sequence[str] = "blocks",
    k: int = 3,
    num_samples: int | None = None,
    repeats: int = 1,
    order: Order = "stratified",
    seed: int = 0,
    **options: Any,
) -> pd.DataFrame:
    """Measures how far a network has pulled the classes apart at each layer.

    Args:
        model: Any module.
        samples: A tensor, tensors by name, a data set, a graph, or batches, see `graphmod.samples.batches`; no more of
            them than are drawn is read where `graphmod.samples.collect_draws` can tell.
        labels: Integers `[N]`, at least two classes; those that come with the samples if None.
        layers: Names or patterns as in `layer_names`.
        k: Neighbours of each sample.
        num_samples: Samples of one graph; all of them, divided by the repeats, if None.
        repeats: Number of disjoint draws; each gives a curve, of which mean and spread are returned.
        order: How they are drawn, `"stratified"` or `"file"`, see `graphmod.samples.draw`.
        seed: Seed of the draws.
        **options: Passed on to `dynamic_graph`.

    Returns:
        One row a layer: `layer`, `depth` (from 1), `modularity`, `overlap`, `expected`, `maximum`, `normalized` (see
        `modularity_terms`), the same with `_std` over the repeats, and `num_repeats`.

    Raises:
        TypeError: If labels are not integers.
        ValueError: As `dynamic_graph`; if there are fewer samples than asked for.

    Example:
        >>> import torch
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.rand(40, 4)
        >>> modularity_curve(model, x, x[:, 0].round().long(), repeats=2)[["layer", "depth", "num_repeats"]]
          layer  depth  num_repeats
        0     0      1            2

    Reference:
        Lu et al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022, section 3. Their protocol is
        `order="file", num_samples=500, repeats=5` on the test images.
    """
    known = inspect.signature(dynamic_graph).parameters
    _check_options(modularity_curve, find_graph(options.get("graph", "knn")), options.keys() - known.keys())
    x, y, draws = collect_draws(samples, labels, num_samples, repeats, order=order, seed=seed)
    graphs = [dynamic_graph(model, x[rows], y[rows], layers, k=k, **options) for rows in draws]
    return summarize(measure(graphs))


def _check_options(function: Callable[..., Any], graph: Callable[..., Data], options: Iterable[str]) -> None:
    """Raises a `TypeError` if a graph does not take some options, of which it names those that the function takes."""
    known = inspect.signature(graph).parameters
    wrong = sorted({"x", "y", "layer"} & set(options))  # which the graph is given in any case
    if not any(one.kind == one.VAR_KEYWORD for one in known.values()):
        wrong += sorted(set(options) - set(known))
    if wrong:
        all_known = {**inspect.signature(dynamic_graph).parameters, **inspect.signature(function).parameters, **known}
        taken = {"x", "y", "layer", *(name for name, one in all_known.items() if one.kind == one.VAR_KEYWORD)}
        names = [name for name in all_known if name not in taken]
        raise TypeError(f"there is no option {wrong[0]!r}; {nearest(wrong[0], names)}")


def _check_classes(y: Tensor, k: int) -> None:
    check_k(k, len(y))
    classes, sizes = y.unique(return_counts=True)
    if sizes.min() <= k:
        warnings.warn(
            f"class {classes[sizes.argmin()]} has {sizes.min()} samples: with k = {k} each of them is joined to other "
            "classes whatever the layer does; lower k or take more samples",
            stacklevel=3,
        )


def _numbers(function: Metric, found: Any) -> dict[str, float]:
    """What a metric has returned, by name; a number alone has the name of the function."""
    while isinstance(function, partial):
        function = function.func
    name = getattr(inspect.unwrap(function), "__name__", type(function).__name__)
    named = found if isinstance(found, Mapping) else {name: found}
    try:
        return {key: float(value) for key, value in named.items()}
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"metric {name!r} must give a number, or some by name; got {type(found).__name__}") from error
