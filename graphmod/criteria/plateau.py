"""The published reading: where the curve of the whole network is level or falls."""

from ._state import State


def plateau(state: State) -> dict[str, float]:
    """Prefers the layer across which the modularity of the whole network falls most, or rises least.

    damage = Q of the layer's output − Q of its input, in the network before any removal

    The curve is read once; `gain` reads it anew after each removal. It says where Q rises little, not which layers can
    go: the networks that it leaves of ResNet-56 were the worst to train (docs/studies.md). `plateau_by_stage`, which
    takes only the number of layers from the curve, leaves better ones.

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer.

    Reference:
        Lu et al., "Understanding the Dynamics of DNNs Using Graph Modularity", ECCV 2022, section 4.4: layers of
        plateau and degradation are redundant, and what is left is trained.
    """
    gains = state.whole_gains()
    return {layer: gains[layer] for layer in state.layers}
