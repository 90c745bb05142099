"""Sliding window attention: every position looks at its neighbours only, and the cost grows like the text."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.attention.masks import join_masks, padding_mask
from nnvocab.attention.qkv import HeadProjections, check_at_least, check_one_sequence
from nnvocab.attention.rules import rule_mask, window_rule
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention
from nnvocab.vocabulary import Example, entry


def sliding_window_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window_size: int,
    causal: bool = False,
    key_padding_mask: Tensor | None = None,
) -> Tensor:
    r"""Attend within a window, as the equation is written: all scores, and a mask over them.

    .. math::
        y_i = \sum_{j \in W(i)} \frac{e^{q_i^\top k_j / \sqrt D}}{\sum_{l \in W(i)} e^{q_i^\top k_l / \sqrt D}}\, v_j,
        \qquad W(i) = [i - w, i + w] \text{ or, causal, } [i - w + 1, i]

    Args:
        q, k, v: queries, keys and values.
        window_size: w.
        causal: look back only.
        key_padding_mask: True marks keys that are padding.

    Shapes:
        q, k: (B, H, T, D); v: (B, H, T, E); key_padding_mask: (B, T). Returns (B, H, T, E).

    Notice:
        This form saves nothing: it makes T * T scores and throws most of them away.
    """
    check_one_sequence(q, k, v)
    mask = rule_mask(window_rule(window_size, causal=causal), q.shape[2], device=q.device)
    if key_padding_mask is not None:
        mask = join_masks(mask, padding_mask(key_padding_mask, q.shape[0], q.shape[2]))
    return scaled_dot_product_attention(q, k, v, mask=mask)


def sliding_window_attention_blocked(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window_size: int,
    causal: bool = False,
    key_padding_mask: Tensor | None = None,
) -> Tensor:
    """The same function, block by block: each block of queries meets only the keys that its windows can reach."""
    check_one_sequence(q, k, v)
    B, _, T, _ = q.shape
    real = None if key_padding_mask is None else padding_mask(key_padding_mask, B, T).view(B, T)
    return window_by_blocks(q, k, v, window_size=window_size, causal=causal, real=real)


def window_by_blocks(
    q: Tensor, k: Tensor, v: Tensor, *, window_size: int, causal: bool, real: Tensor | None = None
) -> Tensor:
    """What the blocked form does, given which keys are real, (B, T), True where they are; all if not given."""
    B, _, T, _ = q.shape
    back, ahead = (window_size - 1, 0) if causal else (window_size, window_size)
    check_at_least(1, window_size=window_size)
    size = min(max(16, window_size), T)
    n = -(-T // size)
    q = F.pad(q, (0, 0, 0, n * size - T)).unflatten(2, (n, size))  # (B, H, n, b, D)
    k, v = (neighbours(t, size, back, ahead) for t in (k, v))  # (B, H, n, back + b + ahead, D)
    i = torch.arange(n * size, device=q.device).view(n, size, 1)
    j = torch.arange(n, device=q.device).view(n, 1, 1) * size - back + torch.arange(k.shape[3], device=q.device)
    seen = window_rule(window_size, causal=causal)(i, j) & (j >= 0) & (j < T) | (i >= T)  # (n, b, back + b + ahead)
    seen = seen.unsqueeze(0).expand(B, -1, -1, -1)
    if real is not None:
        real_n = neighbours(real.view(B, 1, T, 1), size, back, ahead).squeeze(1)  # (B, n, back + b + ahead, 1)
        seen = seen & real_n.transpose(2, 3) | (i >= T)
    y = F.scaled_dot_product_attention(
        *(t.transpose(1, 2).flatten(0, 1) for t in (q, k, v)),  # (B*n, H, b, D), (B*n, H, back + b + ahead, D)
        attn_mask=seen.flatten(0, 1).unsqueeze(1),
    )
    return y.unflatten(0, (B, n)).transpose(1, 2).flatten(2, 3).narrow(2, 0, T)


def neighbours(x: Tensor, size: int, back: int, ahead: int) -> Tensor:
    """Cut positions into blocks, each with what stands before and after it; beyond the ends stand zeros.

    Shapes:
        x: (B, H, T, D). Returns (B, H, n, back + size + ahead, D) with n = ceil(T / size), a view that copies nothing
        but the padding.
    """
    T = x.shape[2]
    padded = F.pad(x, (0, 0, back, -T % size + ahead))
    return padded.unfold(2, back + size + ahead, size).transpose(-2, -1)


@entry(
    name="Sliding window attention",
    aliases=("local attention", "windowed attention"),
    page="patterns",
    ids=("sliding_window_attention",),
    paper="beltagy2020longformer",
    peer="torch.nn.functional.scaled_dot_product_attention with a dense mask",
    example=lambda: Example(SlidingWindowAttention(8, 2, window_size=2), (torch.randn(2, 7, 8),)),
    related=("Global + local attention", "Dilated attention", "Sparse attention", "KV cache"),
)
class SlidingWindowAttention(nn.Module):
    r"""Self-attention layer in which each position sees only the positions near it.

    .. math::
        y_i = \operatorname{softmax}\left(\frac{q_i^{\top} k_{W(i)}}{\sqrt D}\right) v_{W(i)},
        \qquad W(i) = [i - w, i + w] \text{ or, causal, } [i - w + 1, i]

    where :math:`w` is the window size, in each head.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        window_size: w; both-sided 2 w + 1 positions are seen, causal w.
        causal: look back only.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C); key_padding_mask: (B, T), True marks padding. Returns (B, T, C).

    Notice:
        Time and memory are O(T w) in place of O(T * T), because other blocks are never computed. After n layers a
        position depends on at most n w positions on each side (causal: n (w - 1) before it). Papers count the window
        differently: Longformer's size counts both sides, so its 512 is ``window_size=256`` here; Mistral's is causal
        and counts the position itself, as here.

    Raises:
        ValueError: if H does not divide C, the window is empty, or an input or mask has the wrong shape.

    Source: Beltagy et al. 2020, section 3.1; causal: Jiang et al. 2023, section 2.

    >>> layer = SlidingWindowAttention(64, num_heads=8, window_size=16)
    >>> layer(torch.randn(1, 1000, 64)).shape
    torch.Size([1, 1000, 64])
    """

    def __init__(
        self, embed_dim: int, num_heads: int, window_size: int, *, causal: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        check_at_least(1, window_size=window_size)
        self.heads = HeadProjections(embed_dim, num_heads, bias=bias)
        self.window_size, self.causal = window_size, causal

    def forward(self, x: Tensor, *, key_padding_mask: Tensor | None = None) -> Tensor:
        y = sliding_window_attention_blocked(
            *self.heads(x), window_size=self.window_size, causal=self.causal, key_padding_mask=key_padding_mask
        )
        return self.heads.back(y)
