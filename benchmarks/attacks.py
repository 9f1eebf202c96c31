"""Attacks beside those of torchattacks, foolbox, ART and advertorch: the same images and settings, in one process.

    make bench
    python benchmarks/attacks.py --model resnet20 --weights resnet20.pt --dataset folder:cifar10
    python benchmarks/attacks.py --device cuda ...

Milliseconds an image of a batch; peers that take images one by one are given fewer of them. On a graphics card each
contestant runs once before it is timed, and the clock is read when the card has finished. Those that take long are not
repeated as often as the others.
"""

import argparse
import math
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from _bench import write
from torch import Tensor

from graphmod.adversarial import recognized
from graphmod.attacks import find_attack
from graphmod.datasets import load
from graphmod.inputs import predictions
from graphmod.models import build

EPS, STEPS = 8 / 255, 10
BATCHES = 10
CW = {"steps": 50, "lr": 0.01}
Attack = Callable[[Tensor, Tensor], Tensor]


def ours(model: torch.nn.Module, name: str, **settings: object) -> Attack:
    """An attack of graphmod, looked up before the clock runs, as those of the peers are made before."""
    attack = find_attack(name)
    return lambda x, y: attack(model, x, y, progress=False, **settings)


def in_batches(attack: Attack) -> Attack:
    """The same for several batches one after the other."""

    def run(x: Tensor, y: Tensor) -> Tensor:
        size = len(x) // BATCHES
        return torch.cat([attack(*part) for part in zip(x.split(size), y.split(size), strict=True)])

    return run


def contestants(model: torch.nn.Module, num_classes: int) -> dict[str, dict[str, tuple[Attack, bool]]]:
    """By attack and library: a function of images and labels, and whether it takes the images one by one."""
    import foolbox
    import torchattacks
    import torchattacks.attacks.jsma

    home = next(model.parameters()).device
    bounded = foolbox.PyTorchModel(model, (0, 1), device=home)  # which would take a card that is there

    def fool(attack: object, eps: float | None = EPS) -> Attack:
        return lambda x, y: attack(bounded, x, y, epsilons=eps)[1]  # type: ignore[operator]

    def towards_next(name: str, **settings: object) -> Attack:
        attack = find_attack(name)
        return lambda x, y: attack(model, x, y, targets=(y + 1) % num_classes, progress=False, **settings)

    def local(x: Tensor, y: Tensor) -> Tensor:
        sys.modules["torch.autograd.gradcheck"].zero_gradients = lambda *_: None  # which has left torch
        from advertorch.attacks import LocalSearchAttack

        return LocalSearchAttack(model, round_ub=10).perturb(x, y)

    one_step = torchattacks.FGSM(model, eps=EPS), fool(foolbox.attacks.FGSM())
    return {
        "fgsm": {
            "graphmod": (ours(model, "fgsm", eps=EPS), False),
            "torchattacks": (one_step[0], False),
            "foolbox": (one_step[1], False),
        },
        f"fgsm, {BATCHES} batches": {
            "graphmod": (ours(model, "fgsm", eps=EPS), False),
            "torchattacks": (in_batches(one_step[0]), False),
            "foolbox": (in_batches(one_step[1]), False),
        },
        f"pgd, linf, {STEPS} steps": {
            "graphmod": (ours(model, "pgd", eps=EPS, steps=STEPS), False),
            "torchattacks": (torchattacks.PGD(model, eps=EPS, alpha=EPS / 4, steps=STEPS), False),
            "foolbox": (fool(foolbox.attacks.LinfPGD(steps=STEPS)), False),
        },
        f"pgd, l2, {STEPS} steps": {
            "graphmod": (ours(model, "pgd", eps=0.5, norm="l2", steps=STEPS), False),
            "torchattacks": (torchattacks.PGDL2(model, eps=0.5, alpha=0.125, steps=STEPS), False),
            "foolbox": (fool(foolbox.attacks.L2PGD(steps=STEPS), 0.5), False),
        },
        "cw, 50 steps, c = 1": {
            "graphmod": (ours(model, "cw", search_steps=1, **CW), False),
            "torchattacks": (torchattacks.CW(model, c=1, **CW), False),
            "foolbox": (
                fool(foolbox.attacks.L2CarliniWagnerAttack(1, steps=50, stepsize=0.01, initial_const=1), None),
                False,
            ),
        },
        "jsma, gamma = 0.1": {
            "graphmod": (towards_next("jsma"), False),
            "torchattacks": (torchattacks.JSMA(model, theta=1.0, gamma=0.1), True),
            "ART": (towards_next("art:SaliencyMapMethod", theta=1.0, gamma=0.1), False),
        },
        "one_pixel, 10 generations of 10": {
            "graphmod": (ours(model, "one_pixel", population=10, generations=10), False),
            "torchattacks": (torchattacks.OnePixel(model, pixels=1, steps=10, popsize=10), True),
        },
        "local_search, 10 rounds": {
            "graphmod": (ours(model, "local_search", rounds=10), False),
            "advertorch": (local, True),
        },
    }


def timed(run: Attack, x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """Returns attacked images, and the seconds until the device had finished them."""
    wait = torch.cuda.synchronize if x.is_cuda else lambda: None
    wait()
    start = time.perf_counter()
    found = run(x, y).detach().to(x.device)
    wait()
    return found, time.perf_counter() - start


def main() -> None:
    """Runs the benchmark, prints its table and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--one-by-one", type=int, default=10, help="images for those that take them one by one")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=math.inf, help="after which a contestant is not repeated")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--out", type=Path, help="benchmarks/results/attacks.md, or attacks_gpu.md, unless given")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    on_card = options.device.type == "cuda"
    warnings.simplefilter("ignore")

    data = load(options.dataset, split="test")
    model = build(options.model, num_classes=len(data.classes), weights=options.weights).to(options.device)
    rows = recognized(model, data.images, data.labels, options.images)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    x, y = data.images[rows].to(options.device), data.labels[rows].to(options.device)
    table = []
    batch = x, y
    for attack, people in contestants(model, len(data.classes)).items():
        times = BATCHES if attack.endswith(" batches") else 1
        x, y = batch[0].repeat(times, 1, 1, 1), batch[1].repeat(times)
        best: dict[str, float] = {}
        found: dict[str, Tensor] = {}
        absent: set[str] = set()
        spent: Counter[str] = Counter()
        for repeat in range(-1 if on_card else 0, options.repeats):
            for who, (run, slow) in people.items():
                few = slice((options.one_by_one if repeat >= 0 else 1) if slow else None)
                if who in absent or spent[who] > options.seconds:
                    continue
                try:
                    images, seconds = timed(run, x[few], y[few])
                except Exception as error:
                    if who == "graphmod":
                        raise
                    print(f"{who} {attack}: {type(error).__name__}: {error}", flush=True)
                    absent.add(who)
                    continue
                if repeat >= 0:  # the run before the first is not counted
                    found[who], best[who] = images, min(best.get(who, math.inf), seconds / len(images))
                    spent[who] += seconds
        peers = [seconds for who, seconds in best.items() if who != "graphmod"]
        for who, seconds in best.items():
            images = found[who]
            fooled = predictions(model, images).argmax(1) != y[: len(images)]
            size = (images - x[: len(images)]).flatten(1).norm(dim=1)[fooled]
            table.append(
                {
                    "attack": attack, "library": who, "images": len(images), "ms an image": f"{1000 * seconds:.3g}",
                    "fastest peer / this": f"{min(peers) / seconds:.1f}" if peers else "",
                    "success": f"{float(fooled.double().mean()):.2f}",
                    "median L2": f"{float(size.median()):.3f}" if len(size) else "",
                }
            )  # fmt: skip
        print(pd.DataFrame(table[-len(best) :]).to_string(index=False), flush=True)
    rarely = f", fewer of those that take {options.seconds:g} s" if options.seconds < math.inf else ""
    source = Path(options.dataset.rpartition(":")[2]).name
    what = f"{options.model}, {len(batch[0])} images of {source} in one batch"
    how = f"{what}; best of {options.repeats} runs in turn{rarely};"
    out = options.out or Path("benchmarks/results") / f"attacks{'_gpu' * on_card}.md"
    write(out, "Attacks", how, pd.DataFrame(table), options.device)


if __name__ == "__main__":
    main()
