"""The cross-entropy of the network after the removal."""

import torch.nn.functional as F

from ._state import State


def cross_entropy(state: State) -> dict[str, float]:
    """Prefers the layer without which the network's loss is smallest.

    damage = mean of −log p(label), p = softmax(logits)

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer in nats, at least 0.
    """
    labels = state.labels
    return state.judge(lambda trial: float(F.cross_entropy(trial.logits.double(), labels.to(trial.logits.device))))
