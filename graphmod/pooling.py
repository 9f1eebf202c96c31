"""One row a sample from what a layer gives for each token or pixel."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from .inputs import Named

Pool = Literal["flatten", "mean", "cls", "last"] | Callable[[Tensor], Tensor]
POOLS = get_args(get_args(Pool)[0])


def pool_rows(x: Tensor, how: Pool = "flatten", mask: Tensor | None = None) -> Tensor:
    """Brings a layer's output to one row a sample.

    Args:
        x: Output `[B, ...]`: tokens `[B, T, D]`, channels of pixels `[B, C, H, W]`, or anything.
        how: One of the following, or a function of the output.

            - `"flatten"`: everything in one row;
            - `"mean"`: the mean over the tokens, or over the pixels of each channel;
            - `"cls"`: the first token; `"last"`: the last one. What is not of tokens is flattened.
        mask: Which tokens are there and not padding, bool or 0 and 1, `[B, T]`; all of them if None.

    Returns:
        `[B, D]`.

    Raises:
        ValueError: If there is no such pooling.

    Example:
        >>> tokens = torch.arange(6.0).view(1, 3, 2)
        >>> pool_rows(tokens, "mean").tolist(), pool_rows(tokens, "last", torch.tensor([[1, 1, 0]])).tolist()
        ([[2.0, 3.0]], [[2.0, 3.0]])
    """
    check_pool(how)
    if callable(how):
        x = how(x)
    elif x.dim() == 3 and how != "flatten":
        there = torch.ones(x.shape[:2], device=x.device) if mask is None or mask.shape != x.shape[:2] else mask
        there = there.to(x.device, x.dtype)
        if how == "mean":
            x = torch.einsum("btd,bt->bd", x, there) / there.sum(1, keepdim=True).clamp(min=1)
        elif how == "cls":
            x = x[:, 0]
        else:  # the last that is there, wherever the padding is
            x = x[torch.arange(len(x), device=x.device), x.shape[1] - 1 - there.flip(1).argmax(1)]
    elif x.dim() > 3 and how == "mean":
        x = x.flatten(2).mean(2)
    return x.reshape(len(x), -1) if x.dim() else x


def check_pool(how: Any) -> None:
    """Raises a `ValueError` if there is no such pooling."""
    if not callable(how) and how not in POOLS:
        raise ValueError(f"pool must be one of {', '.join(POOLS)}, or a function; got {how!r}")


def token_mask(x: Any) -> Tensor | None:
    """The `attention_mask` of samples that have one."""
    return x.tensors.get("attention_mask") if isinstance(x, Named) else None
