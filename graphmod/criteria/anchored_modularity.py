"""The modularity of what the classifier sees after the removal, among what it saw before."""

import torch
from torch.nn.functional import normalize

from ..graphs._build import neighbor_graph
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
    anchors = state.once(
        "anchors", lambda: normalize(classifier_input(state.intact, state.images, state.layers).double(), dim=1)
    )

    def damage(seen: torch.Tensor) -> float:
        similarity = (normalize(seen.double(), dim=1) @ anchors.T).fill_diagonal_(-torch.inf)
        weight, index = similarity.topk(state.k, dim=1)
        graph = neighbor_graph(index, weight.nan_to_num().clamp(min=0), y=state.labels.to(seen.device))
        return -float(modularity(graph)) if bool(graph.edge_weight.any()) else 0.0

    return state.judge(lambda trial: damage(trial.classifier_input))
