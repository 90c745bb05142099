"""Sigmoid: any number becomes one between 0 and 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def sigmoid(x: Tensor) -> Tensor:
    r"""Squash any number to one between 0 and 1.

    .. math::
        \sigma(x) = \frac{1}{1 + e^{-x}} = \frac{e^{x}}{1 + e^{x}}, \qquad \sigma' = \sigma (1 - \sigma)

    The first form is taken above 0 and the second below, so that no exponential overflows.

    Shapes:
        x: any. Returns the same shape.
    """
    above, below = torch.exp(-x.clamp(min=0)), torch.exp(x.clamp(max=0))  # each at most 1
    return torch.where(x >= 0, 1 / (1 + above), below / (1 + below))


def sigmoid_fused(x: Tensor) -> Tensor:
    """The same function by torch's kernel."""
    return torch.sigmoid(x)


@entry(
    name="Sigmoid",
    aliases=("logistic function", "logistic sigmoid"),
    ids=("sigmoid",),
    page="squashing",
    kind="function",
    paper="rumelhart1986learning",
    peer="torch.nn.Sigmoid",
    related=("Tanh", "Hardsigmoid", "GLU"),
    example=lambda: Example(Sigmoid(), (torch.randn(2, 3),)),
)
class Sigmoid(nn.Module):
    r"""Squash any number to one between 0 and 1.

    .. math:: \sigma(x) = \frac{1}{1 + e^{-x}}

    where :math:`\sigma(-x) = 1 - \sigma(x)`.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        The slope is :math:`\sigma (1 - \sigma)`: at most 1/4, and near 0 in both tails. As the last step before a
        cross-entropy leave it out and take ``binary_cross_entropy_with_logits``, which stays finite.

    Source: Rumelhart et al. 1986, equation 2.

    >>> Sigmoid()(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return sigmoid_fused(x)
