"""Tanh: any number becomes one between minus 1 and 1, and zero stays zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.activation.sigmoid import sigmoid
from nnvocab.vocabulary import Example, entry


def tanh(x: Tensor) -> Tensor:
    r"""Squash any number to one between minus 1 and 1.

    .. math::
        \tanh(x) = \frac{e^{x} - e^{-x}}{e^{x} + e^{-x}} = 2 \sigma(2 x) - 1, \qquad \tanh' = 1 - \tanh^2

    Shapes:
        x: any. Returns the same shape.
    """
    return 2 * sigmoid(2 * x) - 1


def tanh_fused(x: Tensor) -> Tensor:
    """The same function by torch's kernel, which also keeps the digits of a small x."""
    return torch.tanh(x)


@entry(
    name="Tanh",
    aliases=("hyperbolic tangent",),
    ids=("tanh",),
    page="squashing",
    kind="function",
    paper="lecun1998efficient",
    peer="torch.nn.Tanh",
    related=("Sigmoid",),
    example=lambda: Example(Tanh(), (torch.randn(2, 3),)),
)
class Tanh(nn.Module):
    r"""Squash any number to one between minus 1 and 1.

    .. math:: \tanh(x) = 2 \sigma(2 x) - 1

    where :math:`\sigma` is the sigmoid.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        It is a stretched sigmoid about 0: the slope at 0 is 1 instead of 1/4, and outputs have both signs, so that a
        layer behind it meets a mean near 0.

    Source: LeCun et al. 1998, section 4.4 of Efficient BackProp.

    >>> Tanh()(torch.tensor([-100.0, 0.0, 1.0]))
    tensor([-1.0000,  0.0000,  0.7616])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return tanh_fused(x)
