r"""Communities: what the graph of each layer would say on its own, beside what the labels say.

Where Leiden, which sees no labels, finds a far larger Q than theirs, the layer has structure that the classes
do not explain; where the two meet, the classes are that structure.

    python -m analyses.communities
    python -m analyses.communities --model resnet56 --weights resnet56.pt --dataset folder:cifar10 \
        --order file --num-samples 500 --repeats 2
"""

from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from graphmod import compare_communities, leiden, resolution_profile, temporal_leiden
from graphmod.commandline import run
from graphmod.curves import dynamic_graph, measure, summarize
from graphmod.datasets import load
from graphmod.mixing import class_communities, class_mixing, worst_samples
from graphmod.models import build, outputs_for
from graphmod.plots.alluvial import plot_alluvial
from graphmod.plots.mixing import plot_mixing
from graphmod.plots.panels import plot_panels
from graphmod.reports import result_folder, write_figure, write_settings, write_table
from graphmod.samples import draw, evenly
from graphmod.trajectories import community_events, community_flows, prediction_depth

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
    resolution: float = 1.0,
    coupling: float = 0.1,
    shown: int = 8,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/communities"),
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
        seed: Seed of the draws, of Leiden and of random weights.
        resolution: Resolution of the modularity that Leiden maximises.
        coupling: Tie of a sample to itself in the next layer, in the temporal communities of the first draw.
        shown: Layers in the alluvial figure, at least 2; three of them, first, middle and last, in that of the mixing.
        device: Where the network runs and the graphs are built.
        out: Folder of the result.
    """
    settings = dict(locals())
    if shown < 2:
        raise ValueError(f"shown must be at least 2; got {shown}")
    with result_folder(out) as folder:
        samples = load(dataset, split=split, num_samples=num_samples * repeats, order=order, seed=seed,
                       image_size=image_size)  # fmt: skip
        network = build(model, num_classes=outputs_for(samples.classes, weights), weights=weights, device=device,
                        seed=seed)  # fmt: skip
        draws = draw(samples.labels, num_samples, repeats, order=order, seed=seed)
        graphs = [dynamic_graph(network, samples.images[rows], samples.labels[rows], layers, k=k, title=f"repeat {i}")
                  for i, rows in enumerate(draws, 1)]  # fmt: skip
        if len(graphs[0]) < 2:
            raise ValueError(f"communities are followed from layer to layer; {', '.join(layers)} is one layer only")
        find = partial(leiden, resolution=resolution, seed=seed)
        values = measure(graphs, lambda graph: compare_communities(graph, find(graph)))
        # The dynamic graph of the first draw: its communities over all layers at once, and the way of each sample.
        names, first = list(graphs[0]), list(graphs[0].values())
        found = temporal_leiden(first, coupling=coupling, resolution=resolution, seed=seed)
        curve = summarize(values).join(community_events(found).drop(columns="depth").add_prefix("temporal_"))
        worst = worst_samples(first[-1], num_samples=num_samples)
        worst.insert(1, "id", samples.names(draws[0][list(worst["sample"])]))
        worst["prediction_depth"] = prediction_depth(first).cpu().numpy()[worst["sample"]]
        steps = evenly(len(names), shown)
        flows = community_flows(found[steps], first[0].y)
        write_table(folder / "table.csv", curve)
        write_table(folder / "repeats.csv", values)
        write_table(folder / "samples.csv", worst)
        write_table(folder / "flows.csv", flows)
        write_table(folder / "classes.csv", class_communities(find(first[-1]), first[-1].y))
        write_table(folder / "resolutions.csv", resolution_profile(first[-1], seed=seed))
        panels = {
            "modularity Q": ["modularity_labels", "modularity_found"],
            "agreement of communities and labels": ["ami", "homogeneity", "completeness"],
            "number of communities": ["num_communities"],
            "samples that change their community": ["temporal_switching"],
        }
        write_figure(folder / "figure.png", plot_panels(curve, panels))
        ratios = {names[i]: class_mixing(first[i]).ratio.cpu() for i in sorted({0, len(names) // 2, len(names) - 1})}
        write_figure(folder / "mixing.png", plot_mixing(ratios, [samples.classes[c] for c in first[0].y.unique()]))
        write_figure(folder / "alluvial.png", plot_alluvial(flows, [names[i] for i in steps], samples.classes))
        write_settings(folder, settings, classes=samples.classes, samples=[samples.names(rows) for rows in draws])
    print(curve[["layer", *values.metric.unique()[:4], "num_communities"]].round(3).to_string())
    print(f"\nTables, figures and settings are in {out}")
    return curve


if __name__ == "__main__":
    run(main)
