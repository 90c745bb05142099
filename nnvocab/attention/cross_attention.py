"""Cross-attention: one sequence asks another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.heads import (
    attend,
    check_dropout,
    check_heads,
    check_sequence,
    check_weights,
    merge_heads,
    split_heads,
)
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention, scaled_dot_product_attention_fused
from nnvocab.vocabulary import Example, entry


def cross_attention(x: Tensor, memory: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor) -> Tensor:
    r"""Let one sequence read another: :math:`\operatorname{softmax}(xW_Q (mW_K)^\top/\sqrt{D})\, mW_V`, one head.

    Args:
        x: the sequence that asks.
        memory: the sequence m that is read.
        w_q: query projection.
        w_k: key projection.
        w_v: value projection.

    Shapes:
        x: (..., T, C); memory: (..., S, M); w_q: (C, D); w_k: (M, D); w_v: (M, E). Returns (..., T, E).

    Raises:
        ValueError: if a weight does not take what its sequence is wide, or w_q and w_k lead to different widths.
    """
    check_weights(x, w_q=w_q)
    check_weights(memory, "memory", w_k=w_k, w_v=w_v)
    return scaled_dot_product_attention(x @ w_q, memory @ w_k, memory @ w_v)


def cross_attention_fused(x: Tensor, memory: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor) -> Tensor:
    """The same function: keys and values by one product, and the fused kernel."""
    check_weights(x, w_q=w_q)
    check_weights(memory, "memory", w_k=w_k, w_v=w_v)
    k, v = (memory @ torch.cat([w_k, w_v], dim=1)).split([w_k.shape[1], w_v.shape[1]], dim=-1)
    return scaled_dot_product_attention_fused(x @ w_q, k, v)


@entry(
    name="Cross-attention",
    aliases=("Encoder-decoder attention",),
    page="looking",
    ids=("cross_attention",),
    paper="vaswani2017attention",
    peer="torch.nn.MultiheadAttention",
    example=lambda: Example(CrossAttention(8, num_heads=2, kdim=6), (torch.randn(2, 3, 8), torch.randn(2, 5, 6))),
    related=("Self-attention", "Multi-head attention", "KV cache"),
)
class CrossAttention(nn.Module):
    r"""Multi-head attention whose queries come from one sequence, and keys and values from another.

    .. math::
        y = [\mathrm{head}_1; \dots; \mathrm{head}_H]\, W^O, \qquad
        \mathrm{head}_h = \operatorname{softmax}\left(\frac{(xW^Q_h)(mW^K_h)^{\top}}{\sqrt{D}} + M\right) mW^V_h

    where :math:`x` asks, :math:`m` (the memory, such as an encoder's output) is read, :math:`D` is the width of a
    head, and :math:`M` hides padding.

    Args:
        embed_dim: width C of the queries' sequence and of the output.
        num_heads: heads H; H must divide C if ``d_k`` is not given.
        d_k: width D of a head's queries, keys and values; C / H if not given.
        kdim: width of the memory that keys are made of; C if not given.
        vdim: width of the memory that values are made of; ``kdim`` if not given.
        dropout: probability with which a weight is set to 0 while training.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C); memory: (B, S, kdim); values: (B, S, vdim), the memory itself if not given. Returns (B, T, C);
        with ``need_weights`` also the weights (B, H, T, S). key_padding_mask: (B, S), True marks padding.

    Notice:
        T and S need not be equal, nor the widths. Keys and values do not depend on x: while a decoder writes, compute
        them once with ``project(memory)`` and pass them as ``kv``.

    Raises:
        ValueError: if H does not divide C, an input or mask has the wrong shape, or neither or both of memory and
            kv are given.

    Source: Vaswani et al. 2017, section 3.2.3; the idea of reading an encoder is Bahdanau et al. 2015.

    >>> layer = CrossAttention(64, num_heads=8, kdim=48)
    >>> memory = torch.randn(1, 20, 48)
    >>> layer(torch.randn(1, 1, 64), kv=layer.project(memory)).shape
    torch.Size([1, 1, 64])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        d_k: int | None = None,
        kdim: int | None = None,
        vdim: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if d_k is not None and d_k < 1:
            raise ValueError(f"d_k is {d_k}, but a head is at least 1 wide; leave it out for embed_dim / num_heads")
        self.head_dim = check_heads(embed_dim if d_k is None else num_heads * d_k, num_heads)
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = self.kdim if vdim is None else vdim
        if min(embed_dim, self.kdim, self.vdim) < 1:
            raise ValueError(f"embed_dim {embed_dim}, kdim {self.kdim} and vdim {self.vdim} must be at least 1")
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, check_dropout(dropout)
        width = num_heads * self.head_dim
        self.q = nn.Linear(embed_dim, width, bias=bias)
        self.k = nn.Linear(self.kdim, width, bias=bias)
        self.v = nn.Linear(self.vdim, width, bias=bias)
        self.out = nn.Linear(width, embed_dim, bias=bias)

    def project(self, memory: Tensor, values: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute keys and values, (B, H, S, D) each; keep them while the memory stays the same."""
        if values is None and self.vdim != self.kdim:
            raise ValueError(
                f"this layer makes keys of width {self.kdim} and values of width {self.vdim}: pass both sequences, "
                f"memory and values"
            )
        values = memory if values is None else values
        check_sequence(memory, self.kdim, "memory")
        check_sequence(values, self.vdim, "values")
        return split_heads(self.k(memory), self.num_heads), split_heads(self.v(values), self.num_heads)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        values: Tensor | None = None,
        *,
        kv: tuple[Tensor, Tensor] | None = None,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        check_sequence(x, self.embed_dim)
        if (memory is None) == (kv is None) or (values is not None and memory is None):
            raise ValueError(
                "give either the memory or kv, what project(memory) returned, and not both; values need the memory"
            )
        k, v = self.project(memory, values) if kv is None else kv  # (B, H, S, D)
        fits = (self.num_heads, self.head_dim)
        if any(t.ndim != 4 or (t.shape[1], t.shape[3]) != fits for t in (k, v)):
            raise ValueError(
                f"kv has shapes {tuple(k.shape)} and {tuple(v.shape)}, but this layer reads (batch, {fits[0]}, "
                f"positions, {fits[1]}): pass what its own project(memory) returned"
            )
        if not k.shape[0] == v.shape[0] == x.shape[0]:
            raise ValueError(f"x has a batch of {x.shape[0]} and the memory one of {k.shape[0]}; they must be equal")
        y, weights = attend(
            split_heads(self.q(x), self.num_heads),
            k,
            v,
            key_padding_mask=key_padding_mask,
            dropout=self.dropout if self.training else 0.0,
            need_weights=need_weights,
        )
        y = self.out(merge_heads(y))  # (B, T, C)
        return (y, weights) if need_weights else y
