"""Self-attention: one sequence asks itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.attention.heads import check_dropout, check_sequence, check_weights
from nnvocab.attention.masks import causal_mask, join_masks, padding_mask
from nnvocab.attention.scaled_dot_product import (
    attention_weights,
    check_attention,
    scaled_dot_product_attention,
    scaled_dot_product_attention_fused,
)
from nnvocab.vocabulary import Example, entry


def self_attention(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, *, causal: bool = False) -> Tensor:
    r"""Project one sequence three ways and attend: :math:`\operatorname{softmax}(xW_Q (xW_K)^\top/\sqrt{D})\, xW_V`.

    Args:
        x: the sequence.
        w_q: query projection.
        w_k: key projection.
        w_v: value projection.
        causal: let position t see positions up to t only.

    Shapes:
        x: (..., T, C); w_q and w_k: (C, D); w_v: (C, E). Returns (..., T, E).

    Raises:
        ValueError: if a weight does not take what x is wide, or w_q and w_k lead to different widths.
    """
    check_weights(x, w_q=w_q, w_k=w_k, w_v=w_v)
    return scaled_dot_product_attention(x @ w_q, x @ w_k, x @ w_v, causal=causal)


def self_attention_fused(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor, *, causal: bool = False) -> Tensor:
    """The same function: one product for the three projections, and the fused kernel."""
    check_weights(x, w_q=w_q, w_k=w_k, w_v=w_v)
    projected = x @ torch.cat([w_q, w_k, w_v], dim=1)  # (..., T, D + D + E)
    q, k, v = projected.split([w_q.shape[1], w_k.shape[1], w_v.shape[1]], dim=-1)
    return scaled_dot_product_attention_fused(q, k, v, causal=causal)


@entry(
    name="Self-attention",
    aliases=("intra-attention", "scaled dot-product self-attention"),
    page="looking",
    ids=("self_attention",),
    paper="vaswani2017attention",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=lambda: Example(SelfAttention(8, d_k=4), (torch.randn(2, 5, 8),)),
    related=("Scaled dot-product attention", "Cross-attention", "Multi-head attention", "Causal attention"),
)
class SelfAttention(nn.Module):
    r"""One head of attention in which queries, keys and values all come from the same sequence.

    .. math::
        y = \operatorname{softmax}\left(\frac{(xW_Q)(xW_K)^{\top}}{\sqrt{d_k}} + M\right) xW_V

    where :math:`W_Q, W_K, W_V` are three different learned weights and :math:`d_k` is the width of a query.

    Args:
        embed_dim: width C of the input.
        d_k: width of queries and keys; C if not given.
        d_v: width of values and of the output; ``d_k`` if not given.
        dropout: probability with which a weight is set to 0 while training.
        bias: add a bias in the projections.
        causal: let position t see positions up to t only.

    Shapes:
        x: (B, T, C). Returns (B, T, d_v); with ``need_weights`` also the weights (B, T, T). mask: boolean (True: may
        look) or added, broadcasting to (B, T, T); key_padding_mask: (B, T), True marks padding.

    Notice:
        With one projection for both, q = k, the scores would be symmetric: "it" could look at "cat" only as much as
        "cat" looks at "it", before the softmax. Three projections free them.

    Raises:
        ValueError: if widths are below 1, or the input or a mask has the wrong shape.

    Source: Vaswani et al. 2017, section 3.2; Cheng et al. 2016 for attention within one sequence.

    >>> layer = SelfAttention(8, d_k=4)
    >>> y, weights = layer(torch.randn(2, 5, 8), need_weights=True)
    >>> y.shape, weights.shape, bool(torch.allclose(weights.sum(-1), torch.ones(2, 5)))
    (torch.Size([2, 5, 4]), torch.Size([2, 5, 5]), True)
    """

    def __init__(
        self,
        embed_dim: int,
        *,
        d_k: int | None = None,
        d_v: int | None = None,
        dropout: float = 0.0,
        bias: bool = False,
        causal: bool = False,
    ) -> None:
        super().__init__()
        d_k = embed_dim if d_k is None else d_k
        d_v = d_k if d_v is None else d_v
        if min(embed_dim, d_k, d_v) < 1:
            raise ValueError(f"embed_dim {embed_dim}, d_k {d_k} and d_v {d_v} must be at least 1")
        self.embed_dim, self.causal, self.dropout = embed_dim, causal, check_dropout(dropout)
        self.q = nn.Linear(embed_dim, d_k, bias=bias)
        self.k = nn.Linear(embed_dim, d_k, bias=bias)
        self.v = nn.Linear(embed_dim, d_v, bias=bias)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        check_sequence(x, self.embed_dim)
        q, k, v = self.q(x), self.k(x), self.v(x)  # (B, T, d_k), (B, T, d_k), (B, T, d_v)
        B, T, _ = x.shape
        real = None if key_padding_mask is None else padding_mask(key_padding_mask, B, T).squeeze(1)  # (B, 1, T)
        mask = join_masks(mask, real)
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            return scaled_dot_product_attention_fused(q, k, v, mask=mask, causal=self.causal, dropout=dropout)
        check_attention(q, k, v, mask)
        ahead = causal_mask(T, device=x.device) if self.causal else None
        weights = attention_weights(q, k, mask=join_masks(mask, ahead))  # (B, T, T)
        return (F.dropout(weights, dropout) if dropout else weights) @ v, weights
