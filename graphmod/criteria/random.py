"""Chance, the least that a criterion must beat."""

import torch

from ._state import State


def random(state: State) -> dict[str, float]:
    """Prefers any layer.

    Args:
        state: The layers and the seed.

    Returns:
        A random order.
    """
    order = torch.randperm(len(state.layers), generator=torch.Generator().manual_seed(state.seed))
    return dict(zip(state.layers, order.double().tolist(), strict=True))
