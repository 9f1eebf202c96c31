"""The similarity of a layer's output with its input, by CKA."""

from ..similarity import linear_cka
from ._state import State


def cka(state: State) -> dict[str, float]:
    """Prefers the layer whose output is most like its input.

    damage = 1 − CKA(input, output), linear and unbiased

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer, in [0, 2]; 2 where CKA is undefined.

    Reference:
        Pons et al., "Effective Layer Pruning Through Similarity Metric Perspective", ICPR 2024, remove the layers whose
        absence changes the representation least; here as there without training, but with the layer's own input.
    """
    found = {}
    for layer, before, after in state.around():
        try:
            found[layer] = 1 - float(linear_cka(before.double(), after.double()))
        except ValueError:  # constant
            found[layer] = 2.0
    return found
