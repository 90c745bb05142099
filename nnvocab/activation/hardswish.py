"""Hardswish: SiLU with a straight ramp in place of the sigmoid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_floats
from nnvocab.activation.hardsigmoid import hardsigmoid
from nnvocab.vocabulary import Example, entry


def hardswish(x: Tensor) -> Tensor:
    r"""Weigh the input by a straight ramp from -3 to 3.

    .. math:: y = x\, \frac{\operatorname{ReLU6}(x + 3)}{6}

    Shapes:
        x: any. Returns the same shape.
    """
    return x * hardsigmoid(x)


def hardswish_fused(x: Tensor) -> Tensor:
    """The same function by torch's kernel."""
    check_floats(x)
    return F.hardswish(x)


@entry(
    name="Hardswish",
    aliases=("h-swish", "hard swish"),
    ids=("hardswish",),
    page="squashing",
    kind="function",
    paper="howard2019searching",
    peer="torch.nn.Hardswish",
    related=("SiLU / Swish", "Hardsigmoid"),
    example=lambda: Example(Hardswish(), (torch.randn(2, 3),)),
)
class Hardswish(nn.Module):
    r"""Weigh the input by a straight ramp from -3 to 3.

    .. math:: y = x\, \frac{\operatorname{ReLU6}(x + 3)}{6}

    where ReLU6 is :math:`\min(\max(\cdot, 0), 6)`.

    Args:
        inplace: write the result over the input.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        It is 0 below -3, x above 3, and a parabola between, lowest at -1.5 with -0.375. No exponential is needed, which
        suits integer arithmetic.

    Raises:
        TypeError: if x is not of a floating-point type.

    Source: Howard et al. 2019, section 5.2.

    >>> Hardswish()(torch.tensor([-4.0, -1.5, 4.0]))
    tensor([-0.0000, -0.3750,  4.0000])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(x, inplace=True) if self.inplace else hardswish_fused(x)
