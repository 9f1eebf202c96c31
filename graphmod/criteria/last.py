"""The end of the network."""

from ._state import State


def last(state: State) -> dict[str, float]:
    """Prefers the last layer.

    Args:
        state: The layers, in the order of the network.

    Returns:
        How many layers come behind.
    """
    return {layer: float(behind) for behind, layer in enumerate(reversed(state.layers))}
