"""Dilated attention: windows with gaps, which reach further for the same price."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.attention.qkv import HeadProjections, check_at_least, check_one_sequence
from nnvocab.attention.rules import rule_mask, window_rule
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention
from nnvocab.attention.sliding_window import window_by_blocks
from nnvocab.vocabulary import Example, entry


def check_dilations(dilations: Sequence[int], num_heads: int) -> None:
    """Raise an error unless there is one gap, 1 or more, for each head."""
    if len(dilations) != num_heads:
        raise ValueError(f"dilations has {len(dilations)} numbers, but {num_heads} heads need one each")
    check_at_least(1, dilations=min(dilations))


def dilated_mask(
    T: int,
    window_size: int,
    dilations: Sequence[int],
    *,
    causal: bool = False,
    device: torch.device | str | None = None,
) -> Tensor:
    """Make the mask of each head: every d-th position, ``window_size`` of them on each side (causal: of them in all).

    Shapes:
        Returns (H, T, T) of booleans, H the number of dilations.
    """
    masks = [rule_mask(window_rule(window_size, causal=causal, dilation=d), T, device=device) for d in dilations]
    return torch.stack(masks)


def dilated_attention(
    q: Tensor, k: Tensor, v: Tensor, *, window_size: int, dilations: Sequence[int], causal: bool = False
) -> Tensor:
    r"""Attend in dilated windows, as the equation is written: all scores, and a mask for each head.

    .. math::
        S_h(i) = \{\, i + d_h m : -w \le m \le w \,\} \quad \text{or, causal, } \{\, i - d_h m : 0 \le m < w \,\}

    Args:
        q, k, v: queries, keys and values.
        window_size: w.
        dilations: the gap d of each head; 1 is an ordinary window.
        causal: look back only.

    Shapes:
        q, k: (B, H, T, D); v: (B, H, T, E). Returns (B, H, T, E).
    """
    check_one_sequence(q, k, v)
    check_dilations(dilations, q.shape[1])
    mask = dilated_mask(q.shape[2], window_size, dilations, causal=causal, device=q.device)
    return scaled_dot_product_attention(q, k, v, mask=mask)


def dilated_attention_blocked(
    q: Tensor, k: Tensor, v: Tensor, *, window_size: int, dilations: Sequence[int], causal: bool = False
) -> Tensor:
    """The same function: positions of equal remainder by d are a sequence of their own, with an ordinary window."""
    check_one_sequence(q, k, v)
    check_dilations(dilations, q.shape[1])
    B, _, T, _ = q.shape
    y = v.new_zeros(v.shape)
    for d in sorted(set(dilations)):
        at = torch.tensor([h for h, other in enumerate(dilations) if other == d], device=q.device)
        n = -(-T // d)
        q_d, k_d, v_d = (
            F.pad(t.index_select(1, at), (0, 0, 0, n * d - T)).unflatten(2, (n, d)).permute(0, 3, 1, 2, 4).flatten(0, 1)
            for t in (q, k, v)
        )  # (B, h, n*d, D) -> (B*d, h, n, D)
        real = (torch.arange(n * d, device=q.device) < T).view(n, d).T.repeat(B, 1) if n * d > T else None  # (B*d, n)
        y_d = window_by_blocks(q_d, k_d, v_d, window_size=window_size, causal=causal, real=real)
        y_d = y_d.unflatten(0, (B, d)).permute(0, 2, 3, 1, 4).flatten(2, 3).narrow(2, 0, T)  # (B, h, T, E)
        y = y.index_copy(1, at, y_d)
    return y


@entry(
    name="Dilated attention",
    aliases=("strided attention",),
    page="patterns",
    ids=("dilated_attention",),
    paper="beltagy2020longformer",
    peer="torch.nn.functional.scaled_dot_product_attention with a dense mask",
    example=lambda: Example(DilatedAttention(8, 2, window_size=2, dilations=(1, 2)), (torch.randn(2, 7, 8),)),
    related=("Sliding window attention", "Sparse attention", "Dilated convolution"),
)
class DilatedAttention(nn.Module):
    r"""Self-attention layer whose heads look at every d-th position near them, each head with its own d.

    .. math::
        y_{h,i} = \operatorname{softmax}\left(\frac{q_i^{\top} k_{S_h(i)}}{\sqrt D}\right) v_{S_h(i)}, \qquad
        S_h(i) = \{\, i + d_h m : -w \le m \le w \,\}

    where :math:`d_h` is the dilation of head :math:`h` and :math:`w` the window size; causal,
    :math:`S_h(i) = \{ i - d_h m : 0 \le m < w \}`.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        window_size: w, keys on each side; causal, keys in all.
        dilations: d of each head, H numbers.
        causal: look back only.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    Notice:
        With one dilation d > 1 in all heads and layers the positions fall apart into d groups that never hear of each
        other. A head with d = 1 among them, or another d in another layer, joins them.

    Raises:
        ValueError: if H does not divide C, there is not one dilation for each head, or window or dilation is below 1.

    Source: Beltagy et al. 2020, section 3.1 (dilated sliding window); another form: Ding et al. 2023, section 2.2.

    >>> layer = DilatedAttention(64, num_heads=4, window_size=16, dilations=(1, 1, 2, 4))
    >>> layer(torch.randn(1, 500, 64)).shape
    torch.Size([1, 500, 64])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        window_size: int,
        dilations: Sequence[int],
        *,
        causal: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads = HeadProjections(embed_dim, num_heads, bias=bias)
        check_dilations(dilations, num_heads)
        check_at_least(1, window_size=window_size)
        self.window_size, self.dilations, self.causal = window_size, tuple(dilations), causal

    def forward(self, x: Tensor) -> Tensor:
        y = dilated_attention_blocked(
            *self.heads(x), window_size=self.window_size, dilations=self.dilations, causal=self.causal
        )
        return self.heads.back(y)
