"""GELU: the input times the share of a normal distribution that lies below it."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_floats
from nnvocab.vocabulary import Example, entry

Approximate = Literal["none", "tanh"]


def check_approximate(approximate: str) -> None:
    """Refuse what is neither of the two forms.

    Raises:
        ValueError: if approximate is not "none" or "tanh".
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate is {approximate!r}, but must be 'none' (the error function) or 'tanh'")


def gelu(x: Tensor, approximate: Approximate = "none") -> Tensor:
    r"""Weigh the input by the share of a standard normal distribution below it.

    .. math::
        y = x\, \Phi(x) = \tfrac{x}{2} \operatorname{erfc}\!\big(-x / \sqrt2\big) \;\approx\;
        \tfrac{x}{2} \Big(1 + \tanh\!\big[\sqrt{2 / \pi}\, (x + 0.044715\, x^3)\big]\Big)

    Shapes:
        x: any. Returns the same shape.
    """
    check_approximate(approximate)
    if approximate == "tanh":
        return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x / 2 * torch.erfc(-x / math.sqrt(2))


def gelu_fused(x: Tensor, approximate: Approximate = "none") -> Tensor:
    """The same function by torch's kernel."""
    check_approximate(approximate)
    check_floats(x)
    return F.gelu(x, approximate=approximate)


@entry(
    name="GELU",
    aliases=("Gaussian Error Linear Unit",),
    ids=("gelu",),
    page="smooth",
    kind="function",
    paper="hendrycks2016gaussian",
    evidence="established",
    peer="torch.nn.GELU",
    related=("SiLU / Swish", "GeGLU", "ReLU"),
    example=lambda: Example(GELU(), (torch.randn(2, 3),)),
)
class GELU(nn.Module):
    r"""Weigh the input by the share of a standard normal distribution below it.

    .. math:: y = x\, \Phi(x)

    where :math:`\Phi` is the distribution function of the standard normal distribution.

    Args:
        approximate: "none" for the error function, "tanh" for the approximation that some checkpoints were trained with.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        It is not monotonic: it falls to about -0.17 near -0.75. The two forms differ by less than 5e-4, so use the one
        that a checkpoint was trained with.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if approximate is neither "none" nor "tanh".

    Source: Hendrycks & Gimpel 2016, section 2.

    >>> GELU()(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """

    def __init__(self, approximate: Approximate = "none") -> None:
        super().__init__()
        check_approximate(approximate)
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return gelu_fused(x, self.approximate)
