"""What the attention layers share: into heads and out again, and attending with masks, a cache and biases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvocab.attention.masks import causal_mask, join_masks, padding_mask, positions_mask
from nnvocab.attention.scaled_dot_product import (
    attention_weights,
    check_attention,
    check_mask,
    scaled_dot_product_attention_fused,
)

if TYPE_CHECKING:
    from nnvocab.attention.kv_cache import KVCache
    from nnvocab.attention.positions import PositionalEncoding


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Cut the width into heads: (B, T, H*D) -> (B, H, T, D)."""
    B, T, C = x.shape
    return x.view(B, T, num_heads, C // num_heads).transpose(1, 2)


def merge_heads(y: Tensor) -> Tensor:
    """Put the heads side by side again: (B, H, T, D) -> (B, T, H*D)."""
    return y.transpose(1, 2).flatten(2)


def check_sequence(x: Tensor, width: int, name: str = "x") -> None:
    """Raise an error that says how to mend it if ``x`` is not a batch of sequences of this width."""
    if x.ndim != 3:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, but needs three axes (batch, positions, {width}); use "
            f"{name}.unsqueeze(0) for a single sequence"
        )
    if x.shape[2] != width:
        raise ValueError(f"{name} has width {x.shape[2]}, but this layer was made for width {width}")
    if x.shape[1] == 0:
        raise ValueError(f"{name} has shape {tuple(x.shape)}: there is no position; attention needs at least one")


def check_weights(x: Tensor, name: str = "x", **weights: Tensor) -> None:
    """Raise an error if a weight, (width in, width out), does not take what has the width of ``x``."""
    for weight, w in weights.items():
        if x.ndim < 2 or w.ndim != 2 or x.shape[-1] != w.shape[0]:
            raise ValueError(
                f"{name} has shape {tuple(x.shape)} and {weight} has {tuple(w.shape)}, but need (..., positions, C) "
                f"and (C, width): the weight takes what {name} is wide"
            )


def check_heads(embed_dim: int, num_heads: int, num_kv_heads: int | None = None) -> int:
    """Return the width D of a head; raise an error where the heads do not divide as they must."""
    if num_heads < 1 or embed_dim < 1:
        raise ValueError(f"embed_dim {embed_dim} and num_heads {num_heads} must be at least 1")
    if embed_dim % num_heads:
        raise ValueError(
            f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}: every head gets an equal share of the "
            f"width, so choose e.g. embed_dim {num_heads * max(1, round(embed_dim / num_heads))}"
        )
    if num_kv_heads is not None and (num_kv_heads < 1 or num_heads % num_kv_heads):
        raise ValueError(
            f"num_heads {num_heads} is not a multiple of num_kv_heads {num_kv_heads}: every key/value head serves the "
            f"same number of query heads"
        )
    return embed_dim // num_heads


def check_dropout(dropout: float) -> float:
    """Return the probability; raise an error if it is none."""
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout is {dropout}, but must be a probability: at least 0 and below 1")
    return dropout


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = False,
    mask: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    cache: KVCache | None = None,
    positions: PositionalEncoding | None = None,
    first: tuple[Tensor, Tensor] | None = None,
    dropout: float = 0.0,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attend with H query heads over G key/value heads, with all that a layer may ask for.

    Args:
        q, k, v: (B, H, T, D), (B, G, S, D) and (B, G, S, E); G divides H.
        causal: let no query look ahead.
        mask: boolean (True: may look) or added to the scores; broadcasts to (B, H, T, S).
        key_padding_mask: (B, S), True marks keys that are padding. With a cache, both masks and the weights count
            keys from the oldest that is stored.
        cache: keys and values of earlier positions; k and v are appended to it.
        positions: a scheme whose ``rotate`` turns q and k and whose ``bias`` is added to the scores.
        first: keys and values, (B, G, P, D) and (B, G, P, E), that stand before all others, have no position, are not
            stored, and are seen by every query. Masks do not count them; the weights do.
        dropout: probability with which a weight is set to 0.
        need_weights: return the weights too, (B, H, T, S).
    """
    B, H, T, _ = q.shape
    if cache is not None and not causal:
        raise ValueError(
            "a cache was given to a layer that is not causal: there, a new token changes what earlier positions see, "
            "so their stored keys would be out of date; make the layer with causal=True"
        )
    before = 0 if cache is None else cache.seen
    if positions is not None:
        q, k = positions.rotate(q, offset=before), positions.rotate(k, offset=before)
    keys_at = torch.arange(k.shape[2], device=q.device) if cache is None else cache.positions(k.shape[2])
    queries_at = torch.arange(before, before + T, device=q.device)
    if positions is not None:
        bias = positions.bias(queries_at, keys_at)  # (H, T, S) or None
        if bias is not None and bias.shape[0] != H:
            raise ValueError(f"positions made for {bias.shape[0]} heads were given to a layer of {H}: give as many")
        mask = join_masks(mask, bias)
    if cache is not None and T > 1:  # a single new token may see all that is stored
        mask = join_masks(mask, positions_mask(queries_at, keys_at, window=cache.max_len if cache.sliding else None))
    if key_padding_mask is not None:
        mask = join_masks(mask, padding_mask(key_padding_mask, B, len(keys_at)))
    if mask is not None:
        check_mask(mask, (B, H, T, len(keys_at)))  # before storing: what is refused leaves no trace
    if cache is not None:
        k, v, _ = cache.append(k, v)
    ahead = causal and cache is None
    if first is not None:
        if ahead:
            mask, ahead = join_masks(mask, causal_mask(T, k.shape[2], device=q.device)), False
        if mask is not None:
            mask = torch.atleast_2d(mask).expand(*mask.shape[:-2], -1, k.shape[2])
            mask = F.pad(mask, (first[0].shape[2], 0), value=True if mask.dtype == torch.bool else 0.0)  # (..., P + S)
        k, v = (torch.cat(parts, dim=2) for parts in zip(first, (k, v), strict=True))
    if not need_weights:
        return scaled_dot_product_attention_fused(q, k, v, mask=mask, causal=ahead, dropout=dropout), None
    if H != k.shape[1]:
        k, v = (t.repeat_interleave(H // t.shape[1], dim=1) for t in (k, v))  # (B, G, S, D) -> (B, H, S, D)
    if ahead:
        mask = join_masks(mask, causal_mask(T, k.shape[2], device=q.device))
    check_attention(q, k, v, mask)
    weights = attention_weights(q, k, mask=mask)  # (B, H, T, S)
    y = (F.dropout(weights, dropout) if dropout else weights) @ v
    return y, weights
