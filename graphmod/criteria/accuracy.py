"""The accuracy of the network after the removal."""

from ..inputs import logits
from ..trials import Trial
from ._state import State


def accuracy(state: State) -> dict[str, float]:
    """Prefers the layer without which the network is right most often.

    damage = −share of the samples whose largest logit is that of their label

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer, in [−1, 0].

    Raises:
        ValueError: If the network does not give logits `[N, C]`.
    """

    def right(trial: Trial) -> float:
        found = logits(trial.logits).argmax(1)
        return float((found == state.labels.to(found.device)).double().mean())

    return state.judge(lambda trial: -right(trial))
