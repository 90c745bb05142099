"""Dropout layer: numbers are set to 0 at random in training, and let through in evaluation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def dropout(x: Tensor, kept: Tensor, p: float = 0.5) -> Tensor:
    r"""Set to 0 what was not kept and enlarge the rest, as the equation is written.

    .. math::
        y_i = \frac{m_i\, x_i}{1 - p}, \qquad m_i \sim \operatorname{Bernoulli}(1 - p)

    Shapes:
        x: any; kept: m, the shape of x, 1 or True where a number lives. Returns the shape of x.
    """
    return x * kept.to(x.dtype) / (1 - p)


def dropout_torch(x: Tensor, p: float = 0.5) -> Tensor:
    """The same function by torch's kernel, which draws the mask by itself."""
    return F.dropout(x, p, training=True)


@entry(
    name="Dropout layer",
    page="embedding",
    aliases=("DropoutLayer", "inverted dropout"),
    ids=("caramba_dropout",),
    paper="srivastava2014dropout",
    peer="torch.nn.Dropout",
    example=lambda: Example(Dropout(0.3), (torch.randn(4, 6),)),
    related=("Embedding layer", "Linear layer"),
)
class Dropout(nn.Module):
    r"""Layer that sets each number to 0 with probability p in training and enlarges the rest by 1 / (1 - p).

    .. math::
        y_i = \frac{m_i\, x_i}{1 - p}, \qquad m_i \sim \operatorname{Bernoulli}(1 - p)

    Args:
        p: the probability of being dropped, from 0 to below 1.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        Enlarging in training ("inverted") keeps the mean, so that evaluation has nothing to do: there the layer hands
        x on. The paper shrinks the weights in evaluation instead, to the same end.

    Raises:
        ValueError: if p is not from 0 to below 1.

    Source: Srivastava et al. 2014, section 4; inverted in section 10.

    >>> Dropout(0.5).eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p is {p}, but must be from 0 to below 1: it is the probability of being dropped")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return dropout_torch(x, self.p) if self.training and self.p > 0 else x

    def extra_repr(self) -> str:
        return f"p={self.p}"
