r"""Modularity curve: how far a network has pulled the classes apart at each layer.

Claim (Lu et al. 2022): the modularity Q of the class labels, on the k-nearest-neighbour graph of each layer's
activations, rises with depth as the network separates the classes, and stays level or falls where layers add nothing.

    python -m analyses.modularity_curve --model resnet56 --weights resnet56.pt --dataset folder:cifar10 --order file
    python -m analyses.modularity_curve --model timm:vit_tiny_patch16_224 --dataset folder:flowers --image-size 224 \
        --pool cls
"""

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from graphmod import compare_curves, published_curve
from graphmod.commandline import run
from graphmod.curves import dynamic_graph, measure, summarize
from graphmod.datasets import load
from graphmod.models import build, networks, outputs_for
from graphmod.plots.curve import plot_curve
from graphmod.reports import result_folder, write_figure, write_settings, write_table
from graphmod.samples import draw

SMOKE = {"num_samples": 50, "repeats": 2}


def main(
    *,
    model: str = "digits",
    weights: str | None = "default",
    num_classes: int | None = None,
    dataset: str = "digits",
    split: str = "test",
    download: bool = False,
    image_size: int | None = None,
    layers: tuple[str, ...] = ("blocks",),
    pool: Literal["flatten", "mean", "cls", "last"] = "flatten",
    graph: str = "knn",
    k: int = 3,
    num_samples: int = 200,
    repeats: int = 5,
    order: Literal["stratified", "file"] = "stratified",
    seed: int = 0,
    batch_size: int = 256,
    max_memory: str = "2GB",
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    compare: tuple[str, ...] = (),
    shuffled: bool = False,
    published: tuple[str, ...] = (),
    out: Path = Path("results/modularity_curve"),
) -> pd.DataFrame:
    """Runs the study and returns its table.

    Args:
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        weights: A file, or those that come with the model, or none for random ones.
        num_classes: Outputs of the model; if none, the classes of the data, or those of weights that come with it.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH.
        split: Part of the data set.
        download: Lets torchvision download its data set into the folder datasets.
        image_size: Scales and crops images to this size.
        layers: Names, globs, blocks or all.
        pool: Of each layer everything, its mean over tokens or pixels, or its first or last token.
        graph: Rule of the graph, a file of graphmod/graphs.
        k: Neighbours of each sample.
        num_samples: Samples of one graph.
        repeats: Number of disjoint draws, of num_samples each.
        order: How they are drawn; the published protocol is file.
        seed: Seed of the draws and of random weights.
        batch_size: Samples in one forward pass.
        max_memory: How much of the activations is held at a time; a larger layer goes to a temporary file.
        device: Where the network runs and the graphs are built.
        compare: Networks to draw beside, NAME with the weights that come with it, NAME=FILE, or NAME=none (random).
        shuffled: Draws beside what shuffled labels give on the same graphs.
        published: Curves of Lu et al. 2022 on CIFAR-10 to draw beside, such as ResNet18.
        out: Folder of the result.
    """
    settings = dict(locals())
    entries = networks([f"{model}={weights or 'none'}", *compare])
    label, references = next(iter(entries)), {name: published_curve(name) for name in published}
    with result_folder(out) as folder:
        samples = load(dataset, split=split, num_samples=num_samples * repeats, order=order, seed=seed,
                       image_size=image_size, download=download)  # fmt: skip
        draws = draw(samples.labels, num_samples, repeats, order=order, seed=seed)
        graphs = {}
        for name, (kind, file) in entries.items():
            outputs = num_classes or outputs_for(samples.classes, file)
            network = build(kind, num_classes=outputs, weights=file, device=device, seed=seed)
            graphs[name] = [
                dynamic_graph(
                    network, samples.images[rows], samples.labels[rows], layers, title=f"{name} {i + 1}/{repeats}",
                    graph=graph, k=k, batch_size=batch_size, pool=pool, max_memory=max_memory,
                )
                for i, rows in enumerate(draws)
            ]  # fmt: skip
        graphs |= {"shuffled labels": [repeat.shuffled(seed) for repeat in graphs[label]]} if shuffled else {}
        measured = {name: measure(repeated) for name, repeated in graphs.items()}
        curves = {name: summarize(values) for name, values in measured.items()}
        curve = curves.pop(label)
        tables = {"table": curve, "repeats": measured[label], **{f"beside/{name}": one for name, one in curves.items()}}
        beside = curves | references
        if ordered := {name: one for name, one in beside.items() if min(len(one), len(curve)) > 1}:  # not of one layer
            tables["agreement"] = compare_curves(curve, ordered)
        for name, table in tables.items():
            write_table(folder / f"{name}.csv", table)
        write_figure(folder / "figure.png", plot_curve(curve, label=label, beside=beside))
        for i, repeat in enumerate(graphs[label]):
            repeat.save(folder / f"graphs/repeat{i}.safetensors")
        write_settings(folder, settings, samples=[samples.names(rows) for rows in draws])
    print(curve[["layer", "modularity", "modularity_std", "overlap", "expected", "normalized"]].round(4).to_string())
    if "agreement" in tables:
        print(f"\nAgreement by relative depth:\n{tables['agreement'].round(3).to_string(index=False)}")
    print(f"\nTable, figure, settings and graphs are in {out}")
    return curve


if __name__ == "__main__":
    run(main, distributed=True)
