"""From a plan to trained networks: what is held out, what is removed, who teaches, and how seeds are compared."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from graphmod._finished import finished_work
from graphmod.datasets import load
from graphmod.inputs import predictions
from graphmod.models import build
from graphmod.plots.pruning import plot_pruning
from graphmod.pruning import beyond_layout, drop_layers, plan_removal
from graphmod.removal import compare_networks
from graphmod.retraining import prune_and_train, summarize_repeats, summarize_training, train_alike
from graphmod.samples import draw, others
from graphmod.training import accuracy, train


@pytest.fixture(scope="module")
def digits() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    data = load("digits")
    return build("digits", weights="default"), data.images[:300], data.labels[:300]


def test_everything_is_planned_trained_and_judged_as_by_hand(digits) -> None:
    model, x, y = digits
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = {"lr": 0.01, "batch_size": 50}
    done = prune_and_train(
        model, (x[:200], y[:200]), (x[200:], y[200:]), criteria=["gain"], layout=(2, 1, 1), max_macs=0.5,
        num_samples=60, first_epochs=2, epochs=3, teacher_weight=0.7, seed=3, **options,
    )  # fmt: skip
    held = draw(y[:200], 60, seed=3)[0]
    rest = others(held, 200)
    assert torch.equal(done.held_out, held)
    options |= {"held_out": (x[held], y[held]), "test": (x[200:], y[200:]), "seed": 3}
    base = drop_layers(model, [])
    first = list(train(base, x[rest], y[rest], epochs=2, **options))
    plan = plan_removal(base, x[held], y[held], max_macs=0.5, criterion="gain", seed=3)
    pd.testing.assert_frame_equal(done.plans["gain"], plan)
    assert list(done.plans["layout 2-1-1"].layer) == beyond_layout(model, (2, 1, 1))
    small = drop_layers(base, list(plan.layer))
    removed = accuracy(small, x[200:], y[200:])
    second = list(train(small, x[rest], y[rest], epochs=3, teacher=base, teacher_weight=0.7, **options))
    assert all(torch.equal(a, b) for a, b in zip(small.parameters(), done.networks["gain"].parameters(), strict=True))

    assert done.table.network.tolist() == ["whole", "gain", "layout 2-1-1"] == list(done.networks)
    assert done.table.removed.tolist() == [0, len(plan), len(beyond_layout(model, (2, 1, 1)))]
    assert done.table.accuracy.tolist()[:2] == [first[-1]["test_accuracy"], removed]
    assert done.table.accuracy_last[1] == second[-1]["test_accuracy"]
    names = done.epochs.network.tolist()
    assert names == ["whole, before"] * 2 + ["whole"] * 3 + ["gain"] * 3 + ["layout 2-1-1"] * 3
    pd.testing.assert_frame_equal(done.epochs[5:8].drop(columns="network").reset_index(drop=True), pd.DataFrame(second))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"layout": (9, 9)}, "layout must be at most"), ({"max_macs": 0.01}, "max_macs must be at least 0.183")],
)
def test_what_cannot_be_is_said_before_anything_is_trained(digits, monkeypatch, options: dict, message: str) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("graphmod.retraining.train", never)
    model, x, y = digits
    with pytest.raises(ValueError, match=message):
        prune_and_train(
            model, (x[:200], y[:200]), (x[200:], y[200:]),
            **{"criteria": ["gain"], "max_macs": 0.5, "num_samples": 60, "first_epochs": 1, "epochs": 1, **options},
        )  # fmt: skip


def test_bytes_are_pixels_for_every_step() -> None:
    x = torch.randint(0, 256, (60, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0].float().mean((1, 2)) > 127).long()
    torch.manual_seed(0)
    blocks = [layer for _ in range(3) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())]
    model = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(108, 2))
    tables = [
        prune_and_train(
            model, (data[:40], y[:40]), (data[40:], y[40:]), criteria=["gain"], max_macs=0.8, num_samples=16, epochs=1,
            lr=0.01,
        ).table.drop(columns="latency")
        for data in (x, x / 255)
    ]  # fmt: skip
    pd.testing.assert_frame_equal(*tables)
    assert torch.equal(predictions(model, x), predictions(model, x / 255))


class Block(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.linear(x).relu()


class Listed(torch.nn.Module):
    LAYERS = ("blocks.*",)

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block() for _ in range(4))
        self.head = torch.nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_layers_that_are_numbered_anew_keep_their_depth() -> None:
    torch.manual_seed(0)
    x = torch.rand(120, 6)
    y = (x[:, 0] > 0.5).long()
    model = Listed()
    torch.nn.init.zeros_(model.blocks[0].linear.weight)
    torch.nn.init.zeros_(model.blocks[0].linear.bias)
    done = prune_and_train(
        model, (x[:80], y[:80]), (x[80:], y[80:]), criteria=["block_influence"], max_macs=0.8, num_samples=30, epochs=1,
        lr=0.01, progress=False,
    )  # fmt: skip
    assert done.plans["block_influence"].layer.tolist() == ["blocks.0"]
    curves = done.curves.groupby("network")[["layer", "depth"]].agg(list)
    assert curves.loc["whole"].tolist() == [[f"blocks.{i}" for i in range(4)], [1, 2, 3, 4]]
    assert curves.loc["block_influence"].tolist() == [["blocks.1", "blocks.2", "blocks.3"], [2, 3, 4]]


def test_refusals(digits) -> None:
    model, x, y = digits
    with pytest.raises(ValueError, match="epochs must be at least 1; got 0"):
        prune_and_train(model, (x, y), (x, y), criteria=["gain"], max_macs=0.5, epochs=0)


def test_no_epochs_have_no_summary() -> None:
    with pytest.raises(ValueError, match="the table has no column 'test_accuracy'; train for at least one epoch"):
        summarize_training(pd.DataFrame({"network": ["small"]}))


def test_networks_are_trained_alike_and_summarized(digits, tmp_path: Path) -> None:
    model, x, y = digits
    networks = {"whole": drop_layers(model, []), "small": drop_layers(model, ["layer1.1", "layer3.2"])}
    before = compare_networks(networks, x[200:], x[:200], y[:200])
    assert before.network.tolist() == ["whole", "small"]
    assert before.macs[0] > before.macs[1]
    assert before.accuracy[1] == accuracy(networks["small"], x[:200], y[:200])
    options = {"epochs": 3, "lr": 0.01, "teacher": model, "held_out": (x[200:], y[200:])}
    options |= {"test": (x[:200], y[:200])}
    alone = drop_layers(networks["small"], [])
    expected = list(train(alone, x, y, **options))
    with finished_work(tmp_path / "work") as folder:
        table = train_alike(networks, x, y, **options)
        assert len(list(folder.iterdir())) == 2
        fresh = {"whole": drop_layers(model, []), "small": drop_layers(model, ["layer1.1", "layer3.2"])}
        pd.testing.assert_frame_equal(train_alike(fresh, x, y, **options), table, check_exact=True)
        marked = {"whole": drop_layers(model, [])}
        marked["whole"].note = lambda: 0  # what cannot be told from another network is not kept
        train_alike(marked, x, y, **options)
        assert len(list(folder.iterdir())) == 2
    for network in (networks["small"], fresh["small"]):
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), alone.parameters(), strict=True))
    rows = table[table.network == "small"].drop(columns="network").reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, pd.DataFrame(expected))
    summary = summarize_training(table).set_index("network")
    best = max(expected, key=lambda row: row["held_out_accuracy"])
    assert summary.accuracy_best["small"] == best["test_accuracy"]
    assert summary.accuracy_last["small"] == expected[-1]["test_accuracy"]
    ax = plot_pruning(before.merge(summarize_training(table)))
    assert len(ax.containers) == 3


def test_seeds_are_compared_with_their_own_whole_network() -> None:
    table = pd.DataFrame({
        "network": ["whole", "small"] * 2, "seed": [0, 0, 1, 1], "macs": [10, 4] * 2, "num_parameters": [9, 3] * 2,
        "accuracy": [0.90, 0.1, 0.92, 0.2], "accuracy_reestimated": [0.9, 0.4, 0.9, 0.6],
        "accuracy_last": [0.91, 0.93, 0.95, 0.92], "accuracy_best": [0.91, 0.94, 0.95, 0.92],
    })  # fmt: skip
    small = summarize_repeats(table).set_index("network").loc["small"]
    assert small.seeds == 2
    assert small.accuracy_last == pytest.approx(0.925)
    assert [small.gain, small.gain_least, small.gain_std] == pytest.approx([0.015, 0.0, 0.03 / 2**0.5])
    assert [small.gain_alike, small.gain_alike_least] == pytest.approx([-0.005, -0.03])
    apart = pd.concat([table[table.seed == seed].reset_index(drop=True) for seed in (0, 1)])  # the index twice
    for one in (table, apart):
        axes = plot_pruning(one).figure.axes
        points = [line for line in axes[1].lines if line.get_marker() == "o"]
        assert points[1].get_xdata().tolist() == pytest.approx([3.0, 0.0])
        assert [text.get_text() for text in axes[1].texts] == ["+2.00", "+1.50"]


def test_options_that_follow_from_the_others_are_refused() -> None:
    x, y = torch.rand(40, 4), torch.arange(40) % 2
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    with pytest.raises(TypeError, match="prune_and_train chooses held_out itself; leave it out"):
        prune_and_train(model, (x, y), (x, y), criteria=["last"], max_macs=0.5, held_out=(x, y))


def test_the_same_layers_are_measured_however_few_are_left() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.i, self.o = nn.Linear(16, 8), nn.Linear(8, 2)
            self.blocks = nn.ModuleList(Block() for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            x = self.i(x.flatten(1))
            for block in self.blocks:
                x = block(x)
            return self.o(x)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.l(x).relu()

    torch.manual_seed(0)
    x, y = torch.rand(80, 1, 4, 4), torch.arange(80) % 2
    done = prune_and_train(
        Net(), (x, y), (x, y), criteria=["modularity"], max_macs=0.55, num_samples=20, epochs=1, progress=False
    )
    left = done.curves[done.curves.network == "modularity"]
    assert len(done.plans["modularity"]) == 3
    assert left.layer.iloc[-1].startswith("blocks.")
    assert done.table.last_q.iloc[1] == left.modularity.iloc[-1]
