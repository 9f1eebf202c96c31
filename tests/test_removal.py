"""Removal curves: splits that are disjoint, accuracies that are those of the smaller networks, and the best criterion found."""

from copy import deepcopy
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from graphmod import removal
from graphmod._finished import finished_work
from graphmod.batch_norm import reestimate_batch_norm
from graphmod.datasets import load
from graphmod.models import build
from graphmod.plots.removal import plot_removal
from graphmod.plots.scatter import plot_scatter
from graphmod.pruning import drop_layers, plan_removal
from graphmod.removal import removal_curves, single_removals
from graphmod.samples import draw
from graphmod.training import accuracy

OPTIONS = {"criteria": ["modularity", "last", "random"], "removed": [1, 3], "num_samples": 60, "splits": 2,
           "draws": {"random": 2}}  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    data = load("digits")
    return build("digits", weights="default"), data.images[:300], data.labels[:300]


@pytest.fixture(scope="module")
def table(digits) -> pd.DataFrame:
    return removal_curves(*digits, **OPTIONS)


def test_every_row_is_what_its_network_gives(digits, table: pd.DataFrame) -> None:
    model, x, y = digits
    assert len(table) == 2 * (1 + 1 + 2) * 3
    for split, chosen in enumerate(draw(y, 60, 2)):
        judges = torch.ones(300, dtype=torch.bool)
        judges[chosen] = False
        plan = plan_removal(model, x[chosen], y[chosen], num_layers=3, criterion="modularity")
        rows = table[(table.criterion == "modularity") & (table.split == split)].set_index("removed")
        assert rows.layer[3] == plan.layer[2]
        for n in (0, 1, 3):
            smaller = drop_layers(model, plan.layer[:n])
            assert rows.accuracy[n] == accuracy(smaller, x[judges], y[judges])
            again = reestimate_batch_norm(smaller, x[chosen])
            assert rows.accuracy_reestimated[n] == accuracy(again, x[judges], y[judges])
            assert rows.num_parameters[n] == sum(parameter.numel() for parameter in smaller.parameters())


def test_no_draws(digits) -> None:
    with pytest.raises(ValueError, match="draws must be at least 1; got {'random': 0}"):
        removal_curves(*digits, criteria=["random"], removed=[1], draws={"random": 0})


def test_random_draws_differ_and_repeat(digits, table: pd.DataFrame) -> None:
    random = table[(table.criterion == "random") & (table.removed > 0)]
    assert random.groupby(["split", "draw"]).layer.agg(tuple).nunique() == 4
    pd.testing.assert_frame_equal(removal_curves(*digits, **OPTIONS), table, check_exact=True)


def test_a_stopped_study_goes_on(digits, table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with finished_work(tmp_path / "work") as folder:
        removal_curves(*digits, **OPTIONS)
        sorted(folder.iterdir())[0].unlink()
        real = removal.plan_removal
        monkeypatch.setattr(removal, "plan_removal", lambda *a, **o: asked.append(o["criterion"]) or real(*a, **o))
        pd.testing.assert_frame_equal(removal_curves(*digits, **OPTIONS), table, check_exact=True)
    assert len(asked) == 1


def test_single_removals(digits) -> None:
    model, x, y = digits
    table = single_removals(model, x, y, num_samples=100)
    assert len(table) == 7
    assert (table.change == table.gain.abs()).all()
    chosen = draw(y, 100)[0]
    judges = torch.ones(300, dtype=torch.bool)
    judges[chosen] = False
    whole = accuracy(model, x[judges], y[judges])
    assert (table.accuracy + table.accuracy_loss).to_numpy() == pytest.approx(whole)
    assert table.accuracy[0] == accuracy(drop_layers(model, [table.layer[0]]), x[judges], y[judges])
    ax = plot_scatter(table, ["gain", "modularity"], "accuracy_loss")
    rho = f"{table.modularity.corr(table.accuracy_loss, 'spearman'):.2f}".replace("-", "−")
    assert ax.figure.axes[1].get_title() == f"Spearman {rho}"


def test_the_last_block_is_judged_with_the_layer_that_holds_it() -> None:
    class Block(nn.Module):
        def __init__(self, middle: nn.Module) -> None:
            super().__init__()
            self.a, self.middle, self.b = nn.Linear(4, 4), middle, nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.b(self.middle(self.a(x)))

    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(Block(nn.Tanh()), Block(nn.ReLU())), nn.Linear(4, 2))
    x = torch.rand(60, 4)
    y = (x[:, 0] > 0.5).long()
    table = single_removals(model, x, y, num_samples=30)
    assert table.layer.tolist() == ["0.0", "0.1"]
    assert table.modularity.notna().all()
    with pytest.raises(ValueError, match="all 60 samples are drawn"):
        single_removals(model, x, y, num_samples=60)


def test_half_precision_in_a_wrapper(digits) -> None:
    model, x, y = digits
    half = torch.nn.DataParallel(deepcopy(model).bfloat16())
    options = {"criteria": ["last"], "removed": [1], "num_samples": 60, "splits": 1}
    curve = removal_curves(half, x, y, **options)
    assert curve.accuracy.tolist() == pytest.approx(removal_curves(model, x, y, **options).accuracy, abs=0.03)
    assert (
        single_removals(half, x, y, num_samples=100).layer.tolist()
        == single_removals(model, x, y, num_samples=100).layer.tolist()
    )


def test_the_picture_shows_means_and_ranges(table: pd.DataFrame) -> None:
    ax = plot_removal(table)
    order = table.groupby("criterion").accuracy.mean().sort_values(ascending=False)
    assert [line.get_label() for line in ax.lines] == list(order.index)
    expected = table[table.criterion == order.index[0]].groupby("removed").accuracy.mean()
    assert ax.lines[0].get_ydata().tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"criteria": []}, r"criteria and removed must hold at least one entry each, .*; got \[\] and"),
        ({"removed": [0, 1]}, r"removed numbers from 1 on; got .* and \[0, 1\]"),
        ({"removed": [8]}, "num_layers must be from 1 to 7, the layers that can go; got 8"),
        ({"criteria": ["chance"]}, "no graphmod.criteria member named 'chance'"),
        ({"splits": 6}, "6 x 60 samples were asked for, there are 300"),
    ],
)
def test_refusals(digits, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        removal_curves(*digits, **{**OPTIONS, **changes})
    with pytest.raises(ValueError, match="no layer can go; 1 in a Sequential or ModuleList were"):
        single_removals(
            torch.nn.Sequential(torch.nn.Linear(2, 3)), torch.rand(9, 2), torch.arange(9) % 3, num_samples=5
        )
