r"""Training dynamics: when, and in which layers first, a network learns to pull the classes apart.

A network is trained from scratch, and after each epoch the modularity of every layer is measured on test images, which
it never trains on. The first layers hardly move; the last ones begin lowest and rise with the accuracy.

    python -m analyses.training_dynamics
    python -m analyses.training_dynamics --model resnet20 --dataset torchvision:CIFAR10 --epochs 100 --augment 4 \
        --flip --checkpoint resnet20.ckpt

A run with `--checkpoint FILE` that was stopped goes on where it was; what was measured stands beside it in FILE.csv.
"""

from pathlib import Path
from time import perf_counter

import pandas as pd
import torch

from graphmod.commandline import run
from graphmod.datasets import load_train_and_test
from graphmod.models import build, save_weights
from graphmod.plots.dynamics import plot_dynamics
from graphmod.reports import result_folder, write_figure, write_settings, write_table
from graphmod.samples import draw
from graphmod.tracking import ModularityTracker
from graphmod.training import accuracy, train

SMOKE = {"epochs": 2, "num_samples": 60}


def main(
    *,
    model: str = "digits",
    dataset: str = "digits",
    download: bool = False,
    image_size: int | None = None,
    epochs: int = 20,
    batch_size: int = 64,
    lr: float = 0.1,
    weight_decay: float = 5e-4,
    augment: int = 1,
    flip: bool = False,
    layers: tuple[str, ...] = ("blocks",),
    k: int = 3,
    num_samples: int = 500,
    every: int = 1,
    seed: int = 0,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    checkpoint: Path | None = None,
    out: Path = Path("results/training_dynamics"),
) -> pd.DataFrame:
    """Runs the training and returns the table of its layers, epoch by epoch.

    Args:
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH, with the splits train and test.
        download: Lets torchvision download its data set into the folder datasets.
        image_size: Scales and crops images to this size.
        epochs: Passes over the training images.
        batch_size: Images in a step.
        lr: Learning rate at the start; it falls to 0 along a cosine.
        weight_decay: Weight decay.
        augment: Largest random shift, in pixels.
        flip: Random mirror images.
        layers: Names, globs, blocks or all.
        k: Neighbours of each sample.
        num_samples: Test images that are measured, with as many of each class as its share.
        every: Measures at the epochs divisible by this number.
        seed: Seed of the weights, the order, the augmentation and the draw of test images.
        device: Where the network trains.
        checkpoint: File that keeps the run after each epoch.
        out: Folder of the result.
    """
    settings = dict(locals())
    if epochs < every:
        raise ValueError(f"epochs must be at least every, {every}, or none is measured; got {epochs}")
    with result_folder(out) as folder:
        data, test = load_train_and_test(dataset, image_size=image_size, download=download)
        rows = draw(test.labels, num_samples, seed=seed)[0]
        network = build(model, num_classes=len(data.classes), device=device, seed=seed)
        path = checkpoint and checkpoint.with_name(f"{checkpoint.name}.csv")
        tracker = ModularityTracker(network, test.images[rows], test.labels[rows], layers, every=every, k=k, path=path)
        measured = max(tracker.table.epoch, default=-1)  # by a run that was stopped
        probe = {"k": k, "num_samples": num_samples, "every": every}  # stands in the table beside epoch 0
        if checkpoint:
            known = tracker.table[tracker.table.metric.isin(probe)].set_index("metric").value.to_dict()
            alone = checkpoint.is_file() if measured < 0 else measured > 0 and not checkpoint.is_file()
            if alone or (measured >= 0 and known != probe):
                raise ValueError(f"{checkpoint} and {path} are not of one run with {probe}; choose another checkpoint")
        start = {"epoch": 0, "test_accuracy": accuracy(network, test.images, test.labels)}
        if measured < 0:
            tracker.step(0, test_accuracy=start["test_accuracy"], **probe)
        history, times, before = [start], [], perf_counter()
        for row in train(
            network, data.images, data.labels, epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay,
            augment=augment, flip=flip, test=(test.images, test.labels), seed=seed, checkpoint=checkpoint,
        ):  # fmt: skip
            history.append(row)
            epoch, trained = int(row["epoch"]), perf_counter()
            # One that was measured comes out again with the weights of the last.
            if epoch > measured and len(tracker.step(epoch, test_accuracy=row["test_accuracy"])):
                times.append((trained - before, perf_counter() - trained))
            before = perf_counter()
        seconds = pd.DataFrame(times, columns=["training", "tracking"]).median()
        share = f"{seconds.tracking / seconds.training:.1%}" if times else None  # nothing is left to train
        table = tracker.table[tracker.table.depth > 0].reset_index(drop=True)
        write_table(folder / "table.csv", table)
        write_table(folder / "training.csv", pd.DataFrame(history))
        write_figure(folder / "figure.png", plot_dynamics(tracker.table, accuracy="test_accuracy"))
        save_weights(network, folder / "weights.safetensors")
        write_settings(folder, settings, seconds=seconds.dropna().to_dict(), overhead=share, samples=test.names(rows))
    wide = table[table.metric == "modularity"].pivot(index="epoch", columns="layer", values="value")
    print(wide[table.layer.unique()].iloc[:: max(len(wide) // 10, 1)].round(3).to_string())
    spent = f"An epoch takes {seconds.training:.2f} s, measuring it {seconds.tracking:.2f} s: {share}"
    print(f"\n{spent if times else 'It was finished before'}\n\nWeights, tables, figure and settings are in {out}")
    return table


if __name__ == "__main__":
    run(main)
