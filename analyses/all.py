r"""All: the nine studies that look into one trained network, and one page with what they found.

The page `report.html` holds the figures, tables and settings of all of them, and needs no files beside it.

    python -m analyses.all
    python -m analyses.all --model resnet20 --weights resnet20.pt --dataset folder:cifar10 --num-samples 200
"""

import contextlib
import importlib
import inspect
import io
import shutil
import time
from pathlib import Path
from typing import Literal

import pandas as pd
import torch
from tqdm.auto import tqdm

from graphmod._family import members
from graphmod._files import reason
from graphmod.commandline import run
from graphmod.reports import result_folder, write_report, write_settings, write_table

SMOKE = {"studies": ("modularity_curve", "metrics"), "num_samples": 60, "repeats": 2}
# Those that train, remove layers, or compare networks.
OTHERS = {"all", "complexity", "layer_pruning", "removal_criteria", "train", "training_dynamics"}
STUDIES = tuple(study for study in members("analyses") if study not in OTHERS)


def main(
    *,
    studies: tuple[str, ...] = STUDIES,
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
    device: str = "cuda" if torch.cuda.is_available() else "cpu",
    out: Path = Path("results/all"),
) -> pd.DataFrame:
    """Runs the studies and returns a table of them.

    A study takes of these settings those that it has; the others are its own defaults, see its settings.json. Of one
    that the network or the data do not allow table and page say why.

    Args:
        studies: Names of studies, in the order of the page.
        model: digits, resnet20 (32, 44, 56, 110; 18, 34, 50, 101, 152), vgg11 (13, 16, 19), torchvision:, timm:NAME.
        weights: A file, or those that come with the model, or none for random ones.
        dataset: digits, folder:PATH, torchvision:NAME or npz:PATH.
        split: Part of the data set.
        image_size: Scales and crops images to this size.
        layers: Names, globs, blocks or all.
        k: Neighbours of each sample; the ablation compares several.
        num_samples: Samples of one graph.
        repeats: Number of disjoint draws, of num_samples each.
        order: How they are drawn; the published protocol is file.
        seed: Seed of the draws and of random weights.
        device: Where the network runs and the graphs are built.
        out: Folder of the results, one inside it for each study.
    """
    settings = dict(locals())
    if not studies or set(studies) - set(STUDIES):
        raise ValueError(f"studies must be one or more of {', '.join(STUDIES)}; got {', '.join(studies) or 'none'}")
    rows, texts, without = [], {}, {}
    with result_folder(out) as folder:
        for name in tqdm(studies, unit="study", leave=False, disable=None):
            study = importlib.import_module(f"analyses.{name}")
            own = {key: one.default for key, one in inspect.signature(study.main).parameters.items()}
            several = {key for key in own if isinstance(own[key], tuple) and own[key] != ("blocks",)}  # as k
            shared = {key: settings[key] for key in own.keys() & settings.keys() - several - {"out"}}
            if "num_samples" in several:
                shared["num_samples"] = (num_samples,)
            start, text = time.perf_counter(), inspect.cleandoc(study.__doc__ or "").split("\n\n    python -m")[0]
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    study.main(**shared, out=folder / name)
            except (ValueError, RuntimeError, AssertionError, ImportError) as error:  # the others need not wait for it
                without[name] = f"{name} came to no result: {reason(error)}"
            texts[name] = "\n\n".join([text, *([without[name]] if name in without else [])])
            seconds, summary = time.perf_counter() - start, without.get(name, text.splitlines()[0])
            rows.append({"study": name, "summary": summary, "seconds": seconds})
        if len(without) == len(studies):
            reasons = "; ".join(without.values())
            raise ValueError(f"{len(without)} of {len(studies)} studies came to no result; {reasons}")
        table = pd.DataFrame(rows)
        write_table(folder / "table.csv", table)
        write_settings(folder, settings)
        write_report(folder / "report.html", f"{model} on {dataset}", texts, without=without)
        first = next(name for name in studies if name not in without)
        shutil.copyfile(folder / first / "figure.png", folder / "figure.png")
    print(table.round(1).to_string(index=False))
    print(f"\nThe page report.html and the results are in {out}")
    return table


if __name__ == "__main__":
    run(main)
