"""How many layers each stage can spare, by the published reading."""

from .._layers import stages
from ._state import State


def plateau_by_stage(state: State) -> dict[str, float]:
    """Prefers the last layer of the stage in which `plateau` would remove one.

    The layers of a stage have one shape, so that a training can put any of them to any use: the curve says how many a
    stage needs, and its first ones, which take what the stage before gives, are kept.

    Args:
        state: The network and its layers, in its order; a stage is the layers whose names differ in the last part only.

    Returns:
        The place of each layer in the order of removal.
    """
    curve = state.whole_gains()
    left = stages(state.layers)
    spared = {name: len(there) - len(left.get(name, [])) for name, there in stages(curve).items()}
    order = []
    for layer in sorted(curve, key=lambda layer: curve[layer]):
        stage = layer.rpartition(".")[0]
        if spared[stage]:
            spared[stage] -= 1  # one of those that are gone
        else:
            order.append(left[stage].pop())
    return {layer: float(place) for place, layer in enumerate(order)}
