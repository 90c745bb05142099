"""Multi-head attention: several small attentions side by side, each with its own view of the sequence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.attention.heads import attend, check_dropout, check_heads, check_sequence, merge_heads, split_heads
from nnvocab.attention.kv_cache import KVCache
from nnvocab.attention.positions import PositionalEncoding
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention, scaled_dot_product_attention_fused
from nnvocab.vocabulary import Example, entry


def multi_head_attention(x: Tensor, w_qkv: Tensor, w_out: Tensor, num_heads: int, *, causal: bool = False) -> Tensor:
    r"""Attend head by head, as the equation is written; no bias, no mask but ``causal``.

    .. math::
        y = [\mathrm{head}_1; \dots; \mathrm{head}_H]\, W^O, \qquad
        \mathrm{head}_h = \operatorname{attention}(x W^Q_h, x W^K_h, x W^V_h)

    Args:
        x: the sequence.
        w_qkv: query, key and value projections one above the other.
        w_out: output projection.
        num_heads: heads H.
        causal: let position t see positions up to t only.

    Shapes:
        x: (B, T, C); w_qkv: (3*C, C); w_out: (C, C), both as ``nn.Linear`` stores them. Returns (B, T, C).

    Raises:
        ValueError: if H does not divide C, or x or a weight has another shape.
    """
    _check_weights(x, w_qkv, w_out, num_heads)
    w_q, w_k, w_v = (w.chunk(num_heads) for w in w_qkv.chunk(3))  # H weights of (D, C) each
    heads = [
        scaled_dot_product_attention(x @ w_q[h].T, x @ w_k[h].T, x @ w_v[h].T, causal=causal)  # (B, T, D)
        for h in range(num_heads)
    ]
    return torch.cat(heads, dim=-1) @ w_out.T  # (B, T, C)


def multi_head_attention_fused(
    x: Tensor, w_qkv: Tensor, w_out: Tensor, num_heads: int, *, causal: bool = False
) -> Tensor:
    """The same function: one product projects for all heads, and one kernel attends in all of them."""
    _check_weights(x, w_qkv, w_out, num_heads)
    q, k, v = (split_heads(t, num_heads) for t in (x @ w_qkv.T).chunk(3, dim=-1))  # (B, H, T, D)
    return merge_heads(scaled_dot_product_attention_fused(q, k, v, causal=causal)) @ w_out.T


def _check_weights(x: Tensor, w_qkv: Tensor, w_out: Tensor, num_heads: int) -> None:
    C = w_out.shape[-1]
    if tuple(w_out.shape) != (C, C) or tuple(w_qkv.shape) != (3 * C, C):
        raise ValueError(
            f"w_qkv has shape {tuple(w_qkv.shape)} and w_out {tuple(w_out.shape)}, but need (3*C, C) and (C, C), as "
            f"nn.Linear stores them"
        )
    check_heads(C, num_heads)
    check_sequence(x, C)


@entry(
    name="Multi-head attention",
    aliases=("MHA",),
    page="many_heads",
    ids=("multi_head_attention", "loom_multi_head_attention"),
    paper="vaswani2017attention",
    peer="torch.nn.MultiheadAttention",
    example=lambda: Example(MultiHeadAttention(16, num_heads=4), (torch.randn(2, 5, 16),)),
    related=("Scaled dot-product attention", "Attention heads", "Grouped-query attention", "Cross-attention"),
)
class MultiHeadAttention(nn.Module):
    r"""Attention layer of H heads, each of which attends in its own share of the width.

    .. math::
        y = [\mathrm{head}_1; \dots; \mathrm{head}_H]\, W^O, \qquad
        \mathrm{head}_h = \operatorname{softmax}\!\left(\frac{q_h k_h^{\top}}{\sqrt{D}} + M\right) v_h

    where :math:`q_h, k_h, v_h` are the inputs, projected to width :math:`D = C / H` by weights of head :math:`h`.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        num_kv_heads: key/value heads G that the heads share, as in grouped-query attention; H if not given.
        positions: a scheme that turns q and k (RoPE) or adds to the scores (ALiBi); None leaves order unseen.
        dropout: probability with which a weight is set to 0 while training.
        bias: add a bias in the projections.
        causal: let position t see positions up to t only.

    Shapes:
        query: (B, T, C); key and value: (B, S, C), the query itself if not given. Returns (B, T, C); with
        ``need_weights`` also the weights of every head, (B, H, T, S). mask: boolean (True: may look) or added,
        broadcasting to (B, H, T, S); key_padding_mask: (B, S), True marks padding.

    Notice:
        The heads cost no more than one head of the full width: each gets C / H of it. The scale is the square root of
        the width D of a head, not of C. A query that may look at nothing gets output ``bias`` of the last projection
        and weights 0.

    Raises:
        ValueError: if H does not divide C, G does not divide H, or inputs, masks and cache do not fit.

    Source: Vaswani et al. 2017, section 3.2.2.

    >>> attention = MultiHeadAttention(512, num_heads=8)
    >>> y, weights = attention(torch.randn(1, 10, 512), need_weights=True)
    >>> y.shape, weights.shape, attention.head_dim
    (torch.Size([1, 10, 512]), torch.Size([1, 8, 10, 10]), 64)
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
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(embed_dim, num_heads, num_kv_heads)
        self.embed_dim, self.num_heads, self.num_kv_heads = embed_dim, num_heads, num_kv_heads or num_heads
        self.positions, self.dropout, self.causal = positions, check_dropout(dropout), causal
        kv_dim = self.num_kv_heads * self.head_dim
        self.qkv = nn.Linear(embed_dim, embed_dim + 2 * kv_dim, bias=bias)
        self.out = nn.Linear(embed_dim, embed_dim, bias=bias)
        nn.init.xavier_uniform_(self.qkv.weight)
        if bias:
            nn.init.zeros_(self.qkv.bias)
            nn.init.zeros_(self.out.bias)

    def new_cache(self, batch_size: int, max_len: int, *, sliding: bool = False) -> KVCache:
        """Make an empty cache that fits this layer."""
        like = self.qkv.weight
        return KVCache(
            batch_size, self.num_kv_heads, max_len, self.head_dim, sliding=sliding, dtype=like.dtype, device=like.device
        )

    def project(self, query: Tensor, key: Tensor | None, value: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Project to the heads' queries, keys and values: (B, H, T, D), (B, G, S, D), (B, G, S, D)."""
        C, kv_dim = self.embed_dim, self.num_kv_heads * self.head_dim
        if key is None:
            q, k, v = self.qkv(query).split([C, kv_dim, kv_dim], dim=-1)  # one product for all three
        else:
            weights = self.qkv.weight.split([C, kv_dim, kv_dim])
            biases = (None,) * 3 if self.qkv.bias is None else self.qkv.bias.split([C, kv_dim, kv_dim])
            value = key if value is None else value
            q, k, v = (F.linear(t, w, b) for t, w, b in zip((query, key, value), weights, biases, strict=True))
        return split_heads(q, self.num_heads), split_heads(k, self.num_kv_heads), split_heads(v, self.num_kv_heads)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        cache: KVCache | None = None,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        if key is None and value is not None:
            raise ValueError("value was given without key: give both, or neither for self-attention")
        for name, t in (("query", query), ("key", key), ("value", value)):
            if t is not None:
                check_sequence(t, self.embed_dim, name)
        if key is not None and (self.positions is not None or cache is not None):
            raise ValueError("positions and cache are for self-attention: leave key out, or use CrossAttention")
        if any(t is not None and len(t) != len(query) for t in (key, value)):
            raise ValueError(f"query has a batch of {len(query)}, key and value another; they must be equal")
        y, weights = attend(
            *self.project(query, key, value),
            causal=self.causal,
            mask=mask,
            key_padding_mask=key_padding_mask,
            cache=cache,
            positions=self.positions,
            dropout=self.dropout if self.training else 0.0,
            need_weights=need_weights,
        )
        y = self.out(merge_heads(y))  # (B, T, C)
        return (y, weights) if need_weights else y
