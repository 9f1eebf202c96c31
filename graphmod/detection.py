"""Attacked samples known by the company they keep: whose neighbours change class, and whether that gives them away."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from .activations import each_layer
from .adversarial import recognized
from .graphs._topk import nearest_in
from .inputs import pixels, predictions
from .metrics._neighbors import vote
from .samples import others


def lost_neighbors(clean: Mapping[str, Any], moved: Mapping[str, Any]) -> tuple[pd.DataFrame, list[str | None]]:
    """Says at which layers samples lose the neighbours of their class.

    Args:
        clean: The graphs of samples as they were, a `DynamicGraph`.
        moved: The graphs of the same samples after an attack.

    Returns:
        A row a layer: `layer`, `depth`, `lost`, the share of the samples whose neighbours' majority was their class and
        no longer is, and `won`, the share of those where it is the other way round; and for each sample the first layer
        where it is lost, or None.
    """
    rows = []
    first: list[str | None] = [None] * next(iter(clean.values())).num_nodes
    for depth, (layer, graph) in enumerate(clean.items(), start=1):
        before = vote(graph, graph.y) == graph.y
        after = vote(moved[layer], graph.y) == graph.y
        lost, won = before & ~after, ~before & after
        rows.append((layer, depth, float(lost.double().mean()), float(won.double().mean())))
        first = [layer if one is None and out else one for one, out in zip(first, lost.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=["layer", "depth", "lost", "won"]), first


def attacked_and_bank(
    model: nn.Module, images: Tensor, labels: Tensor, num_samples: int, *, k: int = 10, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Draws the images that are to be attacked, see `recognized`, and leaves the others as the bank of `detection`.

    Args:
        model: A classifier of `images`.
        images: `[N, C, H, W]`.
        labels: Int64 `[N]`.
        num_samples: How many are to be attacked.
        k: As in `detection`, which needs so many images in the bank.
        seed: Seed of the draw.

    Returns:
        Row numbers of both, int64.

    Raises:
        ValueError: If the network is right on fewer, or one of the two parts is too small for `detection`.
    """
    chosen = recognized(model, images, labels, num_samples, seed=seed)
    rest = others(chosen, len(labels))
    _check_sizes(len(rest), len(chosen), k)
    return chosen, rest


def _check_sizes(bank: int, images: int, k: int) -> None:
    if bank < k or images < 4:
        raise ValueError(f"detection needs k = {k} images in the bank and 4 others; got {bank}, {images}")


def detection(
    model: nn.Module,
    bank: tuple[Tensor, Tensor],
    images: Tensor,
    conditions: Mapping[str, Tensor],
    *,
    layers: Any = "blocks",
    k: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Tells attacked images from clean ones by the company they keep on their way through the layers.

    At each layer, the share of an image's k nearest images in a bank whose class is what the network takes it for. A
    logistic regression on these shares over depth is fitted to one half of the images, clean and attacked, and judged
    on the other half. The image's own label is not used.

    Args:
        model: The network.
        bank: Clean images `[M, C, H, W]`, none of them in `images`, and their labels `[M]`.
        images: `[N, C, H, W]` in [0, 1], as they were.
        conditions: The same images after each attack, by name.
        layers: As in `layer_names`.
        k: Neighbours in the bank.
        seed: Seed of the halves.

    Returns:
        One row a condition: `condition`, `auroc` of the regression on the held-out half, in [0, 1], and
        `best_layer`, the one whose share alone separates the fitted half best, with its `best_auroc` on the held-out.

    Raises:
        ValueError: If the bank has fewer than k images, or there are fewer than 4 images.

    Reference:
        Papernot and McDaniel, "Deep k-Nearest Neighbors: Towards Confident, Interpretable and Robust Deep Learning",
        2018, which takes the agreement over the layers as credibility.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _check_sizes(len(bank[1]), len(images), k)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    fitted, judged = order[: len(order) // 2], order[len(order) // 2 :]
    names, (clean, *moved_sets) = _company(model, bank, [images, *conditions.values()], layers, k)
    rows = []
    for name, moved in zip(conditions, moved_sets, strict=True):
        halves = []
        for half in (fitted, judged):
            x = torch.cat([clean[half], moved[half]]).numpy()
            halves.append((x, torch.arange(2).repeat_interleave(len(half)).numpy()))
        (x, y), (x_judged, y_judged) = halves
        judge = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x, y)
        alone = [roc_auc_score(y, -x[:, i]) for i in range(len(names))]
        best = max(range(len(names)), key=alone.__getitem__)
        auroc = roc_auc_score(y_judged, judge.decision_function(x_judged))
        rows.append((name, float(auroc), names[best], float(roc_auc_score(y_judged, -x_judged[:, best]))))
    return pd.DataFrame(rows, columns=["condition", "auroc", "best_layer", "best_auroc"])


def _company(
    model: nn.Module, bank: tuple[Tensor, Tensor], sets: Sequence[Tensor], layers: Any, k: int
) -> tuple[list[str], tuple[Tensor, ...]]:
    """The layers, and of each set `[N, L]` the shares of neighbours that are of the class an image is taken for."""
    images = torch.cat([pixels(one) for one in sets])
    taken, classes = predictions(model, images).argmax(1).cpu(), bank[1].cpu()
    shares = {}
    both = (each_layer(model, x, layers, progress=False) for x in (images, bank[0]))
    for (layer, here), (_, there) in zip(*both, strict=True):
        nearest = nearest_in(here, there, k)[1].cpu()
        shares[layer] = (classes[nearest] == taken[:, None]).double().mean(1)
    return list(shares), torch.stack(list(shares.values()), dim=1).split([len(one) for one in sets])
