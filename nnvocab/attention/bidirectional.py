"""Bidirectional attention: every position sees every other, before and after it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.multi_head import MultiHeadAttention
from nnvocab.attention.positions import PositionalEncoding
from nnvocab.vocabulary import Example, entry


@entry(
    name="Bidirectional attention",
    aliases=("full attention", "unmasked attention"),
    page="many_heads",
    ids=("bidirectional_attention",),
    paper="devlin2019bert",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=lambda: Example(BidirectionalAttention(16, num_heads=2), (torch.randn(2, 5, 16),)),
    related=("Causal attention", "Multi-head attention"),
)
class BidirectionalAttention(nn.Module):
    r"""Multi-head attention in which only padding is hidden: every output depends on every token.

    .. math::
        y_t = \operatorname{softmax}\!\left(\frac{q_t K^{\top}}{\sqrt{D}} + M_t\right) V, \qquad
        M_{ts} = \begin{cases} 0 & s \text{ is a token} \\ -\infty & s \text{ is padding} \end{cases}

    where :math:`q_t` is the query of position :math:`t`, and :math:`K, V` hold the keys and values of all positions.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        positions: a scheme that turns q and k or adds to the scores.
        dropout: probability with which a weight is set to 0 while training.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C); key_padding_mask: (B, T), True marks padding. Returns (B, T, C); with ``need_weights`` also
        the full weights (B, H, T, T).

    Notice:
        There is no mask to forget, and no way to generate: a token added at the end changes every earlier output.
        What stands at padded positions of the output is of no use; only their keys are hidden.

    Raises:
        ValueError: if H does not divide C, or the input or its mask has the wrong shape.

    Source: Devlin et al. 2019, section 3.

    >>> layer = BidirectionalAttention(8, num_heads=2)
    >>> _, weights = layer(torch.randn(1, 3, 8), need_weights=True)
    >>> bool((weights > 0).all())
    True
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        positions: PositionalEncoding | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(embed_dim, num_heads, positions=positions, dropout=dropout, bias=bias)

    def forward(
        self, x: Tensor, *, key_padding_mask: Tensor | None = None, need_weights: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        return self.attention(x, key_padding_mask=key_padding_mask, need_weights=need_weights)
