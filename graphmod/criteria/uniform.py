"""All stages alike."""

from ._state import State


def uniform(state: State) -> dict[str, float]:
    """Prefers the last layer of the stage that has most left, of equal ones the last, so that all keep equally many.

    A stage is the layers whose names differ in the last part only.

    Args:
        state: The layers, in the order of the network.

    Returns:
        The place of each layer in the order of removal.
    """
    stages: dict[str, list[str]] = {}
    for layer in state.layers:
        stages.setdefault(layer.rpartition(".")[0], []).append(layer)
    order = []
    while any(stages.values()):
        order.append(max(reversed(stages.values()), key=len).pop())
    return {layer: float(order.index(layer)) for layer in state.layers}
