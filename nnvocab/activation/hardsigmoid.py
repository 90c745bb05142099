"""Hardsigmoid: a straight ramp between 0 and 1, without an exponential."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_floats
from nnvocab.vocabulary import Example, entry


def hardsigmoid(x: Tensor) -> Tensor:
    r"""Rise from 0 at -3 to 1 at 3 along a straight line.

    .. math:: y = \frac{\min(\max(x + 3, 0), 6)}{6}

    Shapes:
        x: any. Returns the same shape.
    """
    return torch.where(x <= -3, 0, torch.where(x >= 3, 1, x / 6 + 0.5))


def hardsigmoid_fused(x: Tensor) -> Tensor:
    """The same function by torch's kernel."""
    check_floats(x)
    return F.hardsigmoid(x)


@entry(
    name="Hardsigmoid",
    aliases=("hard sigmoid", "h-sigmoid"),
    ids=("hardsigmoid",),
    page="squashing",
    kind="function",
    paper="courbariaux2015binaryconnect",
    peer="torch.nn.Hardsigmoid",
    related=("Sigmoid", "Hardswish"),
    example=lambda: Example(Hardsigmoid(), (torch.randn(2, 3),)),
)
class Hardsigmoid(nn.Module):
    r"""Rise from 0 at -3 to 1 at 3 along a straight line.

    .. math:: y = \operatorname{ReLU6}(x + 3) / 6

    where ReLU6 is :math:`\min(\max(\cdot, 0), 6)`.

    Args:
        inplace: write the result over the input.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        It is exactly 0 and 1 outside of (-3, 3), and has no gradient there. Libraries differ in the slope: BinaryConnect
        has 1/2, this form 1/6; the sigmoid's own slope at 0 is 1/4.

    Raises:
        TypeError: if x is not of a floating-point type.

    Source: Courbariaux et al. 2015, equation 3, for the idea, with slope 1/2; Howard et al. 2019, section 5.2, for this form.

    >>> Hardsigmoid()(torch.tensor([-4.0, 0.0, 1.5]))
    tensor([0.0000, 0.5000, 0.7500])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.hardsigmoid(x, inplace=True) if self.inplace else hardsigmoid_fused(x)
