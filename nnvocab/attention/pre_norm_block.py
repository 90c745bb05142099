"""Pre-norm attention block: attention and a feed-forward layer, each behind a norm and beside a residual path."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nnvocab.attention.kv_cache import KVCache
from nnvocab.attention.multi_head import MultiHeadAttention
from nnvocab.vocabulary import Example, entry

Step = Callable[[Tensor], Tensor]


def pre_norm_block(x: Tensor, attention: Step, feed_forward: Step, norm1: Step, norm2: Step) -> Tensor:
    r"""Compute the block as the equations are written: :math:`h = x + A(N_1(x)),\; y = h + F(N_2(h))`.

    Args:
        x: the sequence.
        attention: the first function A; it mixes positions.
        feed_forward: the second function F; it works at each position alone.
        norm1, norm2: what stands before each of them.

    Shapes:
        x: (B, T, C). Returns (B, T, C).
    """
    h = x + attention(norm1(x))
    return h + feed_forward(norm2(h))


def _example() -> Example:
    feed_forward = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8))
    return Example(PreNormBlock(8, MultiHeadAttention(8, 2, causal=True), feed_forward), (torch.randn(2, 5, 8),))


@entry(
    name="Pre-norm attention block",
    aliases=("attention in practice",),
    ids=("caramba_attention_block",),
    page="decoupled",
    kind="block",
    paper="xiong2020layer",
    peer="transformers.models.llama.modeling_llama.LlamaDecoderLayer",
    example=_example,
    related=("Configurable attention layer", "Decoupled bottleneck attention"),
)
class PreNormBlock(nn.Module):
    r"""A transformer block whose norms stand before attention and before the feed-forward layer.

    .. math::
        h = x + A(N_1(x)), \qquad y = h + F(N_2(h))

    where :math:`A` is attention, :math:`F` a feed-forward layer, and :math:`N_1, N_2` are root-mean-square norms.

    Args:
        embed_dim: width C.
        attention: any self-attention layer of this chapter.
        feed_forward: any module that keeps the width.
        eps: what the norms add to the mean square.

    Shapes:
        x: (B, T, C). Returns (B, T, C). key_padding_mask: (B, S), True marks padding.

    Notice:
        Along the two sums nothing is normalised, so after the last block the sum has to be, once. At the start the
        gradient of the last block falls with the square root of the depth; with the norm behind each sum it stays
        large, which is why that older form needs a warm-up of the learning rate and this one does not.
        Without the second half a block mixes positions, but computes nothing at any of them.

    Raises:
        ValueError: if the input has another width.

    Source: Xiong et al. 2020, section 3.3, theorem 1.

    >>> block = PreNormBlock(8, MultiHeadAttention(8, 2), nn.Linear(8, 8))
    >>> block(torch.zeros(1, 3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, embed_dim: int, attention: nn.Module, feed_forward: nn.Module, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.embed_dim, self.attention, self.feed_forward = embed_dim, attention, feed_forward
        self.norm1, self.norm2 = nn.RMSNorm(embed_dim, eps=eps), nn.RMSNorm(embed_dim, eps=eps)

    def forward(self, x: Tensor, *, key_padding_mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        if x.ndim != 3 or x.shape[2] != self.embed_dim:
            raise ValueError(f"x has shape {tuple(x.shape)}, but this block reads (batch, positions, {self.embed_dim})")
        optional = {"key_padding_mask": key_padding_mask, "cache": cache}
        given = {name: value for name, value in optional.items() if value is not None}
        return pre_norm_block(x, lambda t: self.attention(t, **given), self.feed_forward, self.norm1, self.norm2)
