"""All stages alike."""

from ._state import State


def uniform(state: State) -> dict[str, float]:
    """Prefers the last layer of the stage that has most left, of equal ones the last, so that all keep equally many.

    A stage is the layers of one holder, such as `layer1`, whose outputs have one size.

    Args:
        state: The layers, in the order of the network.

    Returns:
        The place of each layer in the order of removal.
    """
    left, order = state.stages(), []
    while any(left.values()):
        order.append(max(reversed(left.values()), key=len).pop())
    return {layer: float(order.index(layer)) for layer in state.layers}
