"""All stages alike."""

from .._layers import stages
from ._state import State


def uniform(state: State) -> dict[str, float]:
    """Prefers the last layer of the stage that has most left, of equal ones the last, so that all keep equally many.

    A stage is the layers whose names differ in the last part only.

    Args:
        state: The layers, in the order of the network.

    Returns:
        The place of each layer in the order of removal.
    """
    left, order = stages(state.layers), []
    while any(left.values()):
        order.append(max(reversed(left.values()), key=len).pop())
    return {layer: float(order.index(layer)) for layer in state.layers}
