"""Leaky ReLU: a small slope below zero, so that no unit is ever without a gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_floats
from nnvocab.vocabulary import Example, entry


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    r"""Keep what is positive, and a small share of the rest.

    .. math:: y = x \text{ for } x > 0, \qquad y = s\, x \text{ else}

    Shapes:
        x: any. Returns the same shape.
    """
    return torch.where(x > 0, x, negative_slope * x)


def leaky_relu_fused(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """The same function by torch's kernel."""
    check_floats(x)
    return F.leaky_relu(x, negative_slope)


@entry(
    name="Leaky ReLU",
    aliases=("LReLU", "leaky rectifier"),
    ids=("leaky_relu",),
    page="rectifiers",
    kind="function",
    paper="maas2013rectifier",
    peer="torch.nn.LeakyReLU",
    related=("ReLU", "PReLU"),
    example=lambda: Example(LeakyReLU(0.1), (torch.randn(2, 3),)),
)
class LeakyReLU(nn.Module):
    r"""Keep what is positive, and a small share of the rest.

    .. math:: y = x \text{ for } x > 0, \qquad y = s\, x \text{ else}

    where :math:`s` is the negative slope.

    Args:
        negative_slope: s; 0 is ReLU, 1 is no activation at all.
        inplace: write the result over the input.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        The gradient below 0 is s times that above: small, but never 0, so that a unit can come back.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if inplace is asked for with a negative slope below 0 (the way back could not tell the signs apart).

    Source: Maas et al. 2013, section 2, with s = 0.01.

    >>> LeakyReLU(0.01)(torch.tensor([-2.0, 3.0]))
    tensor([-0.0200,  3.0000])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        if inplace and negative_slope < 0:
            raise ValueError(
                f"negative_slope is {negative_slope}, but inplace needs one of at least 0: leave inplace out"
            )
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, x: Tensor) -> Tensor:
        if self.inplace:
            return F.leaky_relu_(x, self.negative_slope)
        return leaky_relu_fused(x, self.negative_slope)
