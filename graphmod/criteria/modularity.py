"""The modularity of the last layer after the removal."""

from ._state import State


def modularity(state: State) -> dict[str, float]:
    """Prefers the layer without which the classes are farthest apart at the end.

    damage = −Q of the labels at the last layer of the network without the layer

    It needs labels, but no classifier: any network that gives features will do.

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer, in [−1, 1].
    """
    return state.judge(lambda trial: -state.separation(trial.features[state.at]), [state.at])
