"""The published reading, taken anew after each removal: the gain of modularity across a layer."""

from ._state import State


def gain(state: State) -> dict[str, float]:
    """Prefers the layer across which modularity falls most, or rises least.

    damage = Q of the layer's output − Q of its input

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer.

    Reference:
        Lu et al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022, section 4.4: layers of
        plateau and degradation are redundant. Taken literally it removes the early layers that degrade first; see
        docs/studies.md for what that does, and `plateau` for the curve read once.
    """
    return state.gains()
