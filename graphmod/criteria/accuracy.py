"""The accuracy of the network after the removal."""

from ._state import State


def accuracy(state: State) -> dict[str, float]:
    """Prefers the layer without which the network is right most often.

    damage = −share of the samples whose largest logit is that of their label

    Args:
        state: The network and its layers.

    Returns:
        The damage by layer, in [−1, 0].
    """
    labels = state.labels
    return state.judge(lambda trial: -float((trial.logits.argmax(1) == labels.to(trial.logits.device)).double().mean()))
