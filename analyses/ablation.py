r"""Ablation: the curve's shape does not depend on the settings of the graph.

Claim (Lu et al. 2022): for k = 3 … 11 neighbours and N = 200 … 5,000 samples the modularity curve keeps its shape. Here
beside k and N also the metric (cosine, Euclidean), the rule that makes the graph undirected (mean, union, mutual) and
the weights (similarity, binary), all from one neighbour search at the largest k; with the rank correlation of the
layers' order with that of the default, and a mark where k reaches the size of a class.

    python -m analyses.ablation
    python -m analyses.ablation --model resnet56 --weights resnet56.pt --dataset folder:cifar10 --split train \
        --num-samples 200,500,1000,2000
"""

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from graphmod.ablation import ablation, rank_stability
from graphmod.commandline import run
from graphmod.datasets import load
from graphmod.models import build, outputs_for
from graphmod.plots.sweep import plot_sweep
from graphmod.reports import result_folder, write_figure, write_settings, write_table

SMOKE = {"num_samples": (60, 100), "k": (3, 5), "draws": 2}


def main(
    *,
    model: str = "digits",
    weights: str | None = "default",
    dataset: str = "digits",
    split: str = "test",
    image_size: int | None = None,
    layers: tuple[str, ...] = ("blocks",),
    k: tuple[int, ...] = (3, 5, 7, 9, 11),
    num_samples: tuple[int, ...] = (200, 500),
    metrics: tuple[Literal["cosine", "euclidean"], ...] = ("cosine", "euclidean"),
    symmetrize: tuple[Literal["mean", "union", "mutual"], ...] = ("mean", "union", "mutual"),
    edge_weights: tuple[Literal["similarity", "binary"], ...] = ("similarity", "binary"),
    draws: int = 3,
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/ablation"),
) -> pd.DataFrame:
    """Runs the study and returns its table.

    Args:
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        weights: A file, or those that come with the model, or none for random ones.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH.
        split: Part of the data set.
        image_size: Scales and crops images to this size.
        layers: Names, globs, blocks or all.
        k: Neighbours of each sample; the first is the default.
        num_samples: Samples of one graph; the largest is the default.
        metrics: Nearness of samples; the first is the default.
        symmetrize: Rules that make the graph undirected; the first is the default.
        edge_weights: Weights of the edges; the first is the default.
        draws: Stratified draws of each size; they may overlap.
        seed: Seed of the draws and of random weights.
        device: Where the network runs and the graphs are built.
        out: Folder of the result.
    """
    settings = dict(locals())
    with result_folder(out) as folder:
        samples = load(dataset, split=split, image_size=image_size)
        network = build(
            model, num_classes=outputs_for(samples.classes, weights), weights=weights, device=device, seed=seed
        )
        table = ablation(
            network, samples.images, samples.labels, layers, k=k, num_samples=num_samples, metrics=metrics,
            symmetrize=symmetrize, weights=edge_weights, draws=draws, seed=seed,
        )  # fmt: skip
        default = {"k": k[0], "metric": metrics[0], "symmetrize": symmetrize[0], "weight": edge_weights[0]}
        stability = rank_stability(table, **default)

        write_table(folder / "table.csv", table)
        write_table(folder / "stability.csv", stability)
        fixed = {**default, "num_samples": max(num_samples)}
        for name in fixed:
            others = [column for column in fixed if column != name]
            part = table[(table[others] == [fixed[column] for column in others]).all(axis=1)]
            write_figure(folder / ("figure.png" if name == "k" else f"{name}.png"), plot_sweep(part, name))
        write_settings(folder, settings)
    print(stability.round(3).to_string(index=False))
    print(f"\nTables, figures and settings are in {out}")
    return table


if __name__ == "__main__":
    run(main)
