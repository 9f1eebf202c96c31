r"""Metrics: why modularity, and not the accuracy of the nearest neighbours?

Every metric of the package on the same graphs and activations, layer by layer, and how far each puts the layers in the
order that modularity puts them in (Spearman).

    python -m analyses.metrics
    python -m analyses.metrics --model resnet56 --weights resnet56.pt --dataset folder:cifar10 \
        --order file --num-samples 500 --repeats 2
"""

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from graphmod._family import members
from graphmod.commandline import run
from graphmod.curve_tables import rank_correlation
from graphmod.curves import dynamic_graph, measure, summarize
from graphmod.datasets import load
from graphmod.models import build, outputs_for
from graphmod.plots.panels import plot_panels
from graphmod.reports import result_folder, write_figure, write_settings, write_table
from graphmod.samples import draw

SMOKE = {"num_samples": 60, "repeats": 2}


def main(
    *,
    model: str = "digits",
    weights: str | None = "default",
    dataset: str = "digits",
    split: str = "test",
    image_size: int | None = None,
    layers: tuple[str, ...] = ("blocks",),
    k: int = 3,
    num_samples: int = 200,
    repeats: int = 5,
    order: Literal["stratified", "file"] = "stratified",
    seed: int = 0,
    metrics: tuple[str, ...] = tuple(members("graphmod.metrics")),
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/metrics"),
) -> pd.DataFrame:
    """Runs the study and returns its table.

    Args:
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        weights: A file, or those that come with the model, or none for random ones.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH.
        split: Part of the data set.
        image_size: Scales and crops images to this size.
        layers: Names, globs, blocks or all.
        k: Neighbours of each sample.
        num_samples: Samples of one graph.
        repeats: Number of disjoint draws, of num_samples each.
        order: How they are drawn; the published protocol is file.
        seed: Seed of the draws and of random weights.
        metrics: Files of graphmod/metrics.
        device: Where the network runs and the graphs are built.
        out: Folder of the result.
    """
    settings = dict(locals())
    with result_folder(out) as folder:
        samples = load(dataset, split=split, num_samples=num_samples * repeats, order=order, seed=seed,
                       image_size=image_size)  # fmt: skip
        network = build(
            model, num_classes=outputs_for(samples.classes, weights), weights=weights, device=device, seed=seed
        )
        draws = draw(samples.labels, num_samples, repeats, order=order, seed=seed)
        graphs = (
            dynamic_graph(
                network, samples.images[rows], samples.labels[rows], layers, k=k, keep_x=True, title=f"repeat {i}"
            )
            for i, rows in enumerate(draws, start=1)
        )
        values = measure(graphs, dict.fromkeys(["modularity", *metrics]))
        curve = summarize(values)
        correlation = rank_correlation(curve)

        write_table(folder / "table.csv", curve)
        write_table(folder / "repeats.csv", values)
        write_table(folder / "correlation.csv", correlation)
        titles = {row.metric: f"{row.metric}   ρ with Q = {row.spearman:.2f}".replace("-", "−")
                  for row in correlation.dropna().itertuples()}  # fmt: skip
        panels = {titles.get(name, name): [name] for name in values.metric.unique()}
        write_figure(folder / "figure.png", plot_panels(curve, panels))
        write_settings(folder, settings, samples=[samples.names(rows) for rows in draws])
    print(curve[["layer", *values.metric.unique()]].round(3).to_string())
    print(f"\nSpearman correlation with modularity over the layers:\n{correlation.round(3).to_string(index=False)}")
    print(f"\nTables, figure and settings are in {out}")
    return curve


if __name__ == "__main__":
    run(main)
