r"""Class separation: the samples of each layer in the plane, and the graph that moves as the layers go by.

Claim (Lu et al. 2022, figure 1): what modularity counts can be seen. In the first layers the classes lie mixed and the
edges run between them; towards the last ones Q rises, the clouds part, and the edges join samples of one class.

    python -m analyses.class_separation
    python -m analyses.class_separation --model resnet20 --weights resnet20.pt --dataset folder:cifar10 --nodes 60
"""

from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from torch import Tensor

from graphmod.activations import layer_activations
from graphmod.animations import write_gif, write_html
from graphmod.commandline import run
from graphmod.curves import dynamic_graph, measure, summarize
from graphmod.datasets import load
from graphmod.embeddings import embed, layer_positions
from graphmod.models import build, outputs_for
from graphmod.plots.embedding import plot_embedding
from graphmod.plots.graph_strip import plot_graph_strip
from graphmod.reports import result_folder, write_figure, write_settings, write_table
from graphmod.samples import draw, evenly

SMOKE = {"num_samples": 60, "nodes": 40, "shown": 3}


def main(
    *,
    model: str = "digits",
    weights: str | None = "default",
    dataset: str = "digits",
    split: str = "test",
    image_size: int | None = None,
    layers: tuple[str, ...] = ("blocks",),
    k: int = 3,
    num_samples: int = 300,
    order: Literal["stratified", "file"] = "stratified",
    seed: int = 0,
    method: Literal["tsne", "pca"] = "tsne",
    shown: int = 8,
    nodes: int = 50,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/class_separation"),
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
        num_samples: Samples of the curve and of the clouds.
        order: How they are drawn; the published protocol is file.
        seed: Seed of the draws, of t-SNE, of the layout and of random weights.
        method: How the features come into the plane, tsne or pca.
        shown: Layers in the figures, 1 to 12.
        nodes: Samples in the node-link pictures, more than k: a stratified draw, or all, joined among themselves.
        device: Where the network runs and the graphs are built.
        out: Folder of the result.
    """
    settings = dict(locals())
    if not 1 <= shown <= 12:
        raise ValueError(f"shown must be from 1 to 12; got {shown}")
    if nodes <= k:
        raise ValueError(f"nodes must be above k, {k}; got {nodes}")
    with result_folder(out) as folder:
        samples = load(dataset, split=split, num_samples=num_samples, order=order, seed=seed, image_size=image_size)
        network = build(
            model, num_classes=outputs_for(samples.classes, weights), weights=weights, device=device, seed=seed
        )
        few = draw(samples.labels, min(nodes, num_samples), seed=seed)[0]
        graphs = dynamic_graph(network, samples.images, samples.labels, layers, k=k)
        parts = dynamic_graph(network, samples.images[few], samples.labels[few], layers, k=k, title="node-link")
        names = list(graphs)
        steps = evenly(len(names), shown)
        chosen = [names[step] for step in steps]

        curve, part_curve = summarize(measure(graphs)), summarize(measure(parts))
        curve["modularity_nodes"] = part_curve.modularity
        features = layer_activations(network, samples.images, chosen)
        clouds: dict[str, Tensor] = {}
        for name in reversed(chosen):  # each turned to the one after it
            like = next(reversed(clouds.values()), None)
            clouds[name] = embed(features[name], method=method, seed=seed, like=like)
        clouds = {name: clouds[name] for name in chosen}

        places = layer_positions(parts, seed=seed)
        edges = [graph.edge_index.cpu() for graph in parts.values()]
        strength = [graph.edge_weight.cpu() for graph in parts.values()]
        labels, ids = samples.labels[few], samples.names(few)
        titles = [f"{row.layer}\nQ = {row.modularity:z.2f}" for row in part_curve.itertuples()]
        strip = places[steps], [edges[i] for i in steps], labels, samples.classes, [titles[i] for i in steps]

        write_table(folder / "table.csv", curve)
        write_figure(folder / "figure.png", plot_embedding(clouds, samples.labels, samples.classes, curve))
        write_figure(folder / "graph.png", plot_graph_strip(*strip, [strength[i] for i in steps]))
        write_gif(folder / "graph.gif", *strip)
        write_html(
            folder / "graph.html", places, edges, labels, samples.classes, names, part_curve, samples.images[few],
            ids=ids, heading=f"{model}: how {len(few)} samples part, layer by layer",
        )  # fmt: skip
        write_settings(folder, settings, samples=samples.ids, nodes=ids)
    print(curve[["layer", "modularity", "overlap", "normalized", "modularity_nodes"]].round(3).to_string())
    print(f"\nTable, figures, animation, page and settings are in {out}")
    return curve


if __name__ == "__main__":
    run(main)
