r"""Graph learning: does the graph of a layer tell which samples the network gets wrong?

The layers' graphs are opened as a data set of torch_geometric, and a graph convolutional network of two layers is
trained on each of them; beside it the same network without edges, a vote of the nearest neighbours, and the network's
own confidence.

    python -m analyses.graph_learning
    python -m analyses.graph_learning --model resnet20 --weights resnet20.pt --dataset folder:cifar10 --num-samples 1017
"""

from pathlib import Path

import pandas as pd
import torch

from graphmod.commandline import run
from graphmod.curves import dynamic_graph
from graphmod.datasets import load
from graphmod.failures import failure_prediction, summarize_failures
from graphmod.inputs import predictions
from graphmod.models import build
from graphmod.plots.panels import plot_panels
from graphmod.pyg import DynamicGraphDataset
from graphmod.reports import result_folder, write_figure, write_settings, write_table

SMOKE = {"weights": None, "num_samples": 200, "splits": 2, "epochs": 20, "layers": ("layer1.0", "layer3.2")}


def main(
    *,
    model: str = "digits",
    weights: str | None = "default",
    dataset: str = "digits",
    split: str = "test",
    image_size: int | None = None,
    layers: tuple[str, ...] = ("blocks",),
    k: int = 5,
    num_samples: int = 1000,
    splits: int = 5,
    epochs: int = 200,
    hidden: int = 32,
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/graph_learning"),
) -> pd.DataFrame:
    """Runs the study and returns its table.

    Args:
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        weights: A file, or those that come with the model, or none for random ones.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH.
        split: Part of the data set; one that the network was not trained on, or it gets too few wrong.
        image_size: Scales and crops images to this size.
        layers: Names, globs, blocks or all.
        k: Neighbours of each sample in the graph.
        num_samples: Samples of the graph.
        splits: Random splits into fitted, choosing and judging samples.
        epochs: Steps of training.
        hidden: Features between the two layers.
        seed: Seed of the draw, the splits and all random weights.
        device: Where the network runs and the graphs are built.
        out: Folder of the result.
    """
    settings = dict(locals())
    with result_folder(out) as folder:
        samples = load(dataset, split=split, num_samples=num_samples, order="stratified", seed=seed,
                       image_size=image_size)  # fmt: skip
        network = build(model, num_classes=len(samples.classes), weights=weights, device=device, seed=seed)
        graphs = dynamic_graph(network, samples.images, samples.labels, layers, k=k, keep_x=True)
        probabilities = predictions(network, samples.images).softmax(1)
        scores = failure_prediction(
            DynamicGraphDataset(graphs), probabilities, splits=splits, epochs=epochs, hidden=hidden, seed=seed
        )
        table = summarize_failures(scores)

        write_table(folder / "table.csv", table)
        write_table(folder / "splits.csv", scores)
        title = f"AUROC of telling the {scores.wrong.iloc[0]:.1%} that {model} gets wrong from the rest"
        write_figure(folder / "figure.png", plot_panels(table, {title: ["gcn", "mlp", "knn", "confidence"]}))
        graphs.save(folder / "graphs.safetensors")
        write_settings(folder, settings, samples=samples.ids)
    print(table.round(3).to_string(index=False))
    print(f"\nTable, figure, settings and graphs are in {out}")
    return table


if __name__ == "__main__":
    run(main)
