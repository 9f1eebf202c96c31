"""The accuracy of the network when a layer's weights are drawn anew."""

from copy import deepcopy

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from .._passes import copied, watched
from .._steps import seeded
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

    Raises:
        ValueError: If weights of a layer are computed from others, as by a weight norm or `torch.nn.utils.prune`.

    Reference:
        Tang et al., "SR-init: An Interpretable Layer Pruning Method", ICASSP 2023.
    """
    found, model = {}, copied(state.model).eval()
    home = next(model.parameters(), state.images).device
    for layer in state.layers:
        block = model.get_submodule(layer)
        if any(map(_is_computed, block.modules())):
            raise ValueError(
                f"sr_init cannot draw the weights of layer {layer!r}, which are computed from others; make them plain "
                "by torch.nn.utils.prune.remove or torch.nn.utils.parametrize.remove_parametrizations first"
            )
        trained = deepcopy(block.state_dict())
        with seeded(state.seed, home):
            modules = list(block.modules())
            for name, order in (("reset_parameters", modules), ("_reset_parameters", modules[::-1])):  # of attention
                for module in order:
                    if callable(reset := getattr(module, name, None)):
                        reset()
        with watched(model):
            found[layer] = -accuracy(model, state.images, state.labels)
        block.load_state_dict(trained)
    return found


def _is_computed(module: nn.Module) -> bool:
    """Whether a module's weight is no parameter, but computed from some."""
    return is_parametrized(module) or isinstance(vars(module).get("weight"), Tensor)
