"""From a network to smaller ones that are trained like it, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor, nn

from ._finished import Finished
from ._layers import LayerName
from .activations import layer_sizes
from .costs import latency
from .curves import modularity_curve
from .pruning import beyond_layout, drop_layers, macs_limit, plan_removal, removable_layers
from .removal import compare_networks
from .samples import draw, others
from .surgery import names_before, that_can_go
from .training import Labelled, train

MEASURED = 500
"""Test images of a modularity curve."""


@dataclass(frozen=True, eq=False)
class Retrained:
    """Networks of several removals after their training.

    Attributes:
        networks: The trained networks by name, the whole one first, as `whole`.
        plans: The layers that were removed, by name, as tables of `plan_removal` or with the column `layer` only.
        table: One row a network: `network`, `removed`, the columns of `compare_networks` as it was before its training,
            those of `summarize_training`, `last_q` (modularity of the last of the whole network's blocks that is left,
            NaN if none is), and `latency` of a batch in seconds.
        epochs: One row a network and epoch, see `train_alike`.
        curves: The modularity curve of each trained network, with the column `network`; a layer has the name and
            the depth that it has in the whole one.
        held_out: Rows of the training images that chose the layers and the best epoch, and were not trained on.
    """

    networks: dict[str, nn.Module]
    plans: dict[str, pd.DataFrame]
    table: pd.DataFrame
    epochs: pd.DataFrame
    curves: pd.DataFrame
    held_out: Tensor


def prune_and_train(
    model: nn.Module,
    data: Labelled,
    test: Labelled,
    *,
    criteria: Sequence[str],
    max_macs: float,
    layout: Sequence[int] = (),
    num_samples: int = 200,
    first_epochs: int = 0,
    epochs: int = 10,
    batch_size: int = 64,
    teacher_weight: float = 0.5,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> Retrained:
    """Removes layers by several criteria and trains what is left, and the whole network, by one schedule.

    All start from the weights of the whole network, and learn from its outputs, too. Some of the training images are
    held out to choose the layers and the best epoch; the test images choose nothing.

    Args:
        model: The whole network; it stays as it is.
        data: Images to train on, and their labels.
        test: Images that judge, and their labels.
        criteria: Files of `graphmod/criteria`.
        max_macs: Multiply-adds to be reached, as in `plan_removal`.
        layout: Also the network with the first so many layers of each stage, see `beyond_layout`.
        num_samples: Training images that are held out.
        first_epochs: Passes that train the whole network before anything is removed, by the same schedule.
        epochs: Passes that train each network afterwards, the whole one too.
        batch_size: Images in a step.
        teacher_weight: Share of the loss that asks for the outputs of the whole network as it was before the removals.
        seed: Seed of what is held out, of the order, and of criteria that draw at random.
        progress: Shows progress bars on a terminal.
        **options: Of `graphmod.training.train`.

    Raises:
        TypeError: If options are given that follow from the others.
        ValueError: As `plan_removal`, `beyond_layout` and `train`, or if there are no epochs.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1; got {epochs}")
    if given := sorted({"held_out", "test", "teacher"} & options.keys()):
        raise TypeError(f"prune_and_train chooses {', '.join(given)} itself; leave it out")
    held = draw(data[1], num_samples, seed=seed)[0]
    rest = others(held, len(data[1]))
    chosen, left = (data[0][held], data[1][held]), (data[0][rest], data[1][rest])
    options |= {"batch_size": batch_size, "seed": seed, "held_out": chosen, "test": test, "progress": progress}
    whole, parts = drop_layers(model, [], data[0][:1]), []
    there = removable_layers(whole, chosen[0][:2])
    beyond = beyond_layout(whole, layout) if layout else []
    macs_limit(whole, chosen[0][:1], that_can_go(there), max_macs)  # what cannot be is said before anything is trained
    if first_epochs:
        parts.append(train_alike({"whole, before": whole}, *left, epochs=first_epochs, **options))
    plans = {
        name: plan_removal(
            whole, *chosen, max_macs=max_macs, criterion=name, layers=there, seed=seed, progress=progress
        )
        for name in criteria
    }
    if layout:
        plans["layout " + "-".join(map(str, layout))] = pd.DataFrame({"layer": beyond})
    plans = {"whole": pd.DataFrame({"layer": []}), **plans}
    networks = {name: drop_layers(whole, list(plan.layer), data[0][:1]) for name, plan in plans.items()}
    table = compare_networks(networks, chosen[0], *test)
    table.insert(1, "removed", [len(plan) for plan in plans.values()])
    parts.append(train_alike(networks, *left, epochs=epochs, teacher=whole, teacher_weight=teacher_weight, **options))
    table = table.merge(summarize_training(parts[-1]))
    shown = draw(test[1], min(MEASURED, len(test[1])), seed=seed)[0]
    curves = _curves(networks, plans, test[0][shown], test[1][shown], progress)
    table["last_q"] = table.network.map(curves.drop_duplicates("network", keep="last").set_index("network").modularity)
    table["latency"] = table.network.map(latency(networks, test[0][:batch_size]))
    return Retrained(networks, plans, table, pd.concat(parts, ignore_index=True), curves, held)


def _curves(
    networks: Mapping[str, nn.Module], plans: Mapping[str, pd.DataFrame], x: Tensor, y: Tensor, progress: bool
) -> pd.DataFrame:
    """The curves of networks at the blocks of the whole one, under their names and depths there."""
    whole = networks["whole"]
    points = {name.partition("@")[0] for name in layer_sizes(whole, x[:2])}
    curves = {}
    for name, network in networks.items():
        before = names_before(whole, plans[name].layer)  # "blocks" of what is left may be others
        if layers := [LayerName(now) for now, was in before.items() if was in points]:
            curve = modularity_curve(network, x, y, layers=layers, progress=progress)
            parts = curve.layer.str.partition("@")  # the number of a call stays
            curves[name] = curve.assign(layer=parts[0].map(before) + parts[1] + parts[2])
    places = curves["whole"][["layer", "depth"]]
    placed = [curve.drop(columns="depth").merge(places).assign(network=name) for name, curve in curves.items()]
    return pd.concat(placed, ignore_index=True)


def train_alike(
    networks: Mapping[str, nn.Module],
    images: Tensor,
    labels: Tensor,
    *,
    teacher: nn.Module | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Trains several networks on the same images by the same schedule.

    In a study that was stopped, networks go on after their last full epoch.

    Args:
        networks: Networks by name; they are changed.
        images: `[N, ...]`.
        labels: Int64 `[N]`.
        teacher: A network whose outputs they learn too.
        **options: Of `graphmod.training.train`.

    Returns:
        One row a network and epoch: `network`, and the columns of `train`.
    """
    tables = []
    for name, network in networks.items():
        checkpoint = Finished("training", images, labels, teacher, options, network).file(name)
        epochs = train(network, images, labels, teacher=teacher, checkpoint=checkpoint, **options)
        tables.append(pd.DataFrame(epochs).assign(network=name))
    table = pd.concat(tables, ignore_index=True)
    return table[["network", *table.columns.drop("network")]]


def summarize_training(table: pd.DataFrame) -> pd.DataFrame:
    """Takes the accuracy after the last epoch and after the best one, which the held-out images choose.

    Args:
        table: A table of `train_alike` with `held_out_accuracy` and `test_accuracy`.

    Returns:
        One row a network, in order: `network`, `accuracy_last`, `accuracy_best`, `best_epoch`.

    Raises:
        ValueError: If there are no test accuracies.

    Example:
        >>> table = pd.DataFrame({"network": "small", "epoch": [1, 2, 3], "held_out_accuracy": [0.5, 0.9, 0.8]})
        >>> summarize_training(table.assign(test_accuracy=[0.6, 0.7, 0.8])).to_dict("records")
        [{'network': 'small', 'accuracy_last': 0.8, 'accuracy_best': 0.7, 'best_epoch': 2}]
    """
    if "test_accuracy" not in table:
        raise ValueError("the table has no column 'test_accuracy'; train for at least one epoch, with test images")
    last = table.groupby("network", sort=False).test_accuracy.last().rename("accuracy_last")
    best = table.loc[table.groupby("network", sort=False).held_out_accuracy.idxmax()].set_index("network")
    best = best[["test_accuracy", "epoch"]].set_axis(["accuracy_best", "best_epoch"], axis=1)
    return last.to_frame().join(best).reset_index()


def summarize_repeats(table: pd.DataFrame) -> pd.DataFrame:
    """Compares pruned networks with the whole one, seed by seed.

    Args:
        table: Tables of `prune_and_train` one under the other, with the column `seed`.

    Returns:
        One row a network, in order: `network`, the number of `seeds`; means of `macs`, `num_parameters`, `accuracy`,
        `accuracy_reestimated`, `accuracy_last` and `accuracy_best`; and of the accuracy of the last epoch less that of
        the whole network of the same seed the mean, standard deviation and least: before its second training
        (`gain`, `gain_std`, `gain_least`), and after it (`gain_alike`, `gain_alike_std`, `gain_alike_least`).

    Example:
        >>> table = pd.DataFrame({"seed": 0, "network": ["whole", "small"], "macs": [10, 4], "num_parameters": [9, 3]})
        >>> table = table.assign(accuracy=[0.9, 0.2], accuracy_reestimated=[0.9, 0.5], accuracy_last=[0.92, 0.91])
        >>> summarize_repeats(table.assign(accuracy_best=table.accuracy_last))[["gain", "gain_alike"]].round(2).values
        array([[ 0.02,  0.  ],
               [ 0.01, -0.01]])
    """
    whole = table[table.network == "whole"].set_index("seed")
    means = ["macs", "num_parameters", "accuracy", "accuracy_reestimated", "accuracy_last", "accuracy_best"]
    parts = [table.groupby("network", sort=False)[means].mean()]
    for name, column in (("gain", "accuracy"), ("gain_alike", "accuracy_last")):
        gain = (table.accuracy_last - table.seed.map(whole[column])).groupby(table.network, sort=False)
        parts.append(gain.agg(["mean", "std", "min"]).set_axis([name, f"{name}_std", f"{name}_least"], axis=1))
    found = pd.concat(parts, axis=1)
    found.insert(0, "seeds", table.groupby("network", sort=False).size())
    return found.rename_axis("network").reset_index()
