"""Rotary position embedding attention: multi-head attention that turns its queries and keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.kv_cache import KVCache
from nnvocab.attention.multi_head import MultiHeadAttention
from nnvocab.attention.rotary import RotaryEmbedding, rotate_by_position, rotate_by_position_fused
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention, scaled_dot_product_attention_fused
from nnvocab.vocabulary import Example, entry


def rotary_attention(q: Tensor, k: Tensor, v: Tensor, theta: Tensor, *, causal: bool = False) -> Tensor:
    r"""Turn queries and keys by position and attend: :math:`\operatorname{softmax}(R_t q_t\cdot R_s k_s/\sqrt{D})\,v`.

    Args:
        q: queries.
        k: keys.
        v: values, which are not turned.
        theta: angle from one position to the next, for each pair of columns.
        causal: let position t see positions up to t only.

    Shapes:
        q, k and v: (B, H, T, D); theta: (D / 2,). Returns (B, H, T, D).
    """
    positions = torch.arange(q.shape[-2], device=q.device)
    q, k = (rotate_by_position(t, positions, theta) for t in (q, k))
    return scaled_dot_product_attention(q, k, v, causal=causal)


def rotary_attention_fused(q: Tensor, k: Tensor, v: Tensor, theta: Tensor, *, causal: bool = False) -> Tensor:
    """The same function: no rotation matrices, and the fused kernel."""
    positions = torch.arange(q.shape[-2], device=q.device)
    q, k = (rotate_by_position_fused(t, positions, theta) for t in (q, k))
    return scaled_dot_product_attention_fused(q, k, v, causal=causal)


@entry(
    name="Rotary position embedding attention",
    aliases=("RoPE attention", "rotary attention"),
    page="positions",
    ids=("rope_attention",),
    paper="su2024roformer",
    peer="rotary_embedding_torch.RotaryEmbedding",
    example=lambda: Example(RotaryAttention(16, num_heads=2), (torch.randn(2, 5, 16),)),
    related=("Rotary positional embedding", "Multi-head attention", "KV cache"),
)
class RotaryAttention(nn.Module):
    r"""Multi-head attention whose queries and keys are turned by their positions in every head.

    .. math::
        \mathrm{score}_{ts} = \frac{(R_t q_t)^{\top} (R_s k_s)}{\sqrt{D}} = \frac{q_t^{\top} R_{s-t}\, k_s}{\sqrt{D}}

    where :math:`R_t` turns by :math:`t` positions, and :math:`q_t, k_s` are projected queries and keys of one head of
    width :math:`D`.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        rope: how to turn, with base, layout, partial width and scaling; one that turns whole heads if not given.
        num_kv_heads: key/value heads that the heads share; H if not given.
        dropout: probability with which a weight is set to 0 while training.
        bias: add a bias in the projections.
        causal: let position t see positions up to t only.

    Shapes:
        x: (B, T, C). Returns (B, T, C); with ``need_weights`` also the weights (B, H, T, S). With a cache, positions
        go on from what is stored.

    Notice:
        It turns after the projection and in each head: turned before, x would be mixed by the weights and the score
        would no longer depend on the distance alone. Keys are cached already turned.

    Raises:
        ValueError: if heads do not divide, the rope is wider than a head, or inputs, masks and cache do not fit.

    Source: Su et al. 2024, section 3.2.2 and equation 16.

    >>> layer = RotaryAttention(64, num_heads=4, rope=RotaryEmbedding(8, layout="half"), causal=True)
    >>> layer(torch.randn(1, 10, 64)).shape
    torch.Size([1, 10, 64])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        rope: RotaryEmbedding | None = None,
        num_kv_heads: int | None = None,
        dropout: float = 0.0,
        bias: bool = False,
        causal: bool = False,
    ) -> None:
        super().__init__()
        head_dim = embed_dim // max(1, num_heads)
        if rope is None:
            if head_dim % 2:
                raise ValueError(f"a head has width {head_dim}, but columns turn in pairs: choose an even head width")
            rope = RotaryEmbedding(head_dim)
        if rope.dim > head_dim:
            raise ValueError(f"the rope turns {rope.dim} columns, but a head has only {head_dim}")
        self.attention = MultiHeadAttention(
            embed_dim, num_heads, num_kv_heads=num_kv_heads, positions=rope, dropout=dropout, bias=bias, causal=causal
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
