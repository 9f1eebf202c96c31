"""Modularity as a metric of torchmetrics: accumulated over batches, gathered over processes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import crc32

import torch
from torch import Tensor
from torch_geometric.data import Data

from ._layers import patterns
from .graphs import find_graph
from .metrics.modularity import modularity

try:
    from torchmetrics import Metric
    from torchmetrics.utilities import dim_zero_cat
except ImportError as error:
    raise ImportError("LayerModularity is a metric of torchmetrics: pip install torchmetrics") from error


class LayerModularity(Metric):
    """Q of the labels on the neighbour graph of all samples that were shown since the last reset.

    The graph is of all samples of an epoch, in every process, so they are kept: `N · D` numbers a layer. `max_samples`
    bounds that. A sampler that repeats samples so that all processes have as many, as torch's `DistributedSampler` does
    by default, adds copies, which raise Q.

    Args:
        layers: Name or names of the layers whose rows `update` is given by name; None if it is given the rows of one.
        k: Neighbours of each sample.
        graph: A file of `graphmod/graphs`, such as `"mutual_knn"`, or a function `(x, k, ...) -> Data`.
        max_samples: Keeps so many of the first samples in each process; all if None.
        **options: Of the `Metric`, such as `dist_sync_on_step`.

    Raises:
        ValueError: If k or `max_samples` is below 1, or no layer is named; in `update`, if rows and labels do not fit.

    Example:
        >>> import torch
        >>> q, x = LayerModularity(k=2), torch.eye(2).repeat_interleave(10, 0) + 0.01 * torch.rand(20, 2)
        >>> for rows in torch.arange(20).split(8):
        ...     q.update(x[rows], rows // 10)
        >>> round(float(q.compute()), 3)
        0.5
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = True  # a call looks at what is kept already
    target: list[Tensor]

    def __init__(
        self,
        layers: str | Sequence[str] | None = None,
        *,
        k: int = 3,
        graph: str | Callable[..., Data] = "knn",
        max_samples: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if k < 1 or (max_samples is not None and max_samples < 1) or (layers is not None and not layers):
            raise ValueError(
                f"k and max_samples must be at least 1, layers one or more; got {k}, {max_samples} and {layers}"
            )
        self.layers = None if layers is None else patterns(layers)
        self.k, self.graph, self.max_samples = k, find_graph(graph), max_samples
        # Metrics of one collection share states of the same names and values, whatever else they keep later.
        what = crc32(repr((self.layers, max_samples)).encode())
        self._rows = [f"rows{i}_{what}" for i in range(len(self.layers or [""]))]
        for name in [*self._rows, "target"]:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, rows: Tensor | Mapping[str, Tensor], target: Tensor) -> None:
        """Takes a batch.

        Args:
            rows: What the layer gives, floating `[B, ...]`; or that of each layer by its name, as `layer_activations`
                returns it.
            target: Labels, integers `[B]`.
        """
        if (self.layers is None) != isinstance(rows, Tensor):
            raise ValueError("rows must be a tensor, or a tensor by the name of each layer where layers were named")
        named = {"": rows} if isinstance(rows, Tensor) else rows
        for layer in self.layers or [""]:
            if layer not in named or len(named[layer]) != len(target):
                got = f"{list(named[layer].shape)}" if layer in named else "none"
                raise ValueError(f"rows of layer {layer!r} must be [{len(target)}, ...], one for each label; got {got}")
        left = len(target)
        if self.max_samples is not None:
            left = min(left, self.max_samples - sum(map(len, self.target)))
        if left > 0:
            for name, layer in zip(self._rows, self.layers or [""], strict=True):
                getattr(self, name).append(named[layer][:left].detach().reshape(left, -1).clone())
            self.target.append(target[:left].detach().clone())

    def compute(self) -> Tensor | dict[str, Tensor]:
        """Returns Q in [−1, 1], float64 `[]`, NaN of at most k samples; by layer where layers were named."""
        labels = dim_zero_cat(self.target) if len(self.target) else torch.empty(0, device=self.device)
        if len(labels) <= self.k:  # the last batch of an epoch, say, of which a call returns Q by itself
            found = [labels.new_full((), torch.nan, dtype=torch.float64) for _ in self._rows]
        else:
            rows = [dim_zero_cat(getattr(self, name)) for name in self._rows]
            found = [modularity(self.graph(x, self.k, y=labels)) for x in rows]
        return found[0] if self.layers is None else dict(zip(self.layers, found, strict=True))

    def _sync_dist(self, *given: Any, **named: Any) -> None:
        """Gathers the states of all processes; one without samples takes part with no rows, of the others' form."""
        if torch.distributed.is_initialized():
            states = [getattr(self, name) for name in [*self._rows, "target"]]
            own = [(state[0].dtype, state[0].shape[1:]) for state in states] if len(self.target) else None
            group = named.get("process_group") or self.process_group
            forms: list[Any] = [None] * torch.distributed.get_world_size(group)
            torch.distributed.all_gather_object(forms, own, group)
            form = next(filter(None, forms), None)
            if own is None and form is not None:
                for name, (dtype, shape) in zip([*self._rows, "target"], form, strict=True):
                    setattr(self, name, [torch.empty(0, *shape, dtype=dtype, device=self.device)])
        super()._sync_dist(*given, **named)
