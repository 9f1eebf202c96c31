"""Which samples a network gets wrong, learned from the graphs of its layers."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv
from tqdm.auto import tqdm

from ._finished import Finished
from ._steps import seeded
from ._tensors import unit_rows
from .curve_tables import summarize
from .graphs._topk import nearest_in

SHARES = 0.5, 0.2  # of the samples: fitted, and held out to stop at the right epoch; the rest judges


class TwoLayers(nn.Module):
    """Two layers, of a graph convolutional network or, for comparison, of the same without edges.

    Args:
        width: Features of a sample.
        hidden: Features between the layers.
        edges: Whether each layer averages over the neighbours, by the weights of the edges.

    Example:
        >>> graph = Data(x=torch.rand(3, 4), edge_index=torch.tensor([[0, 1], [1, 0]]), edge_weight=torch.ones(2))
        >>> TwoLayers(4, 8, edges=True)(graph).shape
        torch.Size([3])

    Reference:
        Kipf and Welling, "Semi-Supervised Classification with Graph Convolutional Networks", ICLR 2017.
    """

    def __init__(self, width: int, hidden: int, *, edges: bool) -> None:
        super().__init__()
        self.edges = edges
        self.first = GCNConv(width, hidden) if edges else nn.Linear(width, hidden)
        self.second = GCNConv(hidden, 1) if edges else nn.Linear(hidden, 1)

    def forward(self, data: Data) -> Tensor:
        """Returns the logit of each sample's being wrong, `[N]`."""
        edges = (data.edge_index, data.edge_weight) if self.edges else ()
        x = F.dropout(self.first(data.x, *edges).relu(), 0.5, self.training)
        logits: Tensor = self.second(x, *edges).flatten()
        return logits


def failure_prediction(
    layers: Iterable[Data],
    probabilities: Tensor,
    *,
    splits: int = 5,
    width: int = 32,
    hidden: int = 32,
    epochs: int = 200,
    k: int = 15,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Predicts at each layer which samples the network gets wrong, and says how well by samples that took no part.

    Half of the samples is fitted, a fifth chooses the epoch, the rest judges, in each of several random splits that
    hold right and wrong samples in their shares. Four predictions:

    - `"gcn"`: two graph convolutions on the layer's graph, of `sample_features`: the first principal components of the
      layer's activations, and the probabilities by size;
    - `"mlp"`: the same two layers and features without edges: the difference is what the graph adds;
    - `"knn"`: how many of the k fitted samples nearest to it in the layer, by cosine, are wrong, by similarity;
    - `"confidence"`: 1 − the largest probability; it is the same at every layer and needs no fit.

    Args:
        layers: A `Data` for each layer, such as a `DynamicGraphDataset`, with `x`, `y`, `edge_index`, `edge_weight`,
            `layer` and `depth`.
        probabilities: Of the classes, floating `[N, C]`.
        splits: Number of random splits.
        width: Principal components.
        hidden: Features between the two layers.
        epochs: Steps of Adam, each over all fitted samples.
        k: Neighbours of the baseline.
        seed: Seed of the splits and of the weights.
        progress: Shows a progress bar on a terminal.

    Returns:
        `layer`, `depth`, `split`, `method`, `auroc` and `average_precision` in [0, 1] of telling wrong samples from
        right ones, and `wrong`, the share of wrong samples, which is the average precision of a guess.

    Raises:
        ValueError: If fewer than ten samples are wrong, or fewer than ten right; if a layer has no features x; if a
            number is less than 1.

    Reference:
        Confidence: Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
        Neural Networks", ICLR 2017.
    """
    if min(splits, width, hidden, epochs, k) < 1:
        raise ValueError(
            f"splits, width, hidden, epochs and k must be at least 1; got {splits}, {width}, {hidden}, {epochs} and {k}"
        )
    rows: list[Sequence[Any]] = []
    for data in tqdm(layers, unit="layer", leave=False, disable=not progress or None):
        if data.x is None:
            raise ValueError(f"layer {data.layer!r} has no features x; build the graphs with keep_x=True")
        wrong = (probabilities.argmax(1).cpu() != data.y.cpu()).long()
        if min(int(wrong.sum()), int((1 - wrong).sum())) < 10:
            raise ValueError(
                f"at least ten samples must be wrong and ten right; {int(wrong.sum())} of {len(wrong)} are wrong: take "
                "more samples, or some that the network was not trained on"
            )
        scores = partial(_scores, data, probabilities, wrong, splits, width, hidden, epochs, k, seed)
        rows += Finished(scores).remembered("scores", scores)
    return pd.DataFrame(rows, columns=["layer", "depth", "split", "method", "auroc", "average_precision", "wrong"])


def summarize_failures(table: pd.DataFrame) -> pd.DataFrame:
    """Averages a table of `failure_prediction` over its splits.

    Returns:
        One row a layer: `layer`, `depth`, for each method its mean AUROC, `gcn`, `mlp`, `knn`, `confidence`, and their
        standard deviations over the splits, `<method>_std`.

    Example:
        >>> one = pd.DataFrame({"layer": "fc", "depth": 1, "split": [0, 1], "method": "gcn", "auroc": [0.7, 0.9]})
        >>> summarize_failures(one).round(3).to_dict("records")
        [{'layer': 'fc', 'depth': 1, 'gcn': 0.8, 'gcn_std': 0.141}]
    """
    names = {"split": "repeat", "method": "metric", "auroc": "value"}
    return summarize(table.rename(columns=names)).drop(columns="num_repeats")


def sample_features(x: Tensor, probabilities: Tensor, width: int, seed: int = 0) -> Tensor:
    """What is learned from: the shape of a sample's activations, and how sure the network is of it.

    Args:
        x: Activations `[N, ...]`.
        probabilities: Of the classes `[N, C]`.
        width: Principal components of the activations' rows of length 1; fewer if N or D is less.
        seed: Seed of the randomised decomposition.

    Returns:
        The components and the logarithms of the probabilities from the largest to the smallest, each column with mean 0
        and deviation 1, float32 `[N, width + C]`.

    Example:
        >>> sample_features(torch.eye(3), torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]), 1).shape
        torch.Size([3, 3])
    """
    from sklearn.decomposition import PCA

    rows = unit_rows(x.flatten(1).cpu()).float().numpy()
    found = PCA(min(width, *rows.shape), svd_solver="randomized", random_state=seed).fit_transform(rows)
    logs = probabilities.cpu().double().clamp(min=1e-12).log().sort(1, descending=True).values
    features = torch.cat([torch.from_numpy(found).double(), logs], 1)
    return ((features - features.mean(0)) / features.std(0).clamp(min=1e-9)).float()


def _scores(
    data: Data,
    probabilities: Tensor,
    wrong: Tensor,
    splits: int,
    width: int,
    hidden: int,
    epochs: int,
    k: int,
    seed: int,
) -> list[tuple[Any, ...]]:
    """The rows of one layer in the table of `failure_prediction`."""
    from sklearn.metrics import average_precision_score, roc_auc_score
    from sklearn.model_selection import train_test_split

    rows: list[tuple[Any, ...]] = []
    features = sample_features(data.x, probabilities, width, seed)
    one = Data(x=features, edge_index=data.edge_index.cpu(), edge_weight=data.edge_weight.cpu())
    for split in range(splits):
        fitted, other = train_test_split(
            np.arange(len(wrong)), train_size=SHARES[0], stratify=wrong, random_state=seed + split
        )
        chooses, judges = train_test_split(
            other, train_size=SHARES[1] / (1 - SHARES[0]), stratify=wrong[other], random_state=seed + split
        )
        parts = [torch.from_numpy(part) for part in (fitted, chooses, judges)]
        scores = {
            "gcn": _fit(one, wrong, parts, hidden, epochs, seed + split, edges=True),
            "mlp": _fit(one, wrong, parts, hidden, epochs, seed + split, edges=False),
            "knn": _vote(data.x.cpu(), wrong, parts[0], k),
            "confidence": 1 - probabilities.max(1).values.cpu(),
        }
        truth = wrong[judges].numpy()
        rows += [
            (
                data.layer, data.depth, split, method, float(roc_auc_score(truth, score[judges].numpy())),
                float(average_precision_score(truth, score[judges].numpy())), float(wrong.double().mean()),
            )
            for method, score in scores.items()
        ]  # fmt: skip
    return rows


def _fit(data: Data, wrong: Tensor, parts: list[Tensor], hidden: int, epochs: int, seed: int, *, edges: bool) -> Tensor:
    """Scores of all samples at the epoch at which those held out are told apart best."""
    from sklearn.metrics import roc_auc_score

    fitted, chooses, _ = parts
    with seeded(seed, torch.device("cpu")):
        model = TwoLayers(data.x.shape[1], hidden, edges=edges)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
        rarity = (1 - wrong[fitted]).sum() / wrong[fitted].sum()
        best, scores = -1.0, torch.zeros(len(wrong))
        for _ in range(epochs):
            model.train()
            loss = F.binary_cross_entropy_with_logits(
                model(data)[fitted], wrong[fitted].float(), pos_weight=rarity.float()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                found = model(data)
            auroc = float(roc_auc_score(wrong[chooses].numpy(), found[chooses].numpy()))
            if auroc > best:
                best, scores = auroc, found
    return scores


def _vote(x: Tensor, wrong: Tensor, fitted: Tensor, k: int) -> Tensor:
    """The share of wrong ones among each sample's k nearest fitted samples, itself left out, by similarity."""
    x = x.flatten(1)
    weight, near = nearest_in(x, x[fitted], min(k, len(fitted) - 1), own=fitted)
    weight = weight.clamp(min=0)
    return (weight * wrong[fitted][near]).sum(1) / weight.sum(1).clamp(min=1e-12)
