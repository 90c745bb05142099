"""Masks of attention: which query may look at which key, in one convention for the whole chapter.

A boolean mask says True where a query *may look*, as ``torch.nn.functional.scaled_dot_product_attention`` has it. A
floating-point mask is added to the scores. Only ``key_padding_mask`` is the other way round, as in
``torch.nn.MultiheadAttention``: True marks padding.
"""

from __future__ import annotations

import torch
from torch import Tensor


def causal_mask(T: int, S: int | None = None, *, device: torch.device | str | None = None) -> Tensor:
    """Say which of S keys each of the T last queries may see: those at its own position and before.

    Args:
        T: number of queries; they are the last T of the S positions.
        S: number of keys, those of a cached prefix included; T if not given.
        device: where the mask is made.

    Shapes:
        Returns (T, S) of booleans; row t is True up to column t + (S - T).

    Raises:
        ValueError: if there are fewer keys than queries, or no position at all.

    >>> causal_mask(2, 4).int()
    tensor([[1, 1, 1, 0],
            [1, 1, 1, 1]], dtype=torch.int32)
    """
    S = T if S is None else S
    if T < 1 or S < T:
        raise ValueError(
            f"a causal mask was asked for {T} queries and {S} keys; every query needs at least its own key, so give "
            f"1 <= T <= S (the queries are the last T of S positions)"
        )
    return positions_mask(torch.arange(S - T, S, device=device), torch.arange(S, device=device))


def positions_mask(queries: Tensor, keys: Tensor, *, window: int | None = None) -> Tensor:
    """Compare absolute positions: a query sees keys at its own position and before, no further back than ``window``.

    Args:
        queries: absolute positions of the queries, (T,).
        keys: absolute positions of the keys, (S,), in any order.
        window: how many positions a query sees, its own included; all if not given.

    Shapes:
        Returns (T, S) of booleans.

    Raises:
        ValueError: if the window is below 1, or positions are not (T,) and (S,).
    """
    if queries.ndim != 1 or keys.ndim != 1:
        raise ValueError(
            f"positions of queries and keys have shapes {tuple(queries.shape)} and {tuple(keys.shape)}, but need (T,) "
            f"and (S,): one number for each"
        )
    if window is not None and window < 1:
        raise ValueError(f"window is {window}, but a query sees at least its own position: give 1 or more, or None")
    back = queries.unsqueeze(-1) - keys  # (T, S)
    return back >= 0 if window is None else (back >= 0) & (back < window)


def padding_mask(key_padding_mask: Tensor, batch_size: int, S: int) -> Tensor:
    """Turn ``key_padding_mask`` (True marks padding) into a mask that says which keys may be seen.

    Args:
        key_padding_mask: (B, S) of booleans.
        batch_size: the batch that the keys have.
        S: number of keys.

    Shapes:
        Returns (B, 1, 1, S), True for real tokens.

    Raises:
        TypeError: if it is not boolean.
        ValueError: if its shape is not (B, S).
    """
    if key_padding_mask.dtype != torch.bool:
        raise TypeError(
            f"key_padding_mask has dtype {key_padding_mask.dtype}, but must be torch.bool, True where a key is "
            f"padding; write key_padding_mask.bool(), or (tokens == padding_id)"
        )
    if key_padding_mask.shape != (batch_size, S):
        raise ValueError(
            f"key_padding_mask has shape {tuple(key_padding_mask.shape)}, but the keys need ({batch_size}, {S}): one "
            f"flag for each key of each sequence"
        )
    return ~key_padding_mask.unsqueeze(1).unsqueeze(1)


def join_masks(*masks: Tensor | None) -> Tensor | None:
    """Join masks: a key is seen where all of them allow it; additive masks are summed.

    Args:
        masks: boolean masks (True: may look), floating-point masks (added to the scores), or None.

    Shapes:
        They broadcast against each other; returns the broadcast shape, or None if all were None.

    Raises:
        TypeError: if a mask is neither boolean nor floating-point.
        ValueError: if they do not broadcast against each other.

    >>> join_masks(torch.tensor([True, True, False]), torch.tensor([0.5, 0.0, 0.0]))
    tensor([0.5000, 0.0000,   -inf])
    """
    joined: Tensor | None = None
    for mask in masks:
        if mask is None:
            continue
        if mask.dtype != torch.bool and not mask.is_floating_point():
            raise TypeError(
                f"a mask has dtype {mask.dtype}, but must be torch.bool (True: may look) or floating-point (added to "
                f"the scores); write mask.bool() if 1 means that the key may be seen"
            )
        if joined is None:
            joined = mask
            continue
        if any(1 != m != j != 1 for m, j in zip(mask.shape[::-1], joined.shape[::-1], strict=False)):
            raise ValueError(
                f"masks of shapes {tuple(joined.shape)} and {tuple(mask.shape)} were to be joined, but do not "
                f"broadcast; the last two axes of a mask are (queries, keys)"
            )
        if joined.dtype == mask.dtype == torch.bool:
            joined = joined & mask
        elif joined.dtype == torch.bool or mask.dtype == torch.bool:
            allowed, added = (joined, mask) if joined.dtype == torch.bool else (mask, joined)
            joined = torch.where(allowed, added, float("-inf"))
        else:
            joined = joined + mask
    return joined
