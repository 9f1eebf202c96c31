"""The metric of torchmetrics equals the graph of all samples at once, also over processes."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MetricCollection

from graphmod import knn_graph, layer_activations, modularity
from graphmod.graphs.mutual_knn import mutual_knn_graph
from graphmod.layer_modularity import LayerModularity


def samples(num_samples: int = 60) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_samples, 3, 2, generator=generator), torch.arange(num_samples) % 3


@pytest.mark.parametrize(("name", "graph"), [(knn_graph, knn_graph), ("mutual_knn", mutual_knn_graph)])
def test_batches_equal_all_at_once(name, graph) -> None:
    x, y = samples()
    metric = LayerModularity(k=5, graph=name)
    for _ in range(2):
        for rows in torch.arange(60).split(17):
            metric.update(x[rows], y[rows])
        assert torch.equal(metric.compute(), modularity(graph(x.flatten(1), 5, y=y)))
        metric.reset()


def test_what_it_was_given_may_change_afterwards() -> None:
    x, y = samples()
    metric, given = LayerModularity(), x.clone()
    metric.update(given, y)
    given.zero_()
    assert torch.equal(metric.compute(), modularity(knn_graph(x.flatten(1), y=y)))
    metric.reset()
    metric.update(x[:, 0, 0], y)  # one number a sample
    assert torch.equal(metric.compute(), modularity(knn_graph(x[:, 0, :1], y=y)))


def test_layers_by_name() -> None:
    x, y = samples()
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU())
    metric = LayerModularity(["1", "2"])
    for images, labels in DataLoader(TensorDataset(x, y), 20):
        metric.update(layer_activations(model, images, ["1", "2"]), labels)
    expected = {name: modularity(knn_graph(one, y=y)) for name, one in layer_activations(model, x, ["1", "2"]).items()}
    assert metric.compute().keys() == expected.keys()
    for name, q in metric.compute().items():
        torch.testing.assert_close(q, expected[name])


def test_the_first_samples_only() -> None:
    x, y = samples()
    metric = LayerModularity(max_samples=30)
    for rows in torch.arange(60).split(20):
        metric.update(x[rows], y[rows])
    assert torch.equal(metric.compute(), modularity(knn_graph(x[:30].flatten(1), y=y[:30])))


def test_it_is_a_metric_like_others() -> None:
    x, y = samples()
    both = MetricCollection({"k3": LayerModularity(), "k5": LayerModularity(k=5)})
    both.update(x, y)
    assert both.compute()["k3"] != both.compute()["k5"]
    clone = LayerModularity().clone()
    clone.update(x.requires_grad_(), y)
    assert not clone.compute().requires_grad
    assert clone(x, y) == modularity(knn_graph(x.detach().flatten(1), y=y))
    assert LayerModularity().state_dict() == {}


def test_what_does_not_fit() -> None:
    x, y = samples()
    for options in ({"k": 0}, {"max_samples": 0}, {"layers": []}):
        with pytest.raises(ValueError, match="k and max_samples must be at least 1, layers one or more; got"):
            LayerModularity(**options)
    with pytest.raises(ValueError, match=r"rows of layer '' must be \[59, ...\], one for each label; got \[60, 3, 2\]"):
        LayerModularity().update(x, y[1:])
    with pytest.raises(ValueError, match=r"rows of layer 'b' must be .* got none"):
        LayerModularity(["a", "b"]).update({"a": x}, y)
    with pytest.raises(ValueError, match="rows must be a tensor, or a tensor by the name of each layer"):
        LayerModularity().update({"a": x}, y)


def test_without_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.delitem(sys.modules, "graphmod.layer_modularity")
    with pytest.raises(ImportError, match="LayerModularity is a metric of torchmetrics: pip install torchmetrics"):
        importlib.import_module("graphmod.layer_modularity")


WORKER = """
import sys, torch
from graphmod import knn_graph, modularity
from graphmod.layer_modularity import LayerModularity
rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
generator = torch.Generator().manual_seed(0)
x, y = torch.randn(61, 6, generator=generator), torch.arange(61) % 3
metric = LayerModularity()
for rows in torch.arange(61).tensor_split(2)[rank].split(9):
    metric.update(x[rows], y[rows])
assert torch.equal(metric.compute(), modularity(knn_graph(x, y=y))), metric.compute()
for only in (0, 1):  # the other one has no samples
    metric = LayerModularity(["a", "b"])
    assert metric.compute()["a"].isnan()
    metric.reset()
    if rank == only:
        metric.update({"a": x, "b": x[:, :2].double()}, y)
    found = metric.compute()
    assert torch.equal(found["a"], modularity(knn_graph(x, y=y)))
    assert torch.equal(found["b"], modularity(knn_graph(x[:, :2].double(), y=y)))
torch.distributed.destroy_process_group()
"""


def test_two_processes_make_one_graph(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", WORKER]
    both = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    for process in both:
        _, message = process.communicate(timeout=120)
        assert process.returncode == 0, message


def test_within_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason="the test extra has it")
    x, y = samples()

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
            self.separation = LayerModularity(["1", "3"])

        def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: list[Tensor], _index: int) -> None:
            self.separation.update(layer_activations(self.net, batch[0], ["1", "3"], progress=False), batch[1])

        def on_validation_epoch_end(self) -> None:
            self.log_dict({f"q/{layer}": q for layer, q in self.separation.compute().items()})
            self.separation.reset()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Lightning says of workers and devices
        trainer = lightning.Trainer(
            max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, accelerator="cpu", default_root_dir=tmp_path,
        )  # fmt: skip
        model = Classifier()
        loader = DataLoader(TensorDataset(x, y), 20)
        trainer.fit(model, loader, loader)
    expected = modularity(knn_graph(layer_activations(model.net, x, "3")["3"], y=y))
    assert float(trainer.callback_metrics["q/3"]) == pytest.approx(float(expected), abs=1e-6)


def test_calls_keep_no_more_than_updates_and_a_small_batch_has_no_q() -> None:
    x, y = samples()
    called, updated = LayerModularity(k=2, max_samples=25), LayerModularity(k=2, max_samples=25)
    for rows in torch.arange(60).split(17):
        assert torch.equal(called(x[rows], y[rows]), modularity(knn_graph(x[rows].flatten(1), 2, y=y[rows])))
        updated.update(x[rows], y[rows])
    assert torch.equal(called.compute(), updated.compute())
    assert torch.equal(called.compute(), modularity(knn_graph(x[:25].flatten(1), 2, y=y[:25])))
    metric = LayerModularity("fc", k=3)
    metric.update({"fc": x}, y)
    assert metric({"fc": x[:3]}, y[:3])["fc"].isnan()
    assert metric.compute()["fc"].isfinite()


def test_metrics_of_one_collection_do_not_share_what_differs() -> None:
    x, y = samples()
    both = MetricCollection({"few": LayerModularity(max_samples=20), "whole": LayerModularity()})
    layers = MetricCollection({name: LayerModularity([name]) for name in "ab"})
    for part in torch.arange(60).split(10):
        both.update(x[part], y[part])
        same = part[0] == 0  # at first, the layers give one thing
        layers.update({"a": x[part], "b": x[part] if same else x[part].flip(1, 2)[:, :1].square()}, y[part])
    assert torch.equal(both.compute()["whole"], modularity(knn_graph(x.flatten(1), y=y)))
    assert torch.equal(both.compute()["few"], modularity(knn_graph(x[:20].flatten(1), y=y[:20])))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_no_samples_have_no_modularity() -> None:
    assert LayerModularity().compute().isnan()
    assert LayerModularity(["a"]).compute()["a"].isnan()
