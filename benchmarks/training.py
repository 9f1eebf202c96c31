"""Seconds of an epoch of training: float32 and bfloat16, memory formats, CUDA graphs, a pruned network, a teacher.

    make bench
    python benchmarks/training.py --model resnet56 --layout 2,3,6 --device cuda --images 50000 --batch-size 512

Random images; the numbers depend on their shape only. The best epoch counts, so that nothing is warming up.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
from _bench import write

from graphmod.models import build
from graphmod.pruning import beyond_layout, drop_layers
from graphmod.training import train

PLAIN = {"precision": "float32", "channels_last": False}
FAST = {"precision": "bfloat16", "channels_last": True}


def main() -> None:
    """Runs the benchmark, prints its table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet56")
    parser.add_argument("--layout", default="2,3,6", help="blocks of each stage that the pruned network has")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path, help="benchmarks/results/training.md, or training_gpu.md, unless given")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    on_card = options.device.type == "cuda"

    whole = build(options.model, device=options.device)
    small = drop_layers(whole, beyond_layout(whole, tuple(map(int, options.layout.split(",")))))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(options.images, 3, 32, 32, generator=generator).to(options.device)
    labels = torch.randint(10, (options.images,), generator=generator).to(options.device)
    cases = [("whole", whole, {**PLAIN}), ("whole", whole, {**FAST}), (f"layout {options.layout}", small, {**FAST})]
    if on_card:
        cases += [(name, network, {**how, "cuda_graph": True}) for name, network, how in cases[1:]]
    cases.append((f"layout {options.layout}, with a teacher", small, {**cases[-1][2], "teacher": whole}))
    rows = []
    for name, network, how in cases:
        seconds, start = [], time.perf_counter()
        for _ in train(
            drop_layers(network, []), images, labels, epochs=options.epochs, batch_size=options.batch_size, lr=0.01,
            augment=4, flip=True, progress=False, **how,
        ):  # fmt: skip
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
        rows.append(
            {
                "network": name, "precision": how["precision"], "channels last": how["channels_last"],
                "CUDA graph": how.get("cuda_graph", False), "seconds an epoch": f"{min(seconds):.2f}",
                "images a second": round(options.images / min(seconds)),
            }
        )  # fmt: skip
        print(rows[-1], flush=True)
    setting = f"{options.model}, {options.images} images, {options.batch_size} a step; best of {options.epochs} epochs;"
    out = options.out or Path("benchmarks/results") / f"training{'_gpu' * on_card}.md"
    write(out, "Training", setting, pd.DataFrame(rows), options.device)


if __name__ == "__main__":
    main()
