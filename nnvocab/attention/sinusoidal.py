"""Sinusoidal positional encoding: every position gets its own pattern of waves."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nnvocab.attention.heads import check_dropout, check_sequence
from nnvocab.attention.positions import PositionalEncoding, check_offset
from nnvocab.vocabulary import Example, entry


def sinusoidal_encoding(positions: Tensor, dim: int, *, base: float = 10000.0) -> Tensor:
    r"""Compute the waves one number at a time, as the equation is written.

    .. math::
        PE(t, 2i) = \sin(t / b^{2i/C}), \qquad PE(t, 2i+1) = \cos(t / b^{2i/C})

    Args:
        positions: positions t, whole numbers or not.
        dim: width C.
        base: the base b.

    Shapes:
        positions: (...). Returns (..., C).

    Raises:
        ValueError: if the width is below 1 or the base not above 1.
    """
    _check_waves(dim, base)
    columns = []
    for c in range(dim):
        angle = positions / base ** ((c - c % 2) / dim)  # the same angle for a sine and its cosine
        columns.append(angle.cos() if c % 2 else angle.sin())
    return torch.stack(columns, dim=-1)


def sinusoidal_encoding_fused(positions: Tensor, dim: int, *, base: float = 10000.0) -> Tensor:
    """The same function: all angles by one product."""
    _check_waves(dim, base)
    even = torch.arange(0, dim, 2, device=positions.device, dtype=positions.dtype)
    angles = positions.unsqueeze(-1) * torch.exp(even * (-math.log(base) / dim))  # (..., ceil(C / 2))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).narrow(-1, 0, dim)  # an odd C ends with a sine


def _check_waves(dim: int, base: float) -> None:
    if dim < 1 or base <= 1:
        raise ValueError(f"the width is {dim} and base is {base}; give a width of at least 1, a base above 1")


def shift_matrix(k: float, dim: int, *, base: float = 10000.0) -> Tensor:
    r"""Make the matrix that moves every encoding by k positions: :math:`PE(t + k) = R_k\, PE(t)` for all t.

    Args:
        k: how far.
        dim: even width C.
        base: the base b.

    Shapes:
        Returns (C, C): blocks of 2 x 2 rotations along the diagonal.

    Raises:
        ValueError: if ``dim`` is odd: the last sine then lacks its cosine.
    """
    _check_waves(dim, base)
    if dim % 2:
        raise ValueError(f"dim is {dim}, but a shift is linear only where every sine has its cosine: give an even dim")
    blocks = []
    for i in range(0, dim, 2):
        a = k / base ** (i / dim)
        blocks.append(torch.tensor([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]))
    return torch.block_diag(*blocks)


@entry(
    name="Sinusoidal positional encoding",
    aliases=("Transformer PE", "sinusoidal position encoding"),
    page="positions",
    ids=("sinusoidal_pe",),
    paper="vaswani2017attention",
    peer="positional_encodings.torch_encodings.PositionalEncoding1D",
    example=lambda: Example(SinusoidalEncoding(7), (torch.randn(2, 5, 7),)),
    related=("Positional encodings", "Learned positional embeddings", "Rotary positional embedding"),
)
class SinusoidalEncoding(PositionalEncoding):
    r"""Add to every token a fixed pattern of sines and cosines of its position.

    .. math::
        PE(t, 2i) = \sin\left(\frac{t}{b^{2i/C}}\right), \qquad PE(t, 2i+1) = \cos\left(\frac{t}{b^{2i/C}}\right)

    where :math:`t` is the position, :math:`i` counts pairs of columns, :math:`C` is the width and :math:`b` the base.

    Args:
        embed_dim: width C of the tokens; an odd width ends with a sine.
        dropout: probability with which a number of the sum is set to 0 while training.
        base: the base b; the slowest wave is 2 pi b^((C - 2) / C) positions long, for wide tokens nearly 2 pi b.

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    Notice:
        There is nothing to learn and no longest text. Moving by k positions is the same linear map wherever one
        stands, and the dot product of two encodings depends on their distance alone.

    Raises:
        ValueError: if the width is below 1, the base not above 1, the offset negative, or x has the wrong shape.

    Source: Vaswani et al. 2017, section 3.5.

    >>> SinusoidalEncoding(4)(torch.zeros(1, 2, 4))
    tensor([[[0.0000, 1.0000, 0.0000, 1.0000],
             [0.8415, 0.5403, 0.0100, 0.9999]]])
    """

    def __init__(self, embed_dim: int, *, dropout: float = 0.0, base: float = 10000.0) -> None:
        super().__init__()
        _check_waves(embed_dim, base)
        self.embed_dim, self.base = embed_dim, base
        self.dropout = nn.Dropout(check_dropout(dropout))

    def embed(self, x: Tensor, *, offset: int = 0) -> Tensor:
        check_sequence(x, self.embed_dim)
        exact = torch.promote_types(x.dtype, torch.float32)  # half precision cannot tell large positions apart
        check_offset(offset)
        at = torch.arange(offset, offset + x.shape[1], device=x.device, dtype=exact)
        return self.dropout(x + sinusoidal_encoding_fused(at, self.embed_dim, base=self.base).to(x.dtype))
