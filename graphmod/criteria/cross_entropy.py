"""The cross-entropy of the network after the removal."""

import torch.nn.functional as F

from ..inputs import logits
from ..trials import Trial
from ._state import State


def cross_entropy(state: State) -> dict[str, float]:
    """Prefers the layer without which the network's loss is smallest.

    damage = mean of −log p(label), p = softmax(logits)

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer in nats, at least 0.

    Raises:
        ValueError: If the network does not give logits `[N, C]`.
    """

    def loss(trial: Trial) -> float:
        found = logits(trial.logits).double()
        return float(F.cross_entropy(found, state.labels.to(found.device)))

    return state.judge(loss)
