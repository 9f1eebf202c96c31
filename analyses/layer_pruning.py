r"""Layer pruning: a smaller network, chosen by modularity, against others of the same cost.

Claim (Lu et al. 2022): layers that add nothing to the separation of the classes can go, and after training the smaller
network is as good as the whole one. Each criterion (`plateau` as published; `plateau_by_stage` takes the number of
layers from it and keeps the first ones of a stage, which train better) plans a removal down to `max_macs`.
The layers are taken out for real, and what is left is trained like the whole network, from its weights and with it as
the teacher. Held-out training images choose the layers and the best epoch; the test images choose nothing.

    python -m analyses.layer_pruning
    python -m analyses.layer_pruning --model resnet56 --weights none --dataset folder:cifar10 --repeats 3 \
        --max-macs 0.4 --first-epochs 18 --epochs 18 --warmup 2 --batch-size 256 --lr 0.16 --augment 4 --flip
"""

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from graphmod.commandline import run
from graphmod.datasets import load_train_and_test
from graphmod.models import build, save_weights
from graphmod.plots.pruning import plot_pruning
from graphmod.plots.sweep import plot_sweep
from graphmod.reports import result_folder, write_figure, write_settings, write_table
from graphmod.retraining import prune_and_train, summarize_repeats

SMOKE = {"epochs": 1, "num_samples": 100, "criteria": ("modularity", "uniform"), "repeats": 2}


def main(
    *,
    model: str = "digits",
    weights: str | None = "default",
    dataset: str = "digits",
    image_size: int | None = None,
    criteria: tuple[str, ...] = ("plateau_by_stage", "plateau", "random", "uniform"),
    layout: tuple[int, ...] = (),
    max_macs: float = 0.5,
    num_samples: int = 200,
    first_epochs: int = 0,
    epochs: int = 10,
    batch_size: int = 64,
    lr: float = 0.02,
    warmup: int = 0,
    weight_decay: float = 5e-4,
    augment: int = 1,
    flip: bool = False,
    teacher_weight: float = 0.5,
    precision: Literal["float32", "bfloat16"] = "float32",
    repeats: int = 1,
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/layer_pruning"),
) -> pd.DataFrame:
    """Runs the study and returns its table, a network a row.

    Args:
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        weights: A file, or those that come with the model, or none for random ones.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH, with the splits train and test.
        image_size: Scales and crops images to this size.
        criteria: Files of graphmod/criteria.
        layout: Also the network with the first so many layers of each stage, such as 2,3,6 for ResNet-56.
        max_macs: Share of the multiply-adds to be reached.
        num_samples: Training images that are held out to choose the layers and the best epoch.
        first_epochs: Passes that train the whole network before anything is removed.
        epochs: Passes over the other training images afterwards, for the whole network too.
        batch_size: Images in a step.
        lr: Learning rate at the start of either training; it falls to 0 along a cosine.
        warmup: First epochs of either training, in which it rises instead.
        weight_decay: Weight decay.
        augment: Largest random shift, in pixels.
        flip: Random mirror images.
        teacher_weight: Share of the loss that asks for the whole network's outputs, as it was before the removals.
        precision: Numbers that the networks are trained in.
        repeats: How often all of this is done, with other held-out images, orders and random layers.
        seed: Seed of random weights and of the first repeat; the others count on from it.
        device: Where the networks run; on a GPU a training step is a CUDA graph.
        out: Folder of the result.
    """
    settings = dict(locals())
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1; got {repeats}")
    with result_folder(out) as folder:
        data, test = load_train_and_test(dataset, image_size=image_size)
        whole = build(model, num_classes=len(data.classes), weights=weights, device=device, seed=seed)
        results = []
        for one in range(seed, seed + repeats):
            done = prune_and_train(
                whole, (data.images, data.labels), (test.images, test.labels), criteria=criteria, layout=layout,
                max_macs=max_macs, num_samples=num_samples, first_epochs=first_epochs, epochs=epochs,
                batch_size=batch_size, lr=lr, warmup=warmup, weight_decay=weight_decay, augment=augment, flip=flip,
                teacher_weight=teacher_weight, precision=precision, channels_last=True,
                cuda_graph=device.startswith("cuda"), seed=one,
            )  # fmt: skip
            for name, network in done.networks.items():
                write_table(folder / f"plans/{name} {one}.csv", done.plans[name])
                save_weights(network, folder / f"networks/{name} {one}.safetensors")
            results.append(done)
        table, training, curves = (
            pd.concat([part.assign(seed=seed + i) for i, part in enumerate(parts)], ignore_index=True)
            for parts in zip(*((one.table, one.epochs, one.curves) for one in results), strict=True)
        )
        summary = summarize_repeats(table)

        write_table(folder / "table.csv", table)
        write_table(folder / "summary.csv", summary)
        write_table(folder / "training.csv", training)
        write_table(folder / "curves.csv", curves)
        write_figure(folder / "figure.png", plot_pruning(table))
        write_figure(folder / "curves.png", plot_sweep(curves, "network"))
        write_settings(folder, settings, held_out=[[data.ids[i] for i in one.held_out.tolist()] for one in results])
    print(summary.round(4).to_string(index=False))
    print(f"\nTables, figures, plans, weights and settings are in {out}")
    return table


if __name__ == "__main__":
    run(main)
