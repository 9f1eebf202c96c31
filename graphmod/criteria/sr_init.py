"""The accuracy of the network when a layer's weights are drawn anew."""

from copy import deepcopy

import torch

from ..training import accuracy
from ._state import State


def sr_init(state: State) -> dict[str, float]:
    """Prefers the layer whose weights matter least: the network is nearly as right with new ones, drawn at random.

    damage = −accuracy with the layer's weights as its modules draw them before training

    Parameters that no `reset_parameters` or `_reset_parameters` draws, such as a class token, keep their values.

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer, in [−1, 0].

    Reference:
        Tang et al., "SR-init: An Interpretable Layer Pruning Method", ICASSP 2023.
    """
    found, model = {}, deepcopy(state.model).eval()
    for layer in state.layers:
        block = model.get_submodule(layer)
        trained = deepcopy(block.state_dict())
        with torch.random.fork_rng():
            torch.manual_seed(state.seed)
            modules = list(block.modules())
            for name, order in (("reset_parameters", modules), ("_reset_parameters", modules[::-1])):  # of attention
                for module in order:
                    if callable(reset := getattr(module, name, None)):
                        reset()
        found[layer] = -accuracy(model, state.images, state.labels)
        block.load_state_dict(trained)
    return found
