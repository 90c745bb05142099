"""Grouped-query attention: several query heads share one key and value head."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    r"""Attend with H query heads over G key/value heads, as the equation is written.

    .. math::
        y_h = \operatorname{softmax}\left(\frac{q_h\, k_{g(h)}^{\top}}{\sqrt{D}} + M\right) v_{g(h)},
        \qquad g(h) = \lfloor h\, G / H \rfloor

    where :math:`M` is 0, or :math:`-\infty` above the diagonal if ``causal``.

    Shapes:
        q: (B, H, T, D); k and v: (B, G, T, D), G dividing H. Returns (B, H, T, D).

    Notice:
        Only k and v are cached while generating, so the cache shrinks by H / G. G = H is multi-head
        attention, and G = 1 is multi-query attention.
    """
    share = q.shape[1] // k.shape[1]
    k = k.repeat_interleave(share, dim=1)  # (B, G, T, D) -> (B, H, T, D)
    v = v.repeat_interleave(share, dim=1)
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5  # (B, H, T, T)
    if causal:
        T = scores.shape[-1]
        future = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(diagonal=1)
        scores = scores.masked_fill(future, float("-inf"))
    return scores.softmax(dim=-1) @ v


def grouped_query_attention_fused(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """The same function by the fused kernel: it never stores the (T, T) scores or the repeated k, v."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)


@entry(
    name="Grouped-query attention",
    aliases=("GQA",),
    page="fewer_keys",
    ids=("grouped_query_attention",),
    paper="ainslie2023gqa",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=lambda: Example(GroupedQueryAttention(32, num_heads=4, num_kv_heads=2), (torch.randn(2, 5, 32),)),
)
class GroupedQueryAttention(nn.Module):
    """Self-attention layer whose ``num_heads`` query heads share ``num_kv_heads`` key/value heads.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: query heads H; H must divide C.
        num_kv_heads: key/value heads G; G must divide H.
        causal: let position t see positions up to t only.

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    Raises:
        ValueError: if H does not divide C, or G does not divide H.

    Source: Ainslie et al. 2023, section 2.2. The paper pools the key/value heads of a trained
    multi-head model; here they are learned from the start, as in Llama 2 70B.

    >>> attention = GroupedQueryAttention(64, num_heads=8, num_kv_heads=2)
    >>> attention(torch.zeros(1, 10, 64)).shape
    torch.Size([1, 10, 64])
    """

    def __init__(self, embed_dim: int, num_heads: int, num_kv_heads: int, *, causal: bool = False) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        if num_heads % num_kv_heads:
            raise ValueError(
                f"num_heads {num_heads} is not a multiple of num_kv_heads {num_kv_heads}: every key/value "
                f"head serves the same number of query heads"
            )
        self.num_heads, self.num_kv_heads, self.causal = num_heads, num_kv_heads, causal
        kv_dim = embed_dim // num_heads * num_kv_heads
        self.q = nn.Linear(embed_dim, embed_dim, bias=False)
        self.k = nn.Linear(embed_dim, kv_dim, bias=False)
        self.v = nn.Linear(embed_dim, kv_dim, bias=False)
        self.out = nn.Linear(embed_dim, embed_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q = self.q(x).view(B, T, self.num_heads, -1).transpose(1, 2)  # (B, H, T, D)
        k = self.k(x).view(B, T, self.num_kv_heads, -1).transpose(1, 2)  # (B, G, T, D)
        v = self.v(x).view(B, T, self.num_kv_heads, -1).transpose(1, 2)  # (B, G, T, D)
        y = grouped_query_attention_fused(q, k, v, causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(B, T, C))
