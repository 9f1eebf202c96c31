"""The absolute change of modularity across a layer."""

from ._state import State


def change(state: State) -> dict[str, float]:
    """Prefers the layer across which modularity changes least, whether it rises or falls.

        damage = |Q of the layer's output − Q of its input|

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer, at least 0.
    """
    return {layer: abs(gain) for layer, gain in state.gains().items()}
