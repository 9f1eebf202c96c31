"""Which samples: disjoint draws of row numbers, stratified by class."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Order = Literal["file", "stratified"]


def draw(
    labels: Tensor, num_samples: int, repeats: int = 1, *, order: Order = "stratified", seed: int = 0
) -> list[Tensor]:
    """Draws disjoint subsets of equal size.

    Args:
        labels: Int64 `[N]`.
        num_samples: Size of each subset.
        repeats: Number of subsets.
        order: `"file"`: the first `num_samples`, the next ones, and so on; `"stratified"`: at random, with as many of
            each class as its share in `labels`: together to within one, each subset to within two.
        seed: Seed of the random draw.

    Returns:
        Row numbers, int64 `[num_samples]` for each subset.

    Raises:
        ValueError: If there are not enough samples.

    Example:
        >>> [subset.tolist() for subset in draw(torch.tensor([0, 1, 0, 1]), 2, 2, order="file")]
        [[0, 1], [2, 3]]
    """
    if num_samples < 1 or repeats < 1:
        raise ValueError(f"num_samples and repeats must be at least 1; got {num_samples} and {repeats}")
    if num_samples * repeats > len(labels):
        wanted = f"{repeats} x {num_samples}" if repeats > 1 else f"{num_samples}"
        raise ValueError(f"{wanted} samples were asked for, there are {len(labels)}; lower num_samples or repeats")
    if order == "file":
        ranks = torch.arange(len(labels))
    elif order == "stratified":
        ranks = interleaved(labels.cpu(), seed, num_samples=num_samples * repeats)
    else:
        raise ValueError(f"order must be 'file' or 'stratified'; got {order!r}")
    return list(ranks[: num_samples * repeats].split(num_samples))


def others(rows: Tensor, num_samples: int) -> Tensor:
    """Returns the row numbers that are not among some, in order: the samples that a draw has left.

    Args:
        rows: Row numbers, int64.
        num_samples: Number of all rows.

    Raises:
        ValueError: If none is left.

    Example:
        >>> others(torch.tensor([3, 1]), 5).tolist()
        [0, 2, 4]
    """
    left = torch.ones(num_samples, dtype=torch.bool)
    left[rows.cpu()] = False
    if not left.any():
        raise ValueError(f"all {num_samples} samples are drawn, and none is left to train on or to judge; draw fewer")
    return left.nonzero().flatten()


def interleaved(labels: Tensor, seed: int = 0, *, num_samples: int | None = None) -> Tensor:
    """Returns the row numbers in a random order of which every beginning holds each class in its share, to within one.

    Member j of the n samples of a class, in a random order, is put at place (j + ½) / n (Webster's method). Where this
    strays by one or more, as with a large class and many small ones, the order of the classes is Tijdeman's.

    Args:
        labels: Int64 `[N]`.
        seed: Seed of the random order.
        num_samples: How long the beginning must be of which this is true; all N if None.

    Reference:
        Tijdeman, "The chairman assignment problem", Discrete Mathematics 32, 1980.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    position = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = shuffled[labels[shuffled] == label]
        position[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    order = shuffled[position[shuffled].sort(stable=True).indices]

    _, classes, sizes = np.unique(labels[order].numpy(), return_inverse=True, return_counts=True)
    places = np.split(classes.argsort(kind="stable"), sizes.cumsum()[:-1])  # of the members of each class in the order
    places.sort(key=lambda at: int(at[0]))  # so that classes of one size come in a random order
    share = np.array([len(at) for at in places]) / len(labels)
    if len(places) < 2 or not any(map(_strays, places, share)):
        return order
    first = _tijdeman(places, share, num_samples or len(labels))
    return order[torch.from_numpy(np.concatenate([first, np.delete(np.arange(len(order)), first)]))]


def _strays(places: np.ndarray, share: float) -> bool:
    """Whether some beginning of an order has a member too many or too few of the class that has these places."""
    ahead = np.arange(1, len(places) + 1) - share * (places + 1)  # with each member; without it by 1 − share less
    return bool((ahead >= 1).any() or (ahead <= -share).any())


def _tijdeman(places: list[np.ndarray], share: np.ndarray, number: int) -> np.ndarray:
    """Of members at these places, by class, those of the first so many in Tijdeman's order, which never strays."""
    least, taken, first = 1 / (2 * len(places) - 2), np.zeros(len(places), dtype=int), np.empty(number, dtype=int)
    for rank in range(number):
        behind = share * (rank + 1) - taken
        chosen = np.where(behind > least - 1e-9, (1 - least - behind) / share, np.inf).argmin()
        first[rank] = places[chosen][taken[chosen]]
        taken[chosen] += 1
    return first


def evenly(number: int, most: int) -> list[int]:
    """Returns at most so many of the numbers 0 … `number` − 1, evenly spaced, the first and the last among them.

    Example:
        >>> evenly(10, 4), evenly(2, 8), evenly(5, 1)
        ([0, 3, 6, 9], [0, 1], [0])
    """
    return sorted({round(i * (number - 1) / max(most - 1, 1)) for i in range(most)})
