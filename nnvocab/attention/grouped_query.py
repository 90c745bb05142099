"""Grouped-query attention: several query heads share one key and value head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.heads import attend, check_heads, check_sequence, merge_heads, split_heads
from nnvocab.attention.kv_cache import KVCache, kv_cache_bytes
from nnvocab.attention.masks import causal_mask
from nnvocab.attention.scaled_dot_product import check_attention, scaled_dot_product_attention_fused
from nnvocab.vocabulary import Example, entry


def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    r"""Attend with H query heads over G key/value heads, as the equation is written.

    .. math::
        y_h = \operatorname{softmax}\left(\frac{q_h\, k_{g(h)}^{\top}}{\sqrt{D}} + M\right) v_{g(h)},
        \qquad g(h) = \lfloor h\, G / H \rfloor

    where :math:`M` is 0, or :math:`-\infty` above the diagonal if ``causal``.

    Shapes:
        q: (B, H, T, D); k and v: (B, G, S, D), G dividing H; the queries are the last T of S positions if ``causal``.
        Returns (B, H, T, D).

    Notice:
        Only k and v are cached while generating, so the cache shrinks by H / G. G = H is multi-head
        attention, and G = 1 is multi-query attention.

    Raises:
        ValueError: if G does not divide H, or shapes do not fit together.
    """
    check_attention(q, k, v, shared=True)
    share = q.shape[1] // k.shape[1]
    k = k.repeat_interleave(share, dim=1)  # (B, G, S, D) -> (B, H, S, D)
    v = v.repeat_interleave(share, dim=1)
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5  # (B, H, T, S)
    if causal:
        scores = scores.masked_fill(~causal_mask(q.shape[2], k.shape[2], device=q.device), float("-inf"))
    return scores.softmax(dim=-1) @ v


def grouped_query_attention_fused(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """The same function by the fused kernel: it never stores the (T, S) scores or the repeated k, v."""
    return scaled_dot_product_attention_fused(q, k, v, causal=causal)


def pool_heads(weight: Tensor, num_heads: int, num_kv_heads: int) -> Tensor:
    """Average the rows of the heads that will share: how a multi-head checkpoint becomes a grouped one.

    Args:
        weight: the key or value projection of multi-head attention, or its bias.
        num_heads: heads H that it has.
        num_kv_heads: heads G that are left; G divides H.

    Shapes:
        weight: (H*D, ...). Returns (G*D, ...).

    Source: Ainslie et al. 2023, section 2.1 (mean pooling kept more quality than picking one head).
    """
    D = check_heads(weight.shape[0], num_heads, num_kv_heads)
    grouped = weight.view(num_kv_heads, num_heads // num_kv_heads, D, *weight.shape[1:])  # (G, H/G, D, ...)
    return grouped.mean(dim=1).flatten(0, 1)


@entry(
    name="Grouped-query attention",
    aliases=("GQA",),
    page="fewer_keys",
    ids=("grouped_query_attention",),
    paper="ainslie2023gqa",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=lambda: Example(GroupedQueryAttention(32, num_heads=4, num_kv_heads=2), (torch.randn(2, 5, 32),)),
    related=("Multi-head attention", "Multi-query attention", "KV cache"),
)
class GroupedQueryAttention(nn.Module):
    r"""Self-attention layer whose ``num_heads`` query heads share ``num_kv_heads`` key/value heads.

    .. math::
        y_h = \operatorname{softmax}\!\left(\frac{q_h\, k_{g(h)}^{\top}}{\sqrt{D}}\right) v_{g(h)},
        \qquad g(h) = \lfloor h\, G / H \rfloor

    where :math:`H` query heads of width :math:`D` read from :math:`G` key/value heads.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: query heads H; H must divide C.
        num_kv_heads: key/value heads G; G must divide H.
        bias: add a bias in the four projections.
        causal: let position t see positions up to t only.

    Shapes:
        x: (B, T, C). Returns (B, T, C); with ``need_weights`` also the weights (B, H, T, S).

    Notice:
        G = H is multi-head attention and G = 1 is multi-query attention. Only keys and values are cached, so the
        cache shrinks by H / G, while queries and scores cost what they did.

    Raises:
        ValueError: if H does not divide C, or G does not divide H.

    Source: Ainslie et al. 2023, section 2.2. The paper pools the key/value heads of a trained
    multi-head model (``from_multi_head``); they may as well be learned from the start, as in Llama 2 70B.

    >>> attention = GroupedQueryAttention(64, num_heads=8, num_kv_heads=2)
    >>> attention(torch.zeros(1, 10, 64)).shape
    torch.Size([1, 10, 64])
    """

    def __init__(
        self, embed_dim: int, num_heads: int, num_kv_heads: int, *, bias: bool = False, causal: bool = False
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(embed_dim, num_heads, num_kv_heads)
        self.embed_dim, self.num_heads, self.num_kv_heads, self.causal = embed_dim, num_heads, num_kv_heads, causal
        self.q = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.k = nn.Linear(embed_dim, self.head_dim * num_kv_heads, bias=bias)
        self.v = nn.Linear(embed_dim, self.head_dim * num_kv_heads, bias=bias)
        self.out = nn.Linear(embed_dim, embed_dim, bias=bias)

    @classmethod
    def from_multi_head(
        cls, attention: nn.MultiheadAttention, num_kv_heads: int, *, causal: bool = False
    ) -> GroupedQueryAttention:
        """Convert trained multi-head attention: queries stay, key/value heads of a group become their mean."""
        if attention.in_proj_weight is None or attention.bias_k is not None or attention.add_zero_attn:
            raise ValueError("only plain self-attention is converted: one width for all, no bias_k, no add_zero_attn")
        H, weight, offset = attention.num_heads, attention.in_proj_weight, attention.in_proj_bias
        made = cls(attention.embed_dim, H, num_kv_heads, bias=offset is not None, causal=causal)
        with torch.no_grad():
            for name, layer in (("weight", weight), ("bias", offset)):
                if layer is None:
                    continue
                q, k, v = layer.chunk(3)
                getattr(made.q, name).copy_(q)
                getattr(made.k, name).copy_(pool_heads(k, H, num_kv_heads))
                getattr(made.v, name).copy_(pool_heads(v, H, num_kv_heads))
                getattr(made.out, name).copy_(getattr(attention.out_proj, name))
        return made.to(weight)

    def new_cache(self, batch_size: int, max_len: int, *, sliding: bool = False) -> KVCache:
        """Make an empty cache that fits this layer."""
        like = self.k.weight
        return KVCache(
            batch_size, self.num_kv_heads, max_len, self.head_dim, sliding=sliding, dtype=like.dtype, device=like.device
        )

    def cache_bytes(self, tokens: int = 1, *, batch_size: int = 1, dtype: torch.dtype = torch.float16) -> int:
        """Count the bytes that the keys and values of this layer take while generating."""
        return kv_cache_bytes(self.num_kv_heads, self.head_dim, tokens=tokens, batch_size=batch_size, dtype=dtype)

    def forward(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        cache: KVCache | None = None,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        check_sequence(x, self.embed_dim)
        q = split_heads(self.q(x), self.num_heads)  # (B, H, T, D)
        k = split_heads(self.k(x), self.num_kv_heads)  # (B, G, T, D)
        v = split_heads(self.v(x), self.num_kv_heads)  # (B, G, T, D)
        y, weights = attend(
            q, k, v, causal=self.causal, key_padding_mask=key_padding_mask, cache=cache, need_weights=need_weights
        )
        y = self.out(merge_heads(y))  # (B, T, C)
        return (y, weights) if need_weights else y
