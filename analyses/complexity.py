r"""Complexity: degradation and plateau grow with what a network has beyond what its task needs.

Claim (Lu et al. 2022): degradation and plateau are related to the relative complexity of the model. For each network
and data set: how many layers separate the classes, how many idle and how many mix them, by the repeats' own confidence
interval, beside depth, parameters and accuracy (where outputs are as many as classes). A network with random weights
(`NAME=none`) is the control. With `--published` the same is read off the 27 published curves, which came without
spread, by a stated tolerance.

    python -m analyses.complexity
    python -m analyses.complexity --published
    python -m analyses.complexity --networks resnet20=resnet20.pt,resnet56=resnet56.pt --datasets folder:cifar10 \
        --split train --num-samples 500 --repeats 10
"""

import math
from pathlib import Path

import pandas as pd
import torch

from graphmod.commandline import run
from graphmod.curves import dynamic_graph, measure
from graphmod.datasets import load
from graphmod.inputs import predictions
from graphmod.models import build, outputs_for
from graphmod.models import networks as named
from graphmod.plots.grid import plot_grid
from graphmod.pruning import count_phases, redundant_layers
from graphmod.published import published_curves
from graphmod.reports import result_folder, write_figure, write_settings, write_table
from graphmod.samples import draw
from graphmod.training import accuracy

SMOKE = {"num_samples": 60, "repeats": 3}


def main(
    *,
    networks: tuple[str, ...] = ("digits", "digits=none"),
    datasets: tuple[str, ...] = ("digits",),
    split: str = "test",
    image_size: int | None = None,
    layers: tuple[str, ...] = ("blocks",),
    k: int = 3,
    num_samples: int = 200,
    repeats: int = 5,
    confidence: float = 0.95,
    published: bool = False,
    tolerance: float = 0.005,
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/complexity"),
) -> pd.DataFrame:
    """Runs the study and returns its table, a row for each network and data set.

    Args:
        networks: Models, NAME with the weights that come with it, NAME=FILE, or NAME=none for random weights.
        datasets: digits, folder:PATH, torchvision:NAME or npz:PATH.
        split: Part of the data sets.
        image_size: Scales and crops images to this size.
        layers: Names, globs, blocks or all.
        k: Neighbours of each sample.
        num_samples: Samples of one graph.
        repeats: Number of disjoint stratified draws, of num_samples each; at least 2.
        confidence: Confidence level of the interval of a layer's gain.
        published: Also reads the published curves of nine networks on three data sets.
        tolerance: What a gain of theirs must exceed to be separation or, below zero, degradation.
        seed: Seed of the draws and of random weights.
        device: Where the networks run and the graphs are built.
        out: Folder of the result.
    """
    settings = dict(locals())
    if repeats < 2:
        raise ValueError(f"repeats must be at least 2, over which the interval of a gain is taken; got {repeats}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1); got {confidence}")
    rows, curves, entries = [], [], named(networks)
    with result_folder(out) as folder:
        for dataset in dict.fromkeys(datasets):
            samples = load(dataset, split=split, num_samples=num_samples * repeats, order="stratified", seed=seed,
                           image_size=image_size)  # fmt: skip
            draws = draw(samples.labels, num_samples, repeats, seed=seed)
            for label, (name, weights) in entries.items():
                network = build(name, num_classes=outputs_for(samples.classes, weights), weights=weights,
                                device=device, seed=seed)  # fmt: skip
                graphs = [
                    dynamic_graph(network, samples.images[part], samples.labels[part], layers, k=k, title=label)
                    for part in draws
                ]
                curve = redundant_layers(measure(graphs), confidence=confidence)
                curves.append(curve.assign(network=label, dataset=dataset))
                size = sum(parameter.numel() for parameter in network.parameters())
                fits = predictions(network, samples.images[:1]).shape[1] == len(samples.classes)
                right = accuracy(network, samples.images, samples.labels) if fits else math.nan
                rows.append({"network": label, "dataset": dataset, "num_parameters": size, "accuracy": right})
        curve = pd.concat(curves, ignore_index=True)
        table = pd.DataFrame(rows).merge(count_phases(curve))
        write_table(folder / "table.csv", table)
        write_table(folder / "curves.csv", curve)
        write_figure(folder / "figure.png", plot_grid(curve))
        if published:
            read = published_curves().query("condition == 'clean'").rename(columns={"modularity": "value"})
            read = read.assign(repeat=0, layer=read.depth, metric="modularity")
            curve = pd.concat(
                redundant_layers(one, tolerance=tolerance).assign(network=network, dataset=dataset)
                for dataset, of_dataset in read.groupby("dataset", sort=False)
                for network, one in of_dataset.groupby("network", sort=False)
            )
            counted = count_phases(curve)
            write_table(folder / "published.csv", counted)
            write_figure(folder / "published.png", plot_grid(curve))
            print(counted.round(3).to_string(index=False), end="\n\n")
        write_settings(folder, settings)
    print(table.round(3).to_string(index=False))
    print(f"\nTables, figure and settings are in {out}")
    return table


if __name__ == "__main__":
    run(main)
