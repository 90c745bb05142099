"""Linear layer: every output is a weighted sum of all inputs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Add up the weighted inputs of every output, as the equation is written.

    .. math::
        y_i = \sum_j w_{ij}\, x_j + b_i

    Shapes:
        x: (..., I); weight: (O, I); bias: (O,). Returns (..., O).
    """
    y = (weight * x.unsqueeze(-2)).sum(-1)  # (..., O, I) -> (..., O)
    return y if bias is None else y + bias


def linear_torch(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same function as one matrix product, which never stores the (..., O, I) terms."""
    return F.linear(x, weight, bias)


def new_linear_parameters(in_features: int, out_features: int, bias: bool) -> tuple[nn.Parameter, nn.Parameter | None]:
    """Draw weight and bias evenly from -1 / sqrt(I) to 1 / sqrt(I), as torch does."""
    for name, size in (("in_features", in_features), ("out_features", out_features)):
        if size < 1:
            raise ValueError(f"{name} is {size}, but at least 1 is needed")
    weight = nn.Parameter(torch.empty(out_features, in_features))
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))  # the bound comes to 1 / sqrt(I)
    if not bias:
        return weight, None
    shift = nn.Parameter(torch.empty(out_features))
    nn.init.uniform_(shift, -1 / math.sqrt(in_features), 1 / math.sqrt(in_features))
    return weight, shift


def check_width(x: Tensor, in_features: int) -> None:
    """Refuse an input whose last axis is not ``in_features`` wide."""
    if x.dim() == 0 or x.shape[-1] != in_features:
        raise ValueError(
            f"x has the shape {tuple(x.shape)}, but its last axis must have {in_features} features; flatten images "
            f"with x.flatten(1), or give another in_features"
        )


@entry(
    name="Linear layer",
    page="linear",
    aliases=("affine transformation", "affine layer", "nn.Linear", "LinearLayer", "linear projection"),
    ids=("linear", "caramba_linear"),
    paper="rosenblatt1958perceptron",
    peer="torch.nn.Linear",
    example=lambda: Example(Linear(4, 3), (torch.randn(2, 5, 4),)),
    related=("Dense layer", "Weight matrix", "Bilinear layer", "Embedding layer"),
)
class Linear(nn.Module):
    r"""Layer whose outputs are weighted sums of all its inputs, plus a bias.

    .. math::
        y = x W^\top + b, \qquad y_i = \sum_j w_{ij}\, x_j + b_i

    Args:
        in_features: width I of the last axis of the input.
        out_features: width O of the last axis of the output.
        bias: add a learned number to each output; language models leave it out in the head.

    Shapes:
        x: (..., I). Returns (..., O).

    Notice:
        The weight is stored as (O, I), one row for each output. Every position of the other axes gets the same map.
        Two linear layers without a bend between them are one linear layer.

    Raises:
        ValueError: if a width is below 1, or the last axis of x is not I wide.

    Source: weighted sums that learn are Rosenblatt 1958; for their training in depth see Rumelhart et al. 1986.

    >>> Linear(4, 3)(torch.zeros(2, 5, 4)).shape
    torch.Size([2, 5, 3])
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight, self.bias = new_linear_parameters(in_features, out_features, bias)

    def forward(self, x: Tensor) -> Tensor:
        check_width(x, self.in_features)
        return linear_torch(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"
