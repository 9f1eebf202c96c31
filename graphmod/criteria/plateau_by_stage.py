"""How many layers each stage can spare, by the published reading."""

from collections import Counter

from ._state import State


def plateau_by_stage(state: State) -> dict[str, float]:
    """Prefers the last layer of the stage in which `plateau` would remove one.

    The layers of a stage have one shape, so that a training can put any of them to any use: the curve says how many a
    stage needs, and its first ones, which take what the stage before gives, are kept.

    Args:
        state: The network and its layers, in its order; a stage is the layers of one holder, such as `layer1`, whose
            outputs have one size.

    Returns:
        The place of each layer in the order of removal.
    """
    curve, left = state.whole_gains(), state.stages()
    whole = state.once("stages", lambda: {layer: name for name, there in left.items() for layer in there})
    spared = Counter(whole.values())
    spared.subtract({name: len(there) for name, there in left.items()})
    order = []
    for layer in sorted(curve, key=lambda layer: curve[layer]):
        stage = whole[layer]
        if spared[stage]:
            spared[stage] -= 1  # one of those that are gone
        else:
            order.append(left[stage].pop())
    return {layer: float(place) for place, layer in enumerate(order)}
