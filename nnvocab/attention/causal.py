"""Causal attention: every position sees itself and what came before, and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.kv_cache import KVCache
from nnvocab.attention.masks import causal_mask
from nnvocab.attention.multi_head import MultiHeadAttention
from nnvocab.attention.positions import PositionalEncoding
from nnvocab.attention.scaled_dot_product import (
    attention_weights,
    check_attention,
    scaled_dot_product_attention_fused,
)
from nnvocab.vocabulary import Example, entry


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    r"""Attend with :math:`-\infty` added above the diagonal, where the queries are the last T of S positions.

    Args:
        q: queries of the last T positions.
        k: keys of all S positions, those of a cached prefix included.
        v: values of all S positions.

    Shapes:
        q: (..., T, D); k and v: (..., S, D), S >= T. Returns (..., T, D).

    Raises:
        ValueError: if shapes do not fit together, or there are fewer keys than queries.
    """
    check_attention(q, k, v)
    visible = causal_mask(q.shape[-2], k.shape[-2], device=q.device)  # (T, S): row t up to column t + S - T
    M = torch.zeros_like(visible, dtype=q.dtype).masked_fill(~visible, float("-inf"))
    return attention_weights(q, k, mask=M) @ v


def causal_attention_fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same function by the fused kernel, which skips the upper triangle when T = S."""
    return scaled_dot_product_attention_fused(q, k, v, causal=True)


@entry(
    name="Causal attention",
    aliases=("Autoregressive attention", "masked self-attention"),
    page="many_heads",
    ids=("causal_attention",),
    paper="vaswani2017attention",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=lambda: Example(CausalAttention(16, num_heads=2), (torch.randn(2, 5, 16),)),
    related=("Bidirectional attention", "KV cache", "Multi-head attention"),
)
class CausalAttention(nn.Module):
    r"""Multi-head attention in which a position sees itself and earlier positions only.

    .. math::
        y_t = \operatorname{softmax}\!\left(\frac{q_t K^{\top}}{\sqrt{D}} + M_t\right) V, \qquad
        M_{ts} = \begin{cases} 0 & s \le t \\ -\infty & s > t \end{cases}

    where :math:`t` and :math:`s` are absolute positions: behind a cached prefix the first new token has
    :math:`t` = length of the prefix.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        num_kv_heads: key/value heads that the heads share; H if not given.
        positions: a scheme that turns q and k or adds to the scores.
        dropout: probability with which a weight is set to 0 while training.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C). Returns (B, T, C); with ``need_weights`` also (B, H, T, S). With a cache, S counts what is
        stored and the T new positions.

    Notice:
        All T positions of a text are trained on at once, each as if the rest did not exist yet. That is what makes
        generation with a cache exact.

    Raises:
        ValueError: if heads do not divide, or inputs, masks and cache do not fit.

    Source: Vaswani et al. 2017, section 3.2.3.

    >>> layer = CausalAttention(8, num_heads=2)
    >>> _, weights = layer(torch.randn(1, 3, 8), need_weights=True)
    >>> (weights[0, 0] > 0).int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        positions: PositionalEncoding | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(
            embed_dim,
            num_heads,
            num_kv_heads=num_kv_heads,
            positions=positions,
            dropout=dropout,
            bias=bias,
            causal=True,
        )

    def new_cache(self, batch_size: int, max_len: int, *, sliding: bool = False) -> KVCache:
        """Make an empty cache that fits this layer."""
        return self.attention.new_cache(batch_size, max_len, sliding=sliding)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        cache: KVCache | None = None,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        return self.attention(x, mask=mask, key_padding_mask=key_padding_mask, cache=cache, need_weights=need_weights)
