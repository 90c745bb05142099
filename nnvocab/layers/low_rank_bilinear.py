"""Low-rank bilinear layer: the product of two projections in place of a cube of weights."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.bilinear import check_pair
from nnvocab.vocabulary import Example, entry


def low_rank_bilinear(
    x1: Tensor, x2: Tensor, left: Tensor, right: Tensor, out: Tensor, bias: Tensor | None = None
) -> Tensor:
    r"""Build the cube of weights out of its factors and apply it, as the equation is written.

    .. math::
        y_k = \sum_{i,j} x_{1,i}\, W_{k,i,j}\, x_{2,j} + b_k, \qquad W_{k,i,j} = \sum_r P_{k,r}\, U_{r,i}\, V_{r,j}

    Shapes:
        x1: (..., I); x2: (..., J); left: U (R, I); right: V (R, J); out: P (K, R); bias: (K,). Returns (..., K).
    """
    weight = torch.einsum("kr,ri,rj->kij", out, left, right)  # (K, I, J)
    y = torch.einsum("...i,kij,...j->...k", x1, weight, x2)
    return y if bias is None else y + bias


def low_rank_bilinear_factored(
    x1: Tensor, x2: Tensor, left: Tensor, right: Tensor, out: Tensor, bias: Tensor | None = None
) -> Tensor:
    """The same function without the cube: project both, multiply number by number, project out."""
    return F.linear(F.linear(x1, left) * F.linear(x2, right), out, bias)


@entry(
    name="Low-rank bilinear layer",
    page="linear",
    aliases=("low-rank bilinear pooling", "Hadamard product fusion"),
    paper="kim2017hadamard",
    example=lambda: Example(LowRankBilinear(4, 3, 2, rank=2), (torch.randn(2, 4), torch.randn(2, 3))),
    related=("Bilinear layer", "Gated linear layer"),
)
class LowRankBilinear(nn.Module):
    r"""Layer of two inputs that multiplies their projections number by number.

    .. math::
        y = P\,(U x_1 \odot V x_2) + b, \qquad W_{k,i,j} = \sum_r P_{k,r}\, U_{r,i}\, V_{r,j}

    Args:
        in1_features: width I of the first input.
        in2_features: width J of the second input.
        out_features: outputs K.
        rank: width R of the projections.
        bias: add a learned number to each output.

    Shapes:
        x1: (..., I); x2: (..., J), with the same other axes. Returns (..., K).

    Notice:
        R (I + J + K) weights where the full layer has I J K. It is the full layer with a cube of rank at most R.

    Raises:
        ValueError: if ``rank`` or a width is below 1, a width does not fit, or the other axes of the inputs differ.

    Source: Kim et al. 2017, section 3, without the bends between.

    >>> sum(p.numel() for p in LowRankBilinear(128, 64, 32, rank=16, bias=False).parameters())
    3584
    """

    def __init__(self, in1_features: int, in2_features: int, out_features: int, rank: int, bias: bool = True) -> None:
        super().__init__()
        if min(in1_features, in2_features, out_features, rank) < 1:
            raise ValueError(
                f"in1_features {in1_features}, in2_features {in2_features}, out_features {out_features} and rank {rank} "
                f"must be at least 1"
            )
        self.in1_features, self.in2_features = in1_features, in2_features

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-1, 1) / math.sqrt(shape[-1]))

        self.left, self.right = drawn(rank, in1_features), drawn(rank, in2_features)
        self.out = drawn(out_features, rank)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        check_pair(x1, x2, self.in1_features, self.in2_features)
        return low_rank_bilinear_factored(x1, x2, self.left, self.right, self.out, self.bias)
