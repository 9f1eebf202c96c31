"""The communities of the last layer, which need no labels."""

from torch import Tensor

from ..activations import layer_activations
from ..communities import leiden
from ..graphs.knn import knn_graph
from ._state import State


def communities(state: State) -> dict[str, float]:
    """Prefers the layer without which the communities of the whole network hold together best.

    damage = −Q, at the last layer of the network without the layer, of the communities that Leiden finds at the last
    layer of the network before any removal

    It needs neither labels nor a classifier.

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer, in [−1, 1].
    """

    def at_first() -> Tensor:
        features = layer_activations(state.intact, state.images, [state.at], progress=False)[state.at]
        return leiden(knn_graph(features, state.k), seed=state.seed)

    found = state.once("communities", at_first)
    return state.judge(lambda trial: -state.separation(trial.features[state.at], found), [state.at])
