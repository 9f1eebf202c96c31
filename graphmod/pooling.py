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
            - `"mean"`: the mean over the tokens, or over the pixels of each channel. Channels come first, or last where
              only so the map is square, as in Swin; for any other order pass a function;
            - `"cls"`: the first token that is there; `"last"`: the last one. What is not of tokens is flattened.
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
        if mask is not None and mask.shape != x.shape[:2]:
            mask = None
        there = torch.ones(x.shape[:2]) if mask is None else mask
        there = there.to(x.device, torch.bool)
        rows, ahead = torch.arange(len(x), device=x.device), there.to(torch.uint8)
        if how == "mean":  # padding may hold anything, NaN too, and a sum of halves may be beyond their range
            kept = x if mask is None else x.masked_fill(~there[..., None], 0)
            mean = kept.sum(1, dtype=torch.promote_types(x.dtype, torch.float32))
            mean = mean / there.sum(1, keepdim=True).clamp(min=1)
            x = mean.to(x.dtype) if x.is_floating_point() else mean
        elif how == "cls":
            x = x[rows, ahead.argmax(1)]
        else:
            x = x[rows, x.shape[1] - 1 - ahead.flip(1).argmax(1)]
    elif x.dim() > 3 and how == "mean":
        last = x.dim() == 4 and x.shape[1] == x.shape[2] != x.shape[3]
        x = (x.movedim(-1, 1) if last else x).flatten(2).mean(2)
    return x.reshape(len(x), -1) if x.dim() else x


def check_pool(how: Any) -> None:
    """Raises a `ValueError` if there is no such pooling."""
    if not callable(how) and how not in POOLS:
        raise ValueError(f"pool must be one of {', '.join(POOLS)}, or a function; got {how!r}")


def token_mask(x: Any, layer: str) -> Tensor | None:
    """The mask of the tokens that a layer sees, of samples that have one: those of the decoder have their own."""
    if not isinstance(x, Named):
        return None
    own = {"decoder_input_ids", "decoder_inputs_embeds"} & x.tensors.keys() and "decoder" in layer.split(".")
    return x.tensors.get("decoder_attention_mask" if own else "attention_mask")
