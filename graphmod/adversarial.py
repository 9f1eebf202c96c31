"""What an attack does to the separation of the classes, beside what its controls do."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from ._files import readable
from ._finished import Finished
from .activations import evaluation
from .attacks import attack_settings, find_attack
from .communities import compare_communities, leiden
from .curves import dynamic_graph, measure, published_curve, published_curves, summarize
from .graphs._dynamic import DynamicGraph
from .metrics._neighbors import agreement
from .metrics.modularity import modularity
from .models._normalize import Normalize
from .samples import draw
from .significance import standard_error


def recognized(model: nn.Module, images: Tensor, labels: Tensor, num_samples: int, *, seed: int = 0) -> Tensor:
    """Draws images that a network takes for what they are: only those can be fooled.

    Args:
        model: A classifier of `images`.
        images: `[N, C, H, W]`.
        labels: Int64 `[N]`.
        num_samples: How many, stratified by class.
        seed: Seed of the draw.

    Returns:
        Row numbers, int64 `[num_samples]`, rising.

    Raises:
        ValueError: If the network is right on fewer.
    """
    right = (predictions(model, images).argmax(1) == labels).nonzero().flatten()
    if len(right) < num_samples:
        raise ValueError(
            f"{num_samples} images are to be attacked, and the network is right on {len(right)} of {len(labels)}; "
            "lower num_samples or take more images"
        )
    return right[draw(labels[right], num_samples, seed=seed)[0]].sort().values


def predictions(model: nn.Module, images: Tensor, *, batch_size: int = 250) -> Tensor:
    """Returns what a network gives for images, in evaluation mode, on the device of the images.

    Args:
        model: The network; its mode stays.
        images: `[N, ...]`.
        batch_size: Images in one forward pass.
    """
    home = next(model.parameters(), images).device
    with torch.no_grad(), evaluation(model):
        return torch.cat([model(x.to(home)) for x in images.split(batch_size)]).to(images.device)


def attacked(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    name: str,
    *,
    batch_size: int = 100,
    progress: bool = True,
    **settings: Any,
) -> Tensor:
    """Attacks images; in a study each finished batch is kept, so that a stopped one goes on from there.

    Args:
        model: A classifier of images in [0, 1].
        images: `[N, C, H, W]` in [0, 1].
        labels: Int64 `[N]`, the true classes.
        name: As in `graphmod.attacks.find_attack`.
        batch_size: Images at a time.
        progress: Shows a progress bar on a terminal.
        **settings: Of the attack; a tensor of one entry an image is split with the images.

    Returns:
        Images of the same shape.

    Raises:
        ValueError: As the attack.
    """
    attack, done = find_attack(name), []
    parts = list(torch.arange(len(images)).split(batch_size))
    for rows in tqdm(parts, name, leave=False, unit="batch", disable=not progress or None):
        own = {key: one[rows] if isinstance(one, Tensor) and one.dim() else one for key, one in settings.items()}
        x, y = images[rows], labels[rows]
        work = Finished("attack", name, model, x, y, own)
        if file := work.done("images"):
            with readable(file, "the images of this attack"):
                done.append(load_file(file)["images"].view_as(x).to(images.device))
            continue
        found = attack(model, x, y, batch_size=batch_size, progress=False, **own)
        work.keep("images", partial(save_file, {"images": found.contiguous().cpu()}))
        done.append(found)
    return torch.cat(done)


def attacks_and_controls(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    attacks: Sequence[str],
    settings: Mapping[str, Any],
    *,
    progress: bool = True,
) -> dict[str, Tensor]:
    """Attacks images in several ways, and puts controls beside them.

    Args:
        model: A classifier of images in [0, 1].
        images: `[N, C, H, W]` in [0, 1].
        labels: Int64 `[N]`, the true classes.
        attacks: Names as in `graphmod.attacks.find_attack`.
        settings: Such as `eps`, `seed` and `compat`, each for the attacks and controls that have it.
        progress: Shows progress bars on a terminal.

    Returns:
        The images of each attack by name, and of the controls: `clip_only`, if the model has a `Normalize` layer;
        `noise`, uniform, of the same eps; and `gaussian`, on each image of the L2 norm of the first attack.

    Raises:
        ValueError: If no attack is named, or as the attacks.
    """
    if not attacks:
        raise ValueError("attacks must name one or more; got none")
    own = {
        name: {key: settings[key] for key in settings if key in attack_settings(name)} for name in [*attacks, "noise"]
    }
    found = {name: attacked(model, images, labels, name, progress=progress, **own[name]) for name in attacks}
    if any(isinstance(module, Normalize) for module in model.modules()):
        found["clip_only"] = attacked(model, images, labels, "clip_only", progress=progress)
    found["noise"] = attacked(model, images, labels, "noise", progress=progress, **own["noise"])
    size = (found[attacks[0]] - images).flatten(1).norm(dim=1)
    normal = {**own["noise"], "eps": size, "distribution": "gaussian"}
    found["gaussian"] = attacked(model, images, labels, "noise", progress=progress, **normal)
    return found


def strength_sweep(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    name: str,
    strengths: Sequence[float],
    *,
    layers: Any = "blocks",
    k: int = 3,
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
        **settings: Of the attack, where it has them.

    Returns:
        A long table: `eps`, `success`, `layer`, `depth`, `modularity`.
    """
    own = {key: one for key, one in settings.items() if key in attack_settings(name) - {"eps", "compat"}}
    tables = []
    for eps in (0.0, *strengths):
        found = attacked(model, images, labels, name, **own, eps=eps) if eps else images
        curve = summarize(measure(dynamic_graph(model, found, labels, layers, k=k, title=f"eps {eps:.3g}"), modularity))
        success = float((predictions(model, found).argmax(1) != labels).double().mean())
        tables.append(curve[["layer", "depth", "modularity"]].assign(eps=round(eps, 4), success=success))
    return pd.concat(tables, ignore_index=True)


def attack_strength(model: nn.Module, images: Tensor, labels: Tensor, conditions: Mapping[str, Tensor]) -> pd.DataFrame:
    """Says how often each attack succeeds, how sure the network is then, and how large the change is.

    Args:
        model: The network.
        images: `[N, C, H, W]` in [0, 1], as they were.
        labels: Int64 `[N]`.
        conditions: The same images after each attack, by name.

    Returns:
        One row a condition: `condition`, `num_samples`, `success` (share that the network takes for another class),
        `confidence` (mean softmax of what it takes them for), and over the images that changed the medians `l0` (pixels
        that changed in any channel), `l2` and `linf` of the change.

    Example:
        >>> x, y = torch.eye(2).view(2, 2, 1, 1), torch.tensor([0, 1])
        >>> attack_strength(nn.Flatten(), x, y, {"swap": x.flip(0)})[["success", "l0", "linf"]].values.tolist()
        [[1.0, 1.0, 1.0]]
    """
    rows = []
    for name, found in conditions.items():
        probabilities = predictions(model, found).softmax(1)
        change = (found - images).double()
        moved = change.flatten(1).abs().amax(1) > 0
        change = change[moved]
        sizes = {
            "l0": (change != 0).any(1).flatten(1).sum(1).double(),
            "l2": change.flatten(1).norm(dim=1),
            "linf": change.flatten(1).abs().amax(1),
        }
        rows.append(
            {
                "condition": name,
                "num_samples": len(found),
                "success": float((probabilities.argmax(1) != labels).double().mean()),
                "confidence": float(probabilities.amax(1).double().mean()),
                **{key: float(one.median()) if len(one) else 0.0 for key, one in sizes.items()},
            }
        )
    return pd.DataFrame(rows)


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
        of the same samples as they were, `agreement`, the mean share of a sample's neighbours that have its class, and
        of Leiden's communities `modularity_found` and `ami`; and the graphs of all samples by condition. Of the
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
                "agreement": float(agreement(graph, graph.y).nanmean()),
                "modularity_found": float(found["modularity_found"]),
                "ami": float(found["ami"]),
            }
        )
    return pd.DataFrame(rows)


def published_attacks(network: str, attacks: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Returns the curves of Lu et al. 2022 under those of some attacks that they ran, and the clean one, by name.

    Args:
        network: `"ResNet18"` or `"VGG16"`, on CIFAR-10.
        attacks: Names of attacks.

    Example:
        >>> list(published_attacks("ResNet18", ["pgd", "one_pixel", "noise"]))
        ['clean', 'pgd', 'one_pixel']
    """
    ran = {condition.lower(): condition for condition in published_curves().condition.unique()}
    names = {name: ran[key] for name in ("clean", *attacks) if (key := name.replace("_", "")) in ran}
    return {name: published_curve(network, condition=condition) for name, condition in names.items()}


def first_departure(curves: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """Finds the first layer at which Q leaves the band of the clean samples.

    Args:
        curves: A table of `attacked_curves`.
        confidence: How often the band is to hold the Q of a layer, in (0, 1).

    Returns:
        One row a condition other than clean, of all samples: `condition`, `departs_at` and `departs_at_depth`, the
        first layer whose Q is outside clean Q ± z SE (missing where there is none), `change_there` of Q, and
        `change_last`, that in the last layer.
    """
    from scipy.stats import norm

    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1); got {confidence}")
    every = curves[curves.samples == "all"]
    clean = every[every.condition == "clean"].set_index("layer")
    width = float(norm.ppf((1 + confidence) / 2)) * clean.standard_error
    rows = []
    for name, one in every[every.condition != "clean"].groupby("condition", sort=False):
        change = one.set_index("layer").modularity - clean.modularity
        outside = change[change.abs() > width]
        layer = outside.index[0] if len(outside) else None
        depth = int(clean.depth[layer]) if layer else None
        rows.append((name, layer, depth, outside.iloc[0] if layer else None, change.iloc[-1]))
    return pd.DataFrame(rows, columns=["condition", "departs_at", "departs_at_depth", "change_there", "change_last"])
