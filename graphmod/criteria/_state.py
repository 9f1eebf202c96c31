"""What a criterion is asked about: a network on its way to a smaller one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from ..graphs.knn import knn_graph
from ..metrics.modularity import modularity
from ..trials import Trial, around_each, without_each


@dataclass(frozen=True)
class State:
    """A network, some of whose layers are gone, and those of which one is to go next.

    Attributes:
        model: The network; layers that are gone hand on what they get, and the names are those of the whole one.
        intact: The network before any removal.
        images: Tensor `[N, ...]`, on which the layers are judged.
        labels: Int64 `[N]`.
        layers: Names of the layers that can go.
        at: The layer whose modularity counts, the last one by default.
        k: Neighbours of a sample in its graph.
        seed: Seed of what is drawn at random.
        known: What criteria have found that stays so for the whole plan, see `once`.
    """

    model: nn.Module
    intact: nn.Module
    images: Tensor
    labels: Tensor
    layers: Sequence[str]
    at: str
    k: int = 3
    seed: int = 0
    known: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, find: Callable[[], Any]) -> Any:
        """Returns what `find` gives when it is called for the first time in a plan, such as facts of `intact`."""
        if name not in self.known:
            self.known[name] = find()
        return self.known[name]

    def trials(self, at: Sequence[str] = ()) -> Iterator[Trial]:
        """Runs the network without each of the layers in turn, see `graphmod.trials.without_each`."""
        return without_each(self.model, self.images, self.layers, at)

    def around(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Yields each layer with its input and its output `[N, D]`, see `graphmod.trials.around_each`."""
        return around_each(self.model, self.images, self.layers)

    def gains(self) -> dict[str, float]:
        """Returns, by layer, the modularity of its output less that of its input."""
        return {layer: self.separation(after) - self.separation(before) for layer, before, after in self.around()}

    def whole_gains(self) -> dict[str, float]:
        """Returns the gains of all layers of the plan in the network before any removal."""
        return self.once("gains", replace(self, model=self.intact).gains)

    def stages(self) -> dict[str, list[str]]:
        """Returns the layers that can go by their stage: those of one holder whose outputs have one size, in order."""
        few = replace(self, model=self.intact, images=self.images[:2])
        sizes = self.once("sizes", lambda: {layer: after.shape[1] for layer, _, after in few.around()})
        found: dict[str, list[str]] = {}
        for layer in self.layers:
            found.setdefault(f"{layer.rpartition('.')[0]} {sizes[layer]}", []).append(layer)
        return found

    def judge(self, damage: Callable[[Trial], float], at: Sequence[str] = ()) -> dict[str, float]:
        """Returns the damage by layer of a function of a trial."""
        return {trial.layer: damage(trial) for trial in self.trials(at)}

    def separation(self, features: Tensor, labels: Tensor | None = None) -> float:
        """Returns the modularity of the labels on the graph of some features.

        It is 0, nothing separated, where there is no graph: all samples are the same, or the network without a layer
        gives NaN or Inf.
        """
        if bool((features == features[0]).all()) or not bool(features.isfinite().all()):
            return 0.0
        y = self.labels if labels is None else labels
        return float(modularity(knn_graph(features, self.k), y.to(features.device)))
