r"""Removal criteria: which measure knows, without any training, the layers that a network can do without?

Claim (Lu et al. 2022): layers of plateau and degradation are redundant. Read literally that is the criterion `gain`.
Here it stands beside the others, among them the modularity of the last layer after a removal: the accuracy that is left
against the number of layers removed, with and without re-estimated batch norm, over splits whose choosing and judging
samples are disjoint; and for single removals what the curve says beside what is lost.

    python -m analyses.removal_criteria
    python -m analyses.removal_criteria --model resnet56 --weights resnet56.pt --dataset folder:cifar10
"""

from pathlib import Path

import pandas as pd
import torch

from graphmod._family import members
from graphmod.commandline import run
from graphmod.datasets import load
from graphmod.models import build
from graphmod.plots.removal import plot_removal
from graphmod.plots.scatter import plot_scatter
from graphmod.removal import removal_curves, single_removals
from graphmod.reports import result_folder, write_figure, write_settings, write_table

SMOKE = {"num_samples": 60, "splits": 2, "removed": (1, 3), "random_draws": 2, "criteria": ("modularity", "random")}


def main(
    *,
    model: str = "digits",
    weights: str | None = "default",
    dataset: str = "digits",
    split: str = "test",
    image_size: int | None = None,
    criteria: tuple[str, ...] = tuple(members("graphmod.criteria")),
    removed: tuple[int, ...] = (1, 2, 3, 4, 5),
    num_samples: int = 100,
    splits: int = 5,
    random_draws: int = 4,
    k: int = 3,
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/removal_criteria"),
) -> pd.DataFrame:
    """Runs the study and returns its table.

    Args:
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        weights: A file, or those that come with the model, or none for random ones.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH.
        split: Part of the data set; all of it is used.
        image_size: Scales and crops images to this size.
        criteria: Files of graphmod/criteria.
        removed: Numbers of layers at which the network is judged.
        num_samples: Samples that choose, in each split others; the rest judge.
        splits: Number of splits.
        random_draws: Draws of the criterion random in each split.
        k: Neighbours of each sample.
        seed: Seed of the splits, of what is drawn at random and of random weights.
        device: Where the network runs.
        out: Folder of the result.
    """
    settings = dict(locals())
    with result_folder(out) as folder:
        samples = load(dataset, split=split, image_size=image_size)
        network = build(model, num_classes=len(samples.classes), weights=weights, device=device, seed=seed)
        table = removal_curves(
            network, samples.images, samples.labels, criteria=criteria, removed=removed, num_samples=num_samples,
            splits=splits, draws={"random": random_draws}, k=k, seed=seed,
        )  # fmt: skip
        single = single_removals(network, samples.images, samples.labels, num_samples=num_samples, k=k, seed=seed)
        mean = table.pivot_table(index="criterion", columns="removed", values="accuracy", sort=False)
        reestimated = table.pivot_table(index="criterion", columns="removed", values="accuracy_reestimated", sort=False)

        write_table(folder / "table.csv", table)
        write_table(folder / "single.csv", single)
        write_table(folder / "mean.csv", mean.reset_index())
        write_table(folder / "mean_reestimated.csv", reestimated.reset_index())
        write_figure(folder / "figure.png", plot_removal(table))
        write_figure(folder / "single.png", plot_scatter(single, ["gain", "change", "modularity"], "accuracy_loss"))
        write_settings(folder, settings)
    print(f"Accuracy by layers removed:\n{mean.round(3).to_string()}\n")
    print(f"With batch norm re-estimated:\n{reestimated.round(3).to_string()}\n")
    print(f"Tables, figures and settings are in {out}")
    return table


if __name__ == "__main__":
    run(main)
