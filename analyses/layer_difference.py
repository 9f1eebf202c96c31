r"""Layer difference: do points inside a residual block differ from the outputs more than these from one another?

The poster's last claim, on |Q_i − Q_j| as it was made, beside three comparisons that do not look at the labels: CKA of
the activations, and the neighbours and edges that two layers' graphs share. `claim.csv` holds the answer for each,
over all pairs of layers and over those that are near one another in the network. With a second network `matching.csv`
says which of its layers is most like each layer of the first one.

    python -m analyses.layer_difference
    python -m analyses.layer_difference --model resnet56 --weights resnet56.pt --dataset folder:cifar10 \
        --order file --num-samples 500
"""

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from graphmod import layer_matrices, similarity
from graphmod.activations import each_layer
from graphmod.commandline import run
from graphmod.curves import dynamic_graph, measure, summarize
from graphmod.datasets import load
from graphmod.models import build, outputs_for
from graphmod.plots.heatmap import plot_heatmap
from graphmod.reports import result_folder, write_figure, write_settings, write_table

SMOKE = {"num_samples": 60, "other": "digits", "other_weights": "default"}
DISTANCES = ("modularity_difference",)


def main(
    *,
    model: str = "digits",
    weights: str | None = "default",
    other: str | None = None,
    other_weights: str | None = None,
    dataset: str = "digits",
    split: str = "test",
    image_size: int | None = None,
    layers: tuple[str, ...] = ("blocks", "**:Conv2d"),
    k: int = 3,
    num_samples: int = 500,
    order: Literal["stratified", "file"] = "stratified",
    seed: int = 0,
    near: int = 3,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/layer_difference"),
) -> pd.DataFrame:
    """Runs the study and returns its table, a row for each pair of layers.

    Args:
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        weights: A file, or those that come with the model, or none for random ones.
        other: A second network to compare the first one with, layer by layer; a file as other_weights alone: the same.
        other_weights: Its weights: a file, default, or none for random ones.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH.
        split: Part of the data set.
        image_size: Scales and crops images to this size.
        layers: Names, globs, blocks or all. Layers that hold others of them are outputs, and these inside; without any
            such layers, as in a VGG (blocks), there is no claim to test.
        k: Neighbours of each sample.
        num_samples: Samples of one graph.
        order: How they are drawn; the published protocol is file.
        seed: Seed of the draw and of random weights; the second network has the next one.
        near: How far apart near layers may be in the list; 3 is a block of two convolutions and its output.
        device: Where the networks run and the graphs are built.
        out: Folder of the result.
    """
    settings = dict(locals())
    if near < 1:
        raise ValueError(f"near must be at least 1; got {near}")
    other = other or (model if other_weights else None)
    with result_folder(out) as folder:
        samples = load(dataset, split=split, num_samples=num_samples, order=order, seed=seed, image_size=image_size)
        images, classes, both = samples.images, samples.classes, [(model, weights), (other, other_weights)]
        networks = [build(name, num_classes=outputs_for(classes, file), weights=file, device=device, seed=seed + i)
                    for i, (name, file) in enumerate(both) if name]  # fmt: skip
        graphs = [dynamic_graph(network, images, samples.labels, layers, k=k) for network in networks]
        curves = [summarize(measure(one)) for one in graphs]
        found = []
        for i in range(len(networks)):  # the first network with itself, then with the second one
            first, second = (each_layer(network, images, layers) for network in (networks[0], networks[i]))
            against = graphs[i] if i else None
            found.append({
                "modularity_difference": layer_matrices.modularity_difference(curves[0], others=curves[i]),
                "cka": similarity.cka_matrix(first, second if i else None),
                "mutual_neighbors": similarity.graph_matrix(graphs[0], similarity.mutual_neighbors, against),
                "edge_jaccard": similarity.graph_matrix(graphs[0], similarity.edge_jaccard, against),
            })  # fmt: skip
        distances = {name: m if name in DISTANCES else 1 - m for name, m in found[0].items()}
        nested = layer_matrices.nested_layers(list(graphs[0]))
        claim = pd.concat([
            layer_matrices.compare_groups(m, nested, max_distance=reach).assign(measure=name, pairs=pairs)
            for name, m in distances.items()
            for pairs, reach in (("all", None), ("near", near))
        ], ignore_index=True)  # fmt: skip
        table = layer_matrices.layer_pairs(found[0])
        write_table(folder / "table.csv", table)
        write_table(folder / "curve.csv", curves[0])
        write_table(folder / "claim.csv", claim)
        write_figure(folder / "figure.png", plot_heatmap(found[0], distances=DISTANCES))
        said = claim.round(3).to_string(index=False) if len(claim) else "no layer holds another, so none is compared"
        print(f"Distances, |ΔQ| and 1 − similarity:\n{said}")
        if other:
            likes = {name: 1 - m if name in DISTANCES else m for name, m in found[1].items()}
            matches = pd.concat([layer_matrices.match_layers(m).assign(measure=name) for name, m in likes.items()])
            same = (matches.depth == matches.matched_depth).groupby(matches.measure, sort=False).mean()
            write_table(folder / "other.csv", layer_matrices.layer_pairs(found[1]))
            write_table(folder / "matching.csv", matches)
            named = {n: m.rename_axis(index="first network", columns="second network") for n, m in found[1].items()}
            write_figure(folder / "other.png", plot_heatmap(named, distances=DISTANCES))
            print(f"\nLayers most like the one of the same depth of the second network:\n{same.round(3).to_string()}")
        write_settings(folder, settings, samples=samples.ids)
    print(f"\nTables, figures and settings are in {out}")
    return table


if __name__ == "__main__":
    run(main)
