"""The modularity of what the classifier sees after the removal, among what it saw before."""

import torch

from ..graphs._build import neighbor_graph
from ..graphs._topk import nearest_in
from ..metrics.modularity import modularity
from ..trials import classifier_input
from ._state import State


def anchored_modularity(state: State) -> dict[str, float]:
    """Prefers the layer without which each sample stays nearest to where the whole network puts others of its class.

    damage = −Q of the labels on the graph that joins each sample, as the classifier sees it without the layer, to its k
    nearest other samples as the classifier sees them in the whole network (`graphmod.trials.classifier_input`)

    The modularity of the last layer does not see it if all samples move together, away from what the classifier has
    learned; this does. It needs labels and the features before the classifier, but not the classifier.

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer, in [−1, 1].
    """
    anchors = state.once("anchors", lambda: classifier_input(state.intact, state.images, state.layers))

    def damage(seen: torch.Tensor) -> float:
        weight, index = nearest_in(seen, anchors, state.k, own=torch.arange(len(anchors)))
        graph = neighbor_graph(index, weight.nan_to_num().clamp(min=0), y=state.labels.to(seen.device))
        return -float(modularity(graph)) if bool(graph.edge_weight.any()) else 0.0

    return state.judge(lambda trial: damage(trial.classifier_input))
