"""What an attack does to the separation of the classes, layer by layer, beside what its controls do."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor, nn

from .adversarial import attacked
from .attacks import attack_settings
from .communities import compare_communities, leiden
from .curve_tables import summarize
from .curves import dynamic_graph, measure
from .graphs._dynamic import DynamicGraph
from .inputs import predictions
from .metrics.label_overlap import label_overlap
from .metrics.modularity import modularity
from .uncertainty import num_standard_errors, standard_error


def attacked_curves(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    conditions: Mapping[str, Tensor],
    *,
    layers: Any = "blocks",
    k: int = 3,
    seed: int = 0,
) -> tuple[pd.DataFrame, dict[str, DynamicGraph]]:
    """Measures the curve of the same samples, clean and under each condition: of all, and of those that were fooled.

    Args:
        model: The network.
        images: `[N, C, H, W]` in [0, 1], as they were.
        labels: Int64 `[N]`.
        conditions: The same images after each attack, by name.
        layers: As in `layer_names`.
        k: Neighbours of each sample.
        seed: Seed of Leiden.

    Returns:
        A long table, first the condition `clean`: `condition`, `samples` (`"all"` or `"fooled"`: those that the network
        takes for another class), `num_samples`, `layer`, `depth`, `modularity` and its `standard_error`, `clean`, the Q
        of the same samples as they were, `label_overlap`, the mean share of a sample's neighbours that have its class,
        and of Leiden's communities `modularity_found` and `ami`; and the graphs of all samples by condition. Of the
        fooled, classes with at most k samples are left out; there are no rows where fewer than two classes remain.
    """
    clean = dynamic_graph(model, images, labels, layers, k=k, title="clean")
    graphs, tables = {"clean": clean}, [attacked_curve("clean", clean, clean, seed=seed)]
    for name, found in conditions.items():
        graphs[name] = dynamic_graph(model, found, labels, layers, k=k, title=name)
        tables.append(attacked_curve(name, graphs[name], clean, seed=seed))
        some = predictions(model, found).argmax(1) != labels
        some &= labels[some].bincount(minlength=int(labels.max()) + 1)[labels] > k
        if len(labels[some].unique()) > 1:
            few = dynamic_graph(model, found[some], labels[some], layers, k=k, title=f"{name}, fooled")
            same = dynamic_graph(model, images[some], labels[some], layers, k=k, title=f"{name}, clean")
            tables.append(attacked_curve(name, few, same, samples="fooled", seed=seed))
    return pd.concat(tables, ignore_index=True), graphs


def attacked_curve(
    name: str, graphs: DynamicGraph, clean: DynamicGraph, *, samples: str = "all", seed: int = 0
) -> pd.DataFrame:
    """Measures one condition: rows as those of `attacked_curves`.

    Args:
        name: The condition.
        graphs: Its graphs.
        clean: Graphs of the clean samples, with the same layers.
        samples: What the column `samples` says.
        seed: Seed of Leiden.
    """
    rows = []
    for depth, (layer, graph) in enumerate(graphs.items(), start=1):
        found = compare_communities(graph, leiden(graph, seed=seed))
        rows.append(
            {
                "condition": name,
                "samples": samples,
                "num_samples": graph.num_nodes,
                "layer": layer,
                "depth": depth,
                "modularity": float(modularity(graph)),
                "standard_error": float(standard_error(graph)),
                "clean": float(modularity(clean[layer])),
                "label_overlap": float(label_overlap(graph)),
                "modularity_found": float(found["modularity_found"]),
                "ami": float(found["ami"]),
            }
        )
    return pd.DataFrame(rows)


def strength_sweep(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    name: str,
    strengths: Sequence[float],
    *,
    layers: Any = "blocks",
    k: int = 3,
    seed: int = 0,
    **settings: Any,
) -> pd.DataFrame:
    """Measures Q by layer under one attack at several strengths.

    Args:
        model: A classifier of images in [0, 1].
        images: `[N, C, H, W]` in [0, 1].
        labels: Int64 `[N]`, the true classes.
        name: An attack with the setting `eps`.
        strengths: The eps; 0 stands before them for the images as they are.
        layers: As in `layer_names`.
        k: Neighbours of each sample.
        seed: Of an attack that draws.
        **settings: Of the attack.

    Returns:
        A long table: `eps`, `success`, `layer`, `depth`, `modularity`.

    Raises:
        TypeError, ValueError: As the attack.
    """
    settings |= {"seed": seed} if "seed" in attack_settings(name) else {}
    tables = []
    for eps in (0.0, *strengths):
        found = attacked(model, images, labels, name, eps=eps, **settings) if eps else images
        curve = summarize(measure(dynamic_graph(model, found, labels, layers, k=k, title=f"eps {eps:.3g}"), modularity))
        success = float((predictions(model, found).argmax(1) != labels).double().mean())
        tables.append(curve[["layer", "depth", "modularity"]].assign(eps=eps, success=success))
    return pd.concat(tables, ignore_index=True)


def first_departure(curves: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Finds the first layer at which Q leaves the band of the clean samples.

    Args:
        curves: A table of `attacked_curves`.
        confidence: Confidence level of the band, in (0, 1).

    Returns:
        One row a condition other than clean, of all samples: `condition`, `departs_at` and `departs_at_depth`, the
        first layer whose Q is outside clean Q ± z SE (missing where there is none), `change_there` of Q, and
        `change_last`, that in the last layer.
    """
    reach = num_standard_errors(confidence)
    every = curves[curves.samples == "all"]
    clean = every[every.condition == "clean"].set_index("layer")
    rows = []
    for name, one in every[every.condition != "clean"].groupby("condition", sort=False):
        change = one.set_index("layer").modularity - clean.modularity
        outside = change[change.abs() > reach * clean.standard_error]
        layer = outside.index[0] if len(outside) else None
        depth = int(clean.depth[layer]) if layer else None
        rows.append((name, layer, depth, outside.iloc[0] if layer else None, change.iloc[-1]))
    return pd.DataFrame(rows, columns=["condition", "departs_at", "departs_at_depth", "change_there", "change_last"])
