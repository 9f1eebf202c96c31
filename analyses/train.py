r"""Training: a network from scratch on labelled images, for the other studies to look into.

    python -m analyses.train
    python -m analyses.train --model resnet20 --dataset torchvision:CIFAR10 --epochs 100 --augment 4 --flip \
        --precision bfloat16 --channels-last --checkpoint resnet20.ckpt

A run with `--checkpoint FILE` that was stopped goes on where it was.
"""

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from graphmod.commandline import run
from graphmod.datasets import load_train_and_test
from graphmod.models import build, save_weights
from graphmod.plots.training import plot_training
from graphmod.reports import result_folder, write_figure, write_settings, write_table
from graphmod.training import train

SMOKE = {"epochs": 1}


def main(
    *,
    model: str = "digits",
    dataset: str = "digits",
    download: bool = False,
    image_size: int | None = None,
    epochs: int = 60,
    batch_size: int = 64,
    lr: float = 0.1,
    milestones: tuple[int, ...] = (),
    weight_decay: float = 5e-4,
    augment: int = 1,
    flip: bool = False,
    precision: Literal["float32", "bfloat16"] = "float32",
    channels_last: bool = False,
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    checkpoint: Path | None = None,
    out: Path = Path("results/train"),
) -> pd.DataFrame:
    """Runs the training and returns its table, an epoch a row.

    Args:
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH, with the splits train and test.
        download: Lets torchvision download its data set into the folder datasets.
        image_size: Scales and crops images to this size.
        epochs: Passes over the training images.
        batch_size: Images in a step.
        lr: Learning rate at the start; without milestones it falls to 0 along a cosine.
        milestones: Epochs after which it is divided by 10.
        weight_decay: Weight decay.
        augment: Largest random shift, in pixels.
        flip: Random mirror images.
        precision: Numbers of the forward pass; bfloat16 halves the time where it is supported.
        channels_last: Memory format that convolutions are faster in.
        seed: Seed of the weights, the order and the augmentation.
        device: Where the network trains.
        checkpoint: File that keeps the run after each epoch.
        out: Folder of the result.
    """
    settings = dict(locals())
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; got {epochs}")
    with result_folder(out) as folder:
        data, test = load_train_and_test(dataset, image_size=image_size, download=download)
        network = build(model, num_classes=len(data.classes), device=device, seed=seed)
        table = pd.DataFrame(
            train(
                network, data.images, data.labels, epochs=epochs, batch_size=batch_size, lr=lr,
                milestones=milestones, weight_decay=weight_decay, augment=augment, flip=flip, precision=precision,
                channels_last=channels_last, seed=seed, checkpoint=checkpoint,
                test=(test.images, test.labels),
            )
        )  # fmt: skip

        write_table(folder / "table.csv", table)
        write_figure(folder / "figure.png", plot_training(table))
        save_weights(network, folder / "weights.safetensors")
        write_settings(folder, settings)
    print(table.tail(5).round(4).to_string(index=False))
    print(f"\nWeights, table, figure and settings are in {out}")
    return table


if __name__ == "__main__":
    run(main)
