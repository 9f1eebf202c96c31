"""Modularity over a training: the curve of a network, epoch by epoch, while it learns or from what it left behind."""

import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from ._files import atomic_file
from ._layers import layer_calls
from ._passes import copied
from .activations import layer_sizes
from .curves import dynamic_graph, measure
from .graphs._topk import check_k
from .metrics import Metrics, find_metrics
from .metrics.modularity import modularity_terms
from .models import load_weights
from .samples import collect_inputs

COLUMNS = {"epoch": "int64", "layer": "str", "depth": "int64", "metric": "str", "value": "float64"}
CHECKPOINTS = {".bin", ".ckpt", ".pt", ".pth", ".safetensors"}


class ModularityTracker:
    """Measures the layers of a network at the epochs of a training, in whatever loop that trains it.

    The same samples are measured every time. A step changes nothing of the training: modes, gradients, hooks and
    torch's random generators are afterwards what they were.

    Args:
        model: The module that is trained; it is kept, and read at each step.
        samples: Tensor `[N, ...]`, a map-style data set, or batches `x` or `(x, y)`; read once. Take images that are
            not trained on, a few hundred of them.
        labels: Integers `[N]`, at least two classes; those that come with the samples if None.
        layers: Names or patterns as in `layer_names`.
        every: Measures at the epochs divisible by this number.
        k: Neighbours of each sample.
        metrics: As in `measure`.
        path: CSV file that holds the table after each step, whole at any time. Where it exists, with the same layers,
            the tracker goes on from it.
        writer: Object with `add_scalar(tag, value, epoch)`, such as `torch.utils.tensorboard.SummaryWriter`; it is
            given each layer's numbers as `modularity/<layer>`, `overlap/<layer>`, ….
        **options: Passed on to `dynamic_graph`.

    Attributes:
        table: The measurements so far, a row each: `epoch`, `layer`, `depth` (from 1), `metric`, `value`. Numbers of
            the whole network that were handed to `step` stand under the layer `""`, as the network is called in its own
            `named_modules()`, and depth 0.

    Raises:
        TypeError: If labels are not integers.
        ValueError: If layers, labels, k or `every` do not fit, or the file holds anything but such a table.

    Example:
        >>> x, model = torch.rand(20, 4), nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        >>> tracker = ModularityTracker(model, x, x[:, 0].round().long(), every=2)
        >>> [len(tracker.step(epoch, accuracy=0.5)) for epoch in range(3)]
        [6, 0, 6]
        >>> tracker.table.iloc[5].to_dict()
        {'epoch': 0, 'layer': '', 'depth': 0, 'metric': 'accuracy', 'value': 0.5}

    Reference:
        Lu et al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022, section 4: modularity by
        epoch.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Any,
        labels: Any = None,
        layers: str | Sequence[str] = "blocks",
        *,
        every: int = 1,
        k: int = 3,
        metrics: Metrics = modularity_terms,
        path: str | Path | None = None,
        writer: Any = None,
        **options: Any,
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1; got {every}")
        layer_calls(model, layers)  # a wrong name is said before the samples are read
        with _generators_kept(model):  # a DataLoader draws a number whenever it is read
            self._samples, self._labels = collect_inputs(samples, labels)
            self._layers = list(layer_sizes(model, self._samples, layers, pool=options.get("pool", "flatten")))
        check_k(k, len(self._samples))
        self._model, self._every, self._k = model, every, k
        self._metrics, self._path, self._writer, self._options = find_metrics(metrics), path, writer, options
        self.table = pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)
        self._found = path is not None and Path(path).exists()  # and not yet gone on with
        if path is not None and self._found:
            self.table = _read(path, self._layers)

    def step(self, epoch: int, /, **extra: Any) -> pd.DataFrame:
        """Measures the network as it is now.

        Args:
            epoch: Number of epochs that it was trained, at least 0. What was measured at this epoch before is replaced;
                of a table found in the file of `path`, the first step also drops what is of later epochs.
            **extra: Numbers of the whole network that are to stand in the table, such as `accuracy=0.9`.

        Returns:
            The new rows of the table; none at an epoch that `every` leaves out.

        Raises:
            TypeError: If the epoch or an extra is not a number.
            ValueError: If the epoch is negative, or as `dynamic_graph`.
            OSError: If the file cannot be written.
        """
        if not isinstance(epoch, Integral):
            raise TypeError(f"epoch must be an integer; got {epoch!r}")
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0; got {epoch}")
        if epoch % self._every:
            return self.table.head(0)
        whole = [("", 0, name, _number(name, value)) for name, value in extra.items()]
        with _generators_kept(self._model):
            graphs = dynamic_graph(self._model, self._samples, self._labels, self._layers, k=self._k, **self._options)
        rows = measure(graphs, self._metrics).drop(columns="repeat")
        if self._found:
            self.table, self._found = _before(self.table, epoch, set(rows.metric), self._path), False
        if self._writer is not None:
            for layer, metric, value in zip(rows.layer, rows.metric, rows.value, strict=True):
                self._writer.add_scalar(f"{metric}/{layer}", value, int(epoch))
        if whole:
            rows = pd.concat([rows, pd.DataFrame(whole, columns=rows.columns)], ignore_index=True)
        rows.insert(0, "epoch", int(epoch))
        rows = rows.astype(COLUMNS)
        table = pd.concat([self.table[self.table.epoch != epoch], rows])
        self.table = table.sort_values("epoch", kind="stable", ignore_index=True)
        if self._path is not None:
            with atomic_file(self._path) as temporary:
                self.table.to_csv(temporary, index=False)
        return rows

    def lightning_callback(self) -> Any:
        """Makes a callback for a Lightning `Trainer`.

        It steps before the first epoch and after each one, on the first process only, and keeps the numbers that the
        training has logged (`trainer.callback_metrics`).

        Raises:
            ImportError: If Lightning is not installed.
        """
        tracker = self
        base: Any = _lightning_callback()

        class ModularityCallback(base):
            def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
                if trainer.is_global_zero and trainer.current_epoch == 0:
                    tracker.step(0)

            def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
                if trainer.is_global_zero:
                    tracker.step(trainer.current_epoch + 1, **trainer.callback_metrics)

        return ModularityCallback()


def track_checkpoints(
    model: nn.Module,
    paths: str | Path | Iterable[str | Path],
    samples: Any,
    labels: Any = None,
    layers: str | Sequence[str] = "blocks",
    **options: Any,
) -> pd.DataFrame:
    """Measures a training after the fact, from the weights that it saved.

    The epoch of a file is the number after the word epoch in its name (`epoch=7-step=300.ckpt`), or else the last
    number in it (`resnet20_7.pt`). Where a file has none, or two files have the same, epochs are positions, from 1.
    Lightning names the weights after the first epoch `epoch=0`, and so does the table.

    Args:
        model: A module of the same architecture; a copy of it is filled.
        paths: Files as `graphmod.models.load_weights` reads them, in order; or a folder, of which the files that are
            named like PyTorch's or safetensors' are taken, by the numbers in their names.
        samples: As in `ModularityTracker`.
        labels: As in `ModularityTracker`.
        layers: As in `ModularityTracker`.
        **options: As in `ModularityTracker`.

    Returns:
        The table of a `ModularityTracker`.

    Raises:
        TypeError: As `ModularityTracker`.
        ValueError: As `ModularityTracker`; if there are no files, or one does not hold the model's weights.
        FileNotFoundError: If a file does not exist.

    Example:
        >>> import tempfile
        >>> folder, x, model = Path(tempfile.mkdtemp()), torch.rand(20, 4), nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        >>> for epoch in (2, 10):
        ...     torch.save(model.state_dict(), folder / f"epoch{epoch}.pt")
        >>> track_checkpoints(model, folder, x, x[:, 0].round().long()).epoch.unique().tolist()
        [2, 10]
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if len(files) == 1 and files[0].is_dir():
        inside = (path for path in files[0].iterdir() if path.suffix in CHECKPOINTS and not path.name.startswith("."))
        files = sorted(inside, key=lambda path: (_number_in(path) or 0, path.name))
    if not files:
        raise ValueError(f"there are no files of weights in {paths}; expected names that end in {sorted(CHECKPOINTS)}")
    numbers = [_number_in(path) for path in files]
    epochs = [number for number in numbers if number is not None]
    if len(set(epochs)) < len(files):
        epochs = list(range(1, len(files) + 1))
    filled = copied(model)
    tracker = ModularityTracker(filled, samples, labels, layers, **options)
    for epoch, path in zip(epochs, files, strict=True):
        load_weights(filled, path)
        tracker.step(epoch)
    return tracker.table


def _read(path: str | Path, layers: Sequence[str]) -> pd.DataFrame:
    """Reads the table of a tracker of these layers, every digit of it."""
    try:
        kinds = {name: kind for name, kind in COLUMNS.items() if name != "value"}
        table = pd.read_csv(path, dtype=kinds, converters={"value": _exact}, keep_default_na=False)
    except (ValueError, OverflowError, IsADirectoryError):  # pandas' own errors and those of decoding are ValueErrors
        table = pd.DataFrame()
    if list(table) != list(COLUMNS):
        raise ValueError(f"{path} is not the table of a ModularityTracker; choose another path")
    found = list(table.layer[table.layer != ""].unique())
    if set(found) != set(layers):
        raise ValueError(
            f"{path} is of other layers, {', '.join(found)} instead of {', '.join(layers)}; choose another path"
        )
    return table


def _before(table: pd.DataFrame, epoch: int, metrics: set[str], path: str | Path | None) -> pd.DataFrame:
    """The part of a table that a run at this epoch goes on with."""
    table = table[table.epoch < epoch]
    found = set(table.metric[table.depth > 0])
    if found and found != metrics:
        raise ValueError(
            f"{path} is of other metrics, {', '.join(sorted(found))} instead of {', '.join(sorted(metrics))}; choose "
            "another path"
        )
    return table


def _exact(text: str) -> float:
    return float(text or "nan")


def _number(name: str, value: Any) -> float:
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a number; got {value!r}") from error


def _number_in(path: Path) -> int | None:
    found = re.findall(r"epoch\D?(\d+)", path.stem.lower()) or re.findall(r"\d+", path.stem)
    return int(found[-1]) if found else None


def _lightning_callback() -> Any:
    """Returns Lightning's class of callbacks, of the package that is in use already where both are installed."""
    for package in sorted(("lightning.pytorch", "pytorch_lightning"), key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(package).Callback
        except ImportError:
            continue
    raise ImportError("a Lightning callback needs Lightning: pip install lightning")


@contextmanager
def _generators_kept(model: nn.Module) -> Iterator[None]:
    """Puts torch's random generators, of the CPU and of the model's device, back to where they were."""
    home = next(model.parameters(), torch.empty(0)).device
    with torch.random.fork_rng([home] if home.type == "cuda" else []):
        yield
