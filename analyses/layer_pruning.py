r"""Layer pruning: a smaller network, chosen by modularity, against others of the same cost.

Claim (Lu et al. 2022): layers that add nothing to the separation of the classes can go, and after training the smaller
network is as good as the whole one. Each criterion plans a removal down to `max_macs`, the layers are taken out for
real, and the networks are trained like the whole one, from the weights that are left. Held-out training images choose
the layers and the best epoch; the test images choose nothing.

    python -m analyses.layer_pruning
    python -m analyses.layer_pruning --model resnet56 --weights resnet56.pt --dataset folder:cifar10 --max-macs 0.4 \
        --layout 2,3,6 --epochs 10 --lr 0.02 --batch-size 256 --augment 4 --flip --precision bfloat16
"""

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from graphmod.commandline import run
from graphmod.costs import latency
from graphmod.curves import modularity_curve
from graphmod.datasets import load
from graphmod.models import build, save_weights
from graphmod.plots.pruning import plot_pruning
from graphmod.plots.sweep import plot_sweep
from graphmod.pruning import beyond_layout, drop_layers, plan_removal
from graphmod.removal import compare_networks, summarize_training, train_alike
from graphmod.reports import result_folder, write_figure, write_settings, write_table
from graphmod.samples import draw, others

SMOKE = {"epochs": 1, "num_samples": 100, "criteria": ("modularity", "uniform")}


def main(
    *,
    model: str = "digits",
    weights: str | None = "default",
    dataset: str = "digits",
    criteria: tuple[str, ...] = ("anchored_modularity", "random", "uniform"),
    layout: tuple[int, ...] = (),
    max_macs: float = 0.5,
    num_samples: int = 200,
    epochs: int = 10,
    batch_size: int = 64,
    lr: float = 0.02,
    weight_decay: float = 5e-4,
    augment: int = 1,
    flip: bool = False,
    teacher_weight: float = 0.5,
    precision: Literal["float32", "bfloat16"] = "float32",
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/layer_pruning"),
) -> pd.DataFrame:
    """Runs the study and returns its table, a network a row.

    Args:
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        weights: A file, or those that come with the model, or none for random ones.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH, with the splits train and test.
        criteria: Files of graphmod/criteria.
        layout: Also the network with the first so many layers of each stage, such as 2,3,6 for ResNet-56.
        max_macs: Share of the multiply-adds to be reached.
        num_samples: Training images that are held out to choose the layers and the best epoch.
        epochs: Passes over the other training images, for the whole network too.
        batch_size: Images in a step.
        lr: Learning rate at the start; it falls to 0 along a cosine.
        weight_decay: Weight decay.
        augment: Random shifts of up to so many pixels.
        flip: Random mirror images.
        teacher_weight: Share of the loss that asks for the whole network's outputs, as it came.
        precision: Numbers that the networks are trained in.
        seed: Seed of what is held out, of the order, and of criteria that draw at random.
        device: Where the networks run.
        out: Folder of the result.
    """
    settings = dict(locals())
    with result_folder(out) as folder:
        data, test = (load(dataset, split=name) for name in ("train", "test"))
        held = draw(data.labels, num_samples, seed=seed)[0]
        chosen, rest = (data.images[held], data.labels[held]), others(held, len(data.labels))
        whole = build(model, num_classes=len(data.classes), weights=weights, device=device)
        gone: dict[str, list[str]] = {"whole": []}
        for name in criteria:
            plan = plan_removal(whole, *chosen, max_macs=max_macs, criterion=name, seed=seed)
            write_table(folder / f"plans/{name}.csv", plan)
            gone[name] = list(plan.layer)
        if layout:
            gone["layout " + "-".join(map(str, layout))] = beyond_layout(whole, layout)
        networks = {name: drop_layers(whole, layers, data.images[:1]) for name, layers in gone.items()}
        table = compare_networks(networks, chosen[0], test.images, test.labels)
        training = train_alike(
            networks, data.images[rest], data.labels[rest], epochs=epochs, batch_size=batch_size, lr=lr,
            weight_decay=weight_decay, augment=augment, flip=flip, teacher=whole, teacher_weight=teacher_weight,
            precision=precision, channels_last=True, held_out=chosen, test_images=test.images,
            test_labels=test.labels, seed=seed,
        )  # fmt: skip
        shown = draw(test.labels, min(500, len(test.labels)), seed=seed)[0]
        curves = {name: modularity_curve(one, test.images[shown], test.labels[shown]) for name, one in networks.items()}
        table = table.merge(summarize_training(training))
        table.insert(1, "removed", [len(layers) for layers in gone.values()])
        table["last_q"] = [curve.modularity.iloc[-1] for curve in curves.values()]
        table["latency"] = table.network.map(latency(networks, test.images[:batch_size]))

        write_table(folder / "table.csv", table)
        write_table(folder / "training.csv", training)
        for name, network in networks.items():
            save_weights(network, folder / f"networks/{name}.safetensors")
        write_figure(folder / "figure.png", plot_pruning(table))
        places = curves["whole"][["layer", "depth"]]  # a layer keeps its name, so that it has its place
        series = [one.drop(columns="depth").merge(places).assign(network=name) for name, one in curves.items()]
        write_figure(folder / "curves.png", plot_sweep(pd.concat(series), "network"))
        write_settings(folder, settings, removed=gone, held_out=[data.ids[row] for row in held.tolist()])
    print(table.round(4).to_string(index=False))
    print(f"\nTables, figures, plans, weights and settings are in {out}")
    return table


if __name__ == "__main__":
    run(main)
