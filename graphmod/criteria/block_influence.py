"""The direction of a layer's output against its input."""

from torch import Tensor

from .._tensors import unit_rows
from ._state import State


def block_influence(state: State) -> dict[str, float]:
    """Prefers the layer that turns its input least.

    damage = 1 − mean over the samples of cos(input, output)

    A sample that is zero before and after does not turn: its cosine counts as 1.

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer, in [0, 2].

    Reference:
        Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024, eq. 1, with
        the whole output of a sample for the hidden state of a token.
    """
    return {layer: 1 - float(_cosine(before, after).mean()) for layer, before, after in state.around()}


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    """The cosine of each row of x and that of y, float64 `[N]`."""
    x, y = unit_rows(x), unit_rows(y)
    return (x * y).sum(dim=1) + (~(x.any(dim=1) | y.any(dim=1))).double()
