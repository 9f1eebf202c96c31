"""The direction of a layer's output against its input."""

from torch.nn.functional import cosine_similarity

from ._state import State


def block_influence(state: State) -> dict[str, float]:
    """Prefers the layer that turns its input least.

    damage = 1 − mean over the samples of cos(input, output)

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer, in [0, 2].

    Reference:
        Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024, eq. 1, with
        the whole output of a sample for the hidden state of a token.
    """
    around = state.around()
    return {layer: 1 - float(cosine_similarity(before, after, dim=1).mean()) for layer, before, after in around}
