r"""Adversarial attacks: which layers lose the classes, and is it the attack that does it?

Claim (Lu et al. 2022): under attack Q falls in every layer, early ones included. The published code clipped normalised
images to [0, 1]. So the same samples are measured clean, under each attack, under that clip alone (clip_only), and
under noise of the same size (noise: uniform up to eps; gaussian: the L2 norm of the first attack on each image).

    python -m analyses.adversarial
    python -m analyses.adversarial --model resnet56 --weights resnet56.pt --dataset folder:cifar10 --num-samples 500 \
        --eps 0.0314 --attacks pgd,fgsm,cw --compat lu2022
"""

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from graphmod import dynamic_graph, layer_names
from graphmod.adversarial import attack_strength, attacks_and_controls
from graphmod.attacked_curves import attacked_curve, attacked_curves, first_departure, strength_sweep
from graphmod.attacks import attack_settings, check_eps
from graphmod.commandline import run
from graphmod.datasets import load
from graphmod.detection import attacked_and_bank, detection, lost_neighbors
from graphmod.models import build
from graphmod.plots.conditions import plot_conditions
from graphmod.plots.sweep import plot_sweep
from graphmod.published import published_attacks
from graphmod.reports import result_folder, write_figure, write_settings, write_table

SMOKE = {"num_samples": 60, "attacks": ("pgd", "jsma"), "strengths": (0.1,)}


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
    seed: int = 0,
    attacks: tuple[str, ...] = ("pgd", "fgsm", "jsma"),
    eps: float = 0.1,
    compat: Literal["lu2022"] | None = None,
    evolution: tuple[int, ...] = (40, 20),
    against: tuple[str, ...] = (),
    strengths: tuple[float, ...] = (0.01, 0.03, 0.06, 0.12),
    published: str | None = None,
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/adversarial"),
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
        num_samples: Images that are attacked, all of which the network is right on; the others are the detector's bank.
        seed: Seed of the draw, of what the attacks draw and of random weights.
        attacks: Files of graphmod/attacks, or art:NAME.
        eps: Largest change of a pixel, in (0, 1], for attacks that have such a bound and the uniform noise.
        compat: As published, on normalised images that are clipped to [0, 1], or none.
        evolution: Candidates and generations of one_pixel; 400,100 as published.
        against: Data sets that stand where an attack stands, such as folder:PATH of corrupted images.
        strengths: The eps at which the first attack that has it is swept, in pixels.
        published: Network whose published curves stand beside: ResNet18, VGG16, or none.
        device: Where the network runs and the graphs are built.
        out: Folder of the result.
    """
    settings = dict(locals())
    if len(evolution) != 2:
        raise ValueError(f"evolution must be two numbers, candidates and generations; got {len(evolution)}")
    for one in strengths:
        check_eps(one)
    beside = published_attacks(published, attacks) if published else {}
    with result_folder(out) as folder:
        data = load(dataset, split=split, image_size=image_size)
        network = build(model, num_classes=len(data.classes), weights=weights, device=device, seed=seed)
        layer_names(network, layers)  # a wrong name is said before the attacks
        chosen, rest = attacked_and_bank(network, data.images, data.labels, num_samples, seed=seed)
        x, y = data.images[chosen], data.labels[chosen]
        own = {"seed": seed, "eps": eps, "compat": compat, "population": evolution[0], "generations": evolution[1]}
        conditions = attacks_and_controls(network, x, y, attacks, own)
        controls = [name for name in conditions if name not in attacks]
        curves, graphs = attacked_curves(network, x, y, conditions, layers=layers, k=k, seed=seed)
        for name in against:
            other = load(name, split=split, num_samples=len(y), order="stratified", seed=seed, image_size=image_size)
            graphs[name] = dynamic_graph(network, other.images, other.labels, layers, k=k, title=name)
            curves = pd.concat([curves, attacked_curve(name, graphs[name], graphs["clean"], seed=seed)])
        caught = detection(network, (data.images[rest], data.labels[rest]), x, conditions, layers=layers, seed=seed)
        table = pd.DataFrame({"condition": curves.condition.unique()})
        for part in (attack_strength(network, x, y, {"clean": x, **conditions}), first_departure(curves), caught):
            table = table.merge(part, how="left")
        lost = {name: lost_neighbors(graphs["clean"], graphs[name]) for name in conditions}
        per_sample = pd.DataFrame({"id": data.names(chosen)} | {name: first for name, (_, first) in lost.items()})
        write_table(folder / "table.csv", table)
        write_table(folder / "curves.csv", curves)
        write_table(folder / "lost.csv", pd.concat([one.assign(condition=name) for name, (one, _) in lost.items()]))
        write_table(folder / "samples.csv", per_sample)
        write_figure(folder / "figure.png", plot_conditions(curves[curves.samples == "all"], controls, beside))
        fooled = curves.query("samples != 'all' or condition == 'clean'")
        write_figure(folder / "fooled.png", plot_conditions(fooled, controls, order=curves.condition))
        if swept := next((name for name in attacks if "eps" in attack_settings(name)), None):
            sweep = strength_sweep(network, x, y, swept, strengths, layers=layers, k=k, seed=seed)
            write_table(folder / "strengths.csv", sweep)
            write_figure(folder / "strengths.png", plot_sweep(sweep, "eps"))
        write_settings(folder, settings, samples=list(per_sample.id))
    print(f"{table.round(3).to_string(index=False)}\n\nTables, figures and settings are in {out}")
    return table


if __name__ == "__main__":
    run(main)
