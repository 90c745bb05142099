"""Multi-query attention: all heads ask, one key and one value head answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.heads import attend, check_heads, check_sequence, merge_heads, split_heads
from nnvocab.attention.kv_cache import KVCache, kv_cache_bytes
from nnvocab.attention.masks import causal_mask
from nnvocab.attention.scaled_dot_product import check_attention, scaled_dot_product_attention_fused
from nnvocab.vocabulary import Example, entry


def multi_query_attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    r"""Let H query heads read the same keys and values: :math:`y_h = \operatorname{softmax}(q_h k^\top/\sqrt{D})\,v`.

    Args:
        q: queries of H heads.
        k: the one head of keys.
        v: the one head of values.
        causal: let position t see positions up to t only.

    Shapes:
        q: (B, H, T, D); k and v: (B, S, D), without an axis for heads; the queries are the last T of S positions if
        ``causal``. Returns (B, H, T, D).

    Raises:
        ValueError: if shapes do not fit together.
    """
    check_attention(q, k.unsqueeze(1), v.unsqueeze(1), shared=True)
    scores = torch.einsum("bhtd,bsd->bhts", q, k) / q.shape[-1] ** 0.5
    if causal:
        scores = scores.masked_fill(~causal_mask(q.shape[2], k.shape[1], device=q.device), float("-inf"))
    return torch.einsum("bhts,bsd->bhtd", scores.softmax(dim=-1), v)


def multi_query_attention_fused(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """The same function by the fused kernel, to which k and v are one shared head."""
    return scaled_dot_product_attention_fused(q, k.unsqueeze(1), v.unsqueeze(1), causal=causal)


@entry(
    name="Multi-query attention",
    aliases=("MQA",),
    page="fewer_keys",
    ids=("multi_query_attention",),
    paper="shazeer2019fast",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=lambda: Example(MultiQueryAttention(32, num_heads=4), (torch.randn(2, 5, 32),)),
    related=("Grouped-query attention", "KV cache", "Multi-head attention"),
)
class MultiQueryAttention(nn.Module):
    r"""Self-attention layer whose query heads all share one key head and one value head.

    .. math::
        y_h = \operatorname{softmax}\!\left(\frac{q_h\, k^{\top}}{\sqrt{D}}\right) v, \qquad h = 1 \dots H

    where :math:`k` and :math:`v` carry no index :math:`h`.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: query heads H; H must divide C.
        bias: add a bias in the four projections.
        causal: let position t see positions up to t only.

    Shapes:
        x: (B, T, C). Returns (B, T, C); with ``need_weights`` also the weights (B, H, T, S).

    Notice:
        A token's cache holds 2 D numbers where multi-head attention holds 2 H D: 2 (H - 1) D are saved in each
        layer. The heads still differ, by their queries.

    Raises:
        ValueError: if H does not divide C.

    Source: Shazeer 2019, section 3.

    >>> attention = MultiQueryAttention(64, num_heads=8)
    >>> attention.k.weight.shape, attention(torch.zeros(1, 10, 64)).shape
    (torch.Size([8, 64]), torch.Size([1, 10, 64]))
    """

    def __init__(self, embed_dim: int, num_heads: int, *, bias: bool = False, causal: bool = False) -> None:
        super().__init__()
        self.head_dim = check_heads(embed_dim, num_heads)
        self.embed_dim, self.num_heads, self.causal = embed_dim, num_heads, causal
        self.q = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.k = nn.Linear(embed_dim, self.head_dim, bias=bias)
        self.v = nn.Linear(embed_dim, self.head_dim, bias=bias)
        self.out = nn.Linear(embed_dim, embed_dim, bias=bias)

    def new_cache(self, batch_size: int, max_len: int, *, sliding: bool = False) -> KVCache:
        """Make an empty cache that fits this layer, for incremental decoding."""
        like = self.k.weight
        return KVCache(batch_size, 1, max_len, self.head_dim, sliding=sliding, dtype=like.dtype, device=like.device)

    def cache_bytes(self, tokens: int = 1, *, batch_size: int = 1, dtype: torch.dtype = torch.float16) -> int:
        """Count the bytes that the keys and values of this layer take while generating."""
        return kv_cache_bytes(1, self.head_dim, tokens=tokens, batch_size=batch_size, dtype=dtype)

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
        k, v = self.k(x).unsqueeze(1), self.v(x).unsqueeze(1)  # (B, 1, T, D)
        y, weights = attend(
            q, k, v, causal=self.causal, key_padding_mask=key_padding_mask, cache=cache, need_weights=need_weights
        )
        y = self.out(merge_heads(y))  # (B, T, C)
        return (y, weights) if need_weights else y
