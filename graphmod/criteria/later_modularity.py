"""The modularity of all layers behind the removal."""

from ..activations import layer_activations
from ._state import State


def later_modularity(state: State) -> dict[str, float]:
    """Prefers the layer without which the classes are farthest apart, on the whole, in all layers behind it.

    damage = sum over the layers behind of (Q with the layer − Q without it)

    Args:
        state: The network and its layers; the layers behind are those of `state.layers` and `state.at`.

    Returns:
        The damage by layer.
    """
    points = list(dict.fromkeys([*state.layers, state.at]))
    activations = layer_activations(state.model, state.images, points, progress=False)
    before = {layer: state.separation(activations.pop(layer)) for layer in list(activations)}
    order, found = list(before), {}
    for trial in state.trials(order):
        behind = order[order.index(trial.layer) :]  # its own place holds what it was given
        found[trial.layer] = sum(before[name] - state.separation(trial.features[name]) for name in behind)
    return found
