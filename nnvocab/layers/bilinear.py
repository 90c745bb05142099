"""Bilinear layer: every output is a weighted sum of the products of two inputs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def bilinear(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Add up the weighted products of all pairs of features, as the equation is written.

    .. math::
        y_k = \sum_{i,j} x_{1,i}\, W_{k,i,j}\, x_{2,j} + b_k

    Shapes:
        x1: (..., I); x2: (..., J); weight: (K, I, J); bias: (K,). Returns (..., K).
    """
    y = torch.einsum("...i,kij,...j->...k", x1, weight, x2)
    return y if bias is None else y + bias


def bilinear_torch(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same function as one product with the matrix (K I, J), and one with what is left of each sample."""
    K, I, J = weight.shape
    inner = F.linear(x2, weight.reshape(K * I, J)).unflatten(-1, (K, I))  # (..., K, I)
    y = torch.matmul(inner, x1.unsqueeze(-1)).squeeze(-1)  # (..., K)
    return y if bias is None else y + bias


def check_pair(x1: Tensor, x2: Tensor, in1_features: int, in2_features: int) -> None:
    """Refuse two inputs whose widths or other axes do not fit."""
    for name, x, width in (("x1", x1, in1_features), ("x2", x2, in2_features)):
        if x.dim() == 0 or x.shape[-1] != width:
            raise ValueError(f"{name} has the shape {tuple(x.shape)}, but its last axis must have {width} features")
    if x1.shape[:-1] != x2.shape[:-1]:
        raise ValueError(
            f"x1 and x2 have the shapes {tuple(x1.shape)} and {tuple(x2.shape)}; all axes but the last must be equal: "
            f"each pair gives one output"
        )


@entry(
    name="Bilinear layer",
    page="linear",
    aliases=("pairwise interaction", "tensor product layer", "bilinear form"),
    ids=("bilinear",),
    paper="tenenbaum2000separating",
    peer="torch.nn.Bilinear",
    example=lambda: Example(Bilinear(4, 3, 2), (torch.randn(2, 5, 4), torch.randn(2, 5, 3))),
    related=("Linear layer", "Low-rank bilinear layer"),
)
class Bilinear(nn.Module):
    r"""Layer of two inputs whose outputs weigh the product of every pair of features.

    .. math::
        y_k = x_1^\top W_k\, x_2 + b_k = \sum_{i,j} x_{1,i}\, W_{k,i,j}\, x_{2,j} + b_k

    Args:
        in1_features: width I of the first input.
        in2_features: width J of the second input.
        out_features: outputs K.
        bias: add a learned number to each output.

    Shapes:
        x1: (..., I); x2: (..., J), with the same other axes. Returns (..., K).

    Notice:
        The weight is stored as (K, I, J), outputs first. With either input held fixed the layer is linear in the
        other. It has K I J weights, which is much: see the low-rank layer.

    Raises:
        ValueError: if a width is below 1 or does not fit, or the other axes of the two inputs differ.

    Source: Tenenbaum and Freeman 2000, equation 1 (symmetric model).

    >>> Bilinear(128, 64, 32).weight.shape
    torch.Size([32, 128, 64])
    """

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        if min(in1_features, in2_features, out_features) < 1:
            raise ValueError(
                f"in1_features {in1_features}, in2_features {in2_features} and out_features {out_features} must be at "
                f"least 1"
            )
        self.in1_features, self.in2_features = in1_features, in2_features
        bound = 1 / math.sqrt(in1_features)  # as torch draws it
        self.weight = nn.Parameter(torch.empty(out_features, in1_features, in2_features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound)) if bias else None

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        check_pair(x1, x2, self.in1_features, self.in2_features)
        return bilinear_torch(x1, x2, self.weight, self.bias)
