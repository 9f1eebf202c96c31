r"""Significance: is a layer's modularity more than chance, and how far would it vary with other samples?

For each layer, beside Q: what Q the same graph gives to shuffled labels (mean and deviation in closed form, p by a
permutation test), the interval that holds the mean Q of draws like these, and as its proof the spread over disjoint
draws.

    python -m analyses.significance
    python -m analyses.significance --model resnet56 --weights resnet56.pt --dataset folder:cifar10 \
        --order file --num-samples 500 --repeats 2
"""

from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from graphmod.commandline import run
from graphmod.curves import dynamic_graph, measure, summarize
from graphmod.datasets import load
from graphmod.metrics.modularity import modularity_terms
from graphmod.models import build, outputs_for
from graphmod.plots.panels import plot_panels
from graphmod.reports import result_folder, write_figure, write_settings, write_table
from graphmod.samples import draw
from graphmod.significance import permutation_test
from graphmod.uncertainty import confidence_interval

SMOKE = {"num_samples": 60, "repeats": 2, "num_permutations": 100}


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
    num_permutations: int = 1000,
    confidence: float = 0.95,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/significance"),
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
        seed: Seed of the draws, of the shuffles and of random weights.
        num_permutations: Shuffles of the labels.
        confidence: Confidence level of the interval of the mean Q of draws.
        device: Where the network runs and the graphs are built.
        out: Folder of the result.
    """
    settings = dict(locals())
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1); got {confidence}")
    if num_permutations < 1:
        raise ValueError(f"num_permutations must be at least 1; got {num_permutations}")
    with result_folder(out) as folder:
        samples = load(dataset, split=split, num_samples=num_samples * repeats, order=order, seed=seed,
                       image_size=image_size)  # fmt: skip
        network = build(
            model, num_classes=outputs_for(samples.classes, weights), weights=weights, device=device, seed=seed
        )
        draws = draw(samples.labels, num_samples, repeats, order=order, seed=seed)
        graphs = [
            dynamic_graph(network, samples.images[rows], samples.labels[rows], layers, k=k, title=f"repeat {i + 1}")
            for i, rows in enumerate(draws)
        ]
        test = partial(permutation_test, num_permutations=num_permutations, seed=seed)
        interval = partial(confidence_interval, confidence=confidence)
        values = measure(graphs, [modularity_terms, interval, test])
        curve = summarize(values)

        write_table(folder / "table.csv", curve)
        write_table(folder / "repeats.csv", values)
        panels = {
            "modularity Q with its confidence interval; shuffled labels with 95 % of theirs": [
                "modularity",
                "null_mean",
            ],
            "standard deviations of the null that Q lies above its mean": ["z"],
            "standard error from one draw, and deviation over the draws": ["standard_error", "modularity_std"],
        }
        write_figure(folder / "figure.png", plot_panels(curve, panels))
        write_settings(folder, settings, samples=[samples.names(rows) for rows in draws])
    print(
        curve[["layer", "modularity", "standard_error", "null_mean", "null_std", "z", "p_value"]].round(4).to_string()
    )
    print(f"\nTable, figure and settings are in {out}")
    return curve


if __name__ == "__main__":
    run(main)
