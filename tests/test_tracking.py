"""Modularity over a training: right at every epoch, without a trace in the training, and never lost."""

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from graphmod import modularity_curve
from graphmod.metrics.knn_accuracy import knn_accuracy
from graphmod.models import save_weights
from graphmod.plots.dynamics import plot_dynamics
from graphmod.tracking import ModularityTracker, track_checkpoints
from graphmod.training import accuracy, train


@pytest.fixture
def hard(clusters: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The planted clusters under noise that hides them from neighbours, not from training."""
    x, labels = clusters
    noise = 3 * torch.randn(len(x), 40, generator=torch.Generator().manual_seed(1))
    return torch.cat([x, noise], dim=1), labels


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(52, 16), nn.BatchNorm1d(16), nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def run(tracker: ModularityTracker, model: nn.Module, problem: tuple[Tensor, Tensor], epochs: range) -> None:
    """A loop of nobody in particular."""
    x, y = problem
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for epoch in epochs:
        if epoch:
            model.train()
            for _ in range(5):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()
        tracker.step(epoch)


def q_of(table: pd.DataFrame, layer: str) -> np.ndarray:
    return table[(table.layer == layer) & (table.metric == "modularity")].value.to_numpy()


# --- the numbers ---


def test_the_last_layer_pulls_the_classes_apart(hard) -> None:
    model = network()
    tracker = ModularityTracker(model, *hard)
    run(tracker, model, hard, range(17))
    q = q_of(tracker.table, "6")
    assert q[0] < 0.3
    assert q[-1] > 0.6
    assert tracker.table.epoch.is_monotonic_increasing
    assert list(tracker.table) == ["epoch", "layer", "depth", "metric", "value"]
    assert tracker.table[["layer", "depth"]].drop_duplicates().to_numpy().tolist() == [["0", 1], ["4", 2], ["6", 3]]


def test_a_step_is_the_curve_of_that_moment(hard) -> None:
    model = network()
    tracker = ModularityTracker(model, *hard, "all", k=4, progress=False)
    for row in train(model, *hard, epochs=3, batch_size=20):
        new = tracker.step(row["epoch"], accuracy=accuracy(model, *hard), loss=torch.tensor(row["loss"]))
        curve = modularity_curve(model, *hard, layers="all", k=4)
        wide = new[new.depth > 0].pivot(index="depth", columns="metric", values="value")
        for metric in ("modularity", "overlap", "expected", "maximum", "normalized"):
            assert wide[metric].tolist() == curve[metric].tolist()
        whole = new[new.layer == ""].set_index("metric").value
        assert whole["accuracy"] == accuracy(model, *hard)
        assert whole["loss"] == pytest.approx(row["loss"])
        assert new.epoch.unique().tolist() == [row["epoch"]]


def test_a_metric_by_its_name_as_in_measure(hard) -> None:
    tracker = ModularityTracker(network(), *hard, metrics="knn_accuracy")
    assert set(tracker.step(0).metric) == {"knn_accuracy"}
    with pytest.raises(ValueError, match="there is no graphmod.metrics member named 'knn'; the nearest are 'knn_accur"):
        ModularityTracker(network(), *hard, metrics=["modularity", "knn"])


def test_every_and_other_metrics_and_an_epoch_again(hard) -> None:
    model = network()
    tracker = ModularityTracker(model, *hard, "*:Linear", every=2, metrics=knn_accuracy)
    for epoch in range(5):
        new = tracker.step(epoch, accuracy=0.5)
        assert list(new) == list(tracker.table)
        assert len(new) == (0 if epoch % 2 else 4)
    assert tracker.table.epoch.unique().tolist() == [0, 2, 4]
    assert set(tracker.table.metric) == {"knn_accuracy", "accuracy"}
    before = tracker.table
    nn.init.normal_(model[6].weight, generator=torch.Generator().manual_seed(1))
    tracker.step(2)
    kept = tracker.table[tracker.table.epoch != 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before[before.epoch != 2].reset_index(drop=True))
    assert len(tracker.table) == len(before) - 1


# --- no trace in the training ---


class Noisy(nn.Module):
    """Draws random numbers in evaluation too."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.01 * torch.randn_like(x)


def test_nothing_of_the_training_changes(hard) -> None:
    model = nn.Sequential(network(), nn.Linear(3, 3), Noisy())
    model.train()
    model[0][1].eval()  # a norm that somebody froze
    nn.functional.cross_entropy(model(hard[0]), hard[1]).backward()
    seen = []
    handle = model[1].register_forward_hook(lambda *_: seen.append(1))
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()

    loader = DataLoader(TensorDataset(*hard), batch_size=20, shuffle=True)
    tracker = ModularityTracker(model, loader, layers="all")
    tracker.step(0)
    tracker.step(1)

    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(p.grad, before) for p, before in zip(model.parameters(), gradients, strict=True))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [len(module._forward_hooks) for module in model.modules()].count(1) == 1
    handle.remove()
    assert seen  # somebody's own hook runs on


def test_a_tracked_training_ends_with_the_weights_of_an_untracked_one(hard) -> None:
    alone, tracked = network(), network()
    torch.manual_seed(5)
    run(SimpleNamespace(step=lambda epoch: None), alone, hard, range(4))
    torch.manual_seed(5)
    run(ModularityTracker(tracked, *hard), tracked, hard, range(4))
    for a, b in zip(alone.state_dict().values(), tracked.state_dict().values(), strict=True):
        assert torch.equal(a, b)


# --- the file ---


def test_a_tracker_that_was_stopped_goes_on(hard, tmp_path: Path) -> None:
    whole, path = network(), tmp_path / "folder" / "run.csv"
    expected = ModularityTracker(whole, *hard)
    for epoch in range(5):
        nn.init.normal_(whole[6].weight, generator=torch.Generator().manual_seed(epoch))
        expected.step(epoch, accuracy=1 / (epoch + 3), lost=torch.nan)
    model = network()
    for epochs in (range(3), range(2, 5)):  # killed before epoch 3; taken up from a checkpoint of epoch 1
        tracker = ModularityTracker(model, *hard, path=path)
        for epoch in epochs:
            nn.init.normal_(model[6].weight, generator=torch.Generator().manual_seed(epoch))
            tracker.step(epoch, accuracy=1 / (epoch + 3), lost=torch.nan)
    pd.testing.assert_frame_equal(tracker.table, expected.table, check_exact=True)
    again = ModularityTracker(model, *hard, path=path)
    pd.testing.assert_frame_equal(again.table, expected.table, check_exact=True)
    table = pd.read_csv(path)
    assert table.value.tolist() == pytest.approx(expected.table.value.tolist(), nan_ok=True)


def test_a_kill_while_writing_leaves_the_table_before(hard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = ModularityTracker(network(), *hard, path=tmp_path / "run.csv")
    tracker.step(0)
    before = tracker.table

    def killed(self: pd.DataFrame, path: Path, **_: object) -> None:
        path.write_text("epoch,layer,dep")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", killed)
        with pytest.raises(KeyboardInterrupt):
            tracker.step(1)
    assert [path.name for path in tmp_path.iterdir()] == ["run.csv"]
    again = ModularityTracker(network(), *hard, path=tmp_path / "run.csv")
    pd.testing.assert_frame_equal(again.table, before, check_exact=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello\n",
        b"\x80\x02\xff\x00PK",
        b"epoch,layer,value\n0,0,1\n",
        b"epoch,layer,depth,metric,value\nnone,0,1,modularity,0.5\n",
        b"epoch,layer,depth,metric,value\n0,0,1,modularity,high\n",
        b"layer,epoch,depth,metric,value\n0,0,1,modularity,0.5\n",
    ],
)
def test_a_file_that_is_something_else(hard, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="run.csv is not the table of a ModularityTracker; choose another path"):
        ModularityTracker(network(), *hard, path=path)
    assert path.read_bytes() == content
    with pytest.raises(ValueError, match="is not the table of a ModularityTracker; choose another path"):
        ModularityTracker(network(), *hard, path=tmp_path)


def test_a_file_of_other_layers(hard, tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    ModularityTracker(network(), *hard, ["0", "6"], path=path).step(0)
    with pytest.raises(ValueError, match="run.csv is of other layers, 0, 6 instead of 0, 4, 6; choose another path"):
        ModularityTracker(network(), *hard, path=path)


# --- who listens ---


def test_a_writer_receives_the_layers(hard) -> None:
    calls: list[tuple] = []
    writer = SimpleNamespace(add_scalar=lambda tag, value, global_step: calls.append((tag, value, global_step)))
    tracker = ModularityTracker(network(), *hard, every=3, writer=writer)
    for epoch in range(4):
        tracker.step(epoch, accuracy=0.5)
    layers = tracker.table[tracker.table.depth > 0]
    names = zip(layers.metric, layers.layer, layers.value, layers.epoch, strict=True)
    assert calls == [(f"{metric}/{layer}", value, epoch) for metric, layer, value, epoch in names]
    assert [call[2] for call in calls if call[0] == "modularity/6"] == [0, 3]


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_lightning(hard, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    class Callback:
        """What Lightning's class is to this test."""

    for name in ("lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(Callback=Callback) if name == package else None)
    model = network()
    tracker = ModularityTracker(model, *hard, every=2)
    callback = tracker.lightning_callback()
    assert isinstance(callback, Callback)
    trainer = SimpleNamespace(current_epoch=0, is_global_zero=True, callback_metrics={})
    callback.on_train_start(trainer, model)
    for epoch in range(4):
        trainer.current_epoch = epoch
        trainer.callback_metrics = {"epoch": torch.tensor(float(epoch)), "val/accuracy": torch.tensor(0.25 * epoch)}
        callback.on_train_epoch_end(trainer, model)
    assert tracker.table.epoch.unique().tolist() == [0, 2, 4]
    whole = tracker.table[tracker.table.layer == ""]
    assert whole.value.tolist() == [1.0, 0.25, 3.0, 0.75]
    assert whole.metric.tolist() == ["epoch", "val/accuracy"] * 2

    before = tracker.table
    trainer.is_global_zero = False
    callback.on_train_epoch_end(trainer, model)
    trainer.is_global_zero, trainer.current_epoch = True, 3
    callback.on_train_start(trainer, model)  # taken up again: not an untrained network
    assert tracker.table is before


def test_lightning_is_not_installed(hard, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    tracker = ModularityTracker(network(), *hard)
    with pytest.raises(ImportError, match="a Lightning callback needs Lightning: pip install lightning"):
        tracker.lightning_callback()


# --- after the fact ---


def test_checkpoints_give_what_stepping_gave(hard, tmp_path: Path) -> None:
    model = network()
    tracker = ModularityTracker(model, *hard, k=2)
    for epoch in (0, 2, 10):
        nn.init.normal_(model[6].weight, generator=torch.Generator().manual_seed(epoch))
        tracker.step(epoch)
        if epoch == 2:
            save_weights(model, tmp_path / "resnet20_epoch=2-step=500.safetensors")
        else:
            torch.save({"state_dict": model.state_dict()}, tmp_path / f"epoch{epoch}.pt")
    (tmp_path / "notes.txt").write_text("hello")
    other = network()
    before = {name: value.clone() for name, value in other.state_dict().items()}
    found = track_checkpoints(other, tmp_path, *hard, k=2)
    pd.testing.assert_frame_equal(found, tracker.table, check_exact=True)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    one = track_checkpoints(other, tmp_path / "epoch10.pt", *hard, k=2)
    pd.testing.assert_frame_equal(one, found[found.epoch == 10].reset_index(drop=True))


def test_epochs_of_checkpoints_without_numbers_are_positions(hard, tmp_path: Path) -> None:
    model = network()
    for names in (["first.pt", "best.pt"], ["resnet20_a.pt", "resnet20_b.pt"], ["7.pt", "last.pt"]):
        for name in names:
            torch.save(model.state_dict(), tmp_path / name)
        found = track_checkpoints(model, [str(tmp_path / name) for name in names], *hard)
        assert found.epoch.unique().tolist() == [1, 2]


def test_bad_checkpoints(hard, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no files of weights in .*; expected names that end in"):
        track_checkpoints(network(), tmp_path, *hard)
    with pytest.raises(FileNotFoundError, match="there is no file of weights"):
        track_checkpoints(network(), tmp_path / "epoch1.pt", *hard)
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "epoch1.pt")
    with pytest.raises(ValueError, match="does not hold the weights of this Sequential"):
        track_checkpoints(network(), tmp_path, *hard)


# --- mistakes, seen before the first epoch ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1; got 0"),
        ({"k": 60}, "k must be at least 1 and smaller than the number of samples; got k=60 for 60 samples"),
        ({"layers": "layer1"}, "there is no layer named 'layer1'"),
        ({"labels": torch.zeros(60).long()}, "labels must name at least two classes"),
    ],
)
def test_bad_settings(hard, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModularityTracker(network(), hard[0], **({"labels": hard[1]} | options))


def test_bad_steps(hard) -> None:
    tracker = ModularityTracker(network(), *hard)
    with pytest.raises(TypeError, match="epoch must be an integer; got 0.5"):
        tracker.step(0.5)
    with pytest.raises(ValueError, match="epoch must be at least 0; got -1"):
        tracker.step(-1)
    for value in ("high", torch.zeros(2), None):
        with pytest.raises(TypeError, match="accuracy must be a number; got"):
            tracker.step(0, accuracy=value)
    assert tracker.table.empty


# --- the picture ---


@pytest.fixture
def long() -> pd.DataFrame:
    """Ten layers at four epochs, not evenly spaced, and an accuracy."""
    rows = [
        (epoch, f"layer{depth}", depth, metric, depth / 20 + epoch / 100 + (metric == "overlap"))
        for epoch in (0, 1, 2, 10)
        for depth in range(1, 11)
        for metric in ("modularity", "overlap")
    ]
    rows += [(epoch, "", 0, "test_accuracy", epoch / 10) for epoch in (0, 1, 2, 10)]
    return pd.DataFrame(rows, columns=["epoch", "layer", "depth", "metric", "value"])


def test_dynamics_show_the_table(long: pd.DataFrame, tmp_path: Path) -> None:
    long.to_csv(tmp_path / "table.csv", index=False)
    for table in (long, pd.read_csv(tmp_path / "table.csv"), long.sample(frac=1, random_state=0)):
        left = plot_dynamics(table, accuracy="test_accuracy")
        right = left.figure.axes[1]
        *lines, dashed = left.lines
        assert [line.get_label() for line in lines] == [f"layer{depth}" for depth in (1, 3, 5, 6, 8, 10)]
        np.testing.assert_allclose(lines[1].get_xdata(), [0, 1, 2, 10])
        np.testing.assert_allclose(lines[1].get_ydata(), [0.15, 0.16, 0.17, 0.25])
        assert dashed.get_linestyle() == "--"
        np.testing.assert_allclose(sorted(dashed.get_ydata()), [0, 0.1, 0.2, 1])
        (mesh,) = right.collections
        np.testing.assert_allclose(mesh.get_array(), [[d / 20 + e / 100 for e in (0, 1, 2, 10)] for d in range(1, 11)])
        np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], [-0.5, 0.5, 1.5, 6, 10.5])
        assert [label.get_text() for label in right.get_yticklabels()] == [f"layer{depth}" for depth in range(1, 11)]
        plt.close("all")
    assert plot_dynamics(long, metric="overlap").get_ylabel() == "overlap"
    assert len(plot_dynamics(long[long.epoch == 1]).figure.axes[1].collections[0].get_array()) == 10
    plt.close("all")


def test_dynamics_of_what_is_not_there(long: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="the table has no metric 'q'; it has modularity, overlap"):
        plot_dynamics(long, metric="q")
    with pytest.raises(ValueError, match="the table has no number 'loss'; it has test_accuracy"):
        plot_dynamics(long, accuracy="loss")
    with pytest.raises(ValueError, match="the table has no number 'loss'; it has none"):
        plot_dynamics(long[long.depth > 0], accuracy="loss")
    plt.close("all")


# --- the study ---


def test_a_study_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analyses.training_dynamics import main

    options = {"epochs": 2, "num_samples": 40, "layers": ("conv1", "layer3.2")}
    expected = main(**options, out=tmp_path / "whole")
    assert expected.epoch.unique().tolist() == [0, 1, 2]
    checkpoint = tmp_path / "run.ckpt"
    step = ModularityTracker.step

    def stopped(self: ModularityTracker, epoch: int, /, **extra: float) -> pd.DataFrame:
        if epoch == 1:
            raise KeyboardInterrupt
        return step(self, epoch, **extra)

    with monkeypatch.context() as patch:
        patch.setattr(ModularityTracker, "step", stopped)
        with pytest.raises(KeyboardInterrupt):
            main(**options, checkpoint=checkpoint, out=tmp_path / "resumed")
    assert not (tmp_path / "resumed").exists()
    for _ in range(2):  # the second time all is done already
        found = main(**options, checkpoint=checkpoint, out=tmp_path / "resumed")
        pd.testing.assert_frame_equal(found, expected)
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "resumed/table.csv"), expected)
    training = pd.read_csv(tmp_path / "resumed/training.csv")
    assert training.epoch.tolist() == [0, 1, 2]

    with pytest.raises(
        ValueError, match="run.ckpt.csv are not of one run with {'k': 4, 'num_samples': 40, 'every': 1}"
    ):
        main(**options, k=4, checkpoint=checkpoint, out=tmp_path / "other")
    checkpoint.unlink()
    with pytest.raises(ValueError, match="are not of one run with .*; choose another checkpoint"):
        main(**options, checkpoint=checkpoint, out=tmp_path / "other")


def test_one_call_of_a_layer_and_a_module_called_blocks(hard) -> None:
    x, y = hard
    relu = nn.ReLU()
    model = nn.Sequential(nn.Linear(52, 8), relu, nn.Linear(8, 8), relu)
    assert ModularityTracker(model, x, y, ["1@2"]).step(0).layer.unique().tolist() == ["1@2"]
    model = nn.Sequential()
    model.add_module("stem", nn.Linear(52, 8))
    model.add_module("blocks", nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(2))))
    assert ModularityTracker(model, x, y, "*").step(0).layer.unique().tolist() == ["stem", "blocks"]


def test_a_loss_that_still_has_its_graph(hard) -> None:
    x, y = hard
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = ModularityTracker(model, x, y).step(0, loss=model(x).sum())
    assert rows.metric.iloc[-1] == "loss"


def test_a_run_that_starts_anew_in_the_file_of_another(tmp_path: Path) -> None:
    x, path = torch.rand(20, 4), tmp_path / "table.csv"
    y, net = x[:, 0].round().long(), torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU())
    first = ModularityTracker(net, x, y, "all", path=path)
    for epoch in range(4):
        first.step(epoch)
    again = ModularityTracker(net, x, y, "all", k=5, path=path)
    for epoch in (0, 1):
        again.step(epoch)
    assert set(again.table.epoch) == {0, 1}
    other = ModularityTracker(net, x, y, "all", metrics=knn_accuracy, path=path)
    with pytest.raises(ValueError, match="is of other metrics, .* instead of knn_accuracy; choose another path"):
        other.step(2)
