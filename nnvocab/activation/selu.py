"""SELU: an ELU scaled so that mean 0 and variance 1 are kept from layer to layer; its start and its dropout."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_floats
from nnvocab.vocabulary import Example, entry


def selu_constants() -> tuple[float, float]:
    r"""Solve for the two numbers that keep mean 0 and variance 1 of a normal input.

    .. math::
        \alpha = \frac{1 / \sqrt{2 \pi}}{\tfrac12 - e^{1/2} \Phi(-1)}, \qquad
        \lambda = \Big(\tfrac12 + \alpha^2 \big(e^{2} \Phi(-2) - 2 e^{1/2} \Phi(-1) + \tfrac12\big)\Big)^{-1/2}

    The first makes the two halves of the mean cancel; the second scales the second moment to 1.

    Returns:
        lambda and alpha.

    >>> [round(c, 4) for c in selu_constants()]
    [1.0507, 1.6733]
    """

    def phi(z: float) -> float:
        return math.erfc(-z / math.sqrt(2)) / 2

    below = math.exp(0.5) * phi(-1)  # the mean of e^x over x < 0
    alpha = (1 / math.sqrt(2 * math.pi)) / (0.5 - below)
    second = 0.5 + alpha**2 * (math.exp(2) * phi(-2) - 2 * below + 0.5)
    return second**-0.5, alpha


SCALE, ALPHA = selu_constants()


def selu(x: Tensor) -> Tensor:
    r"""Scale an ELU so that normal inputs keep mean 0 and variance 1.

    .. math:: y = \lambda x \text{ for } x > 0, \qquad y = \lambda \alpha (e^{x} - 1) \text{ else}

    Shapes:
        x: any. Returns the same shape.
    """
    return SCALE * torch.where(x > 0, x, ALPHA * torch.expm1(x.clamp(max=0)))


def selu_fused(x: Tensor) -> Tensor:
    """The same function by torch's kernel."""
    check_floats(x)
    return torch.selu(x)


@torch.no_grad()
def lecun_normal_(weight: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Fill a weight with normal numbers of variance 1 / fan-in: what SELU needs to keep the variance.

    Args:
        weight: of a linear or convolutional layer.
        generator: draws the numbers.

    Shapes:
        weight: (out, in, ...). Returns it.

    Raises:
        ValueError: if weight has fewer than two axes, or is empty.

    >>> round(float(lecun_normal_(torch.empty(400, 100), generator=torch.Generator().manual_seed(0)).var()), 3)
    0.01
    """
    if weight.dim() < 2 or not weight.numel():
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}, but (out, in, ...) is needed: set a bias to zero instead"
        )
    fan_in = weight[0].numel()
    return weight.normal_(0.0, fan_in**-0.5, generator=generator)


def _check_share(p: float) -> None:
    if not 0 <= p < 1:
        raise ValueError(f"p is {p}, but the share that is dropped is at least 0 and below 1")


def alpha_dropout(x: Tensor, p: float = 0.5, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Drop at random to the value at which SELU levels off, and restore mean and variance.

    .. math::
        y = a\,(m\, x + (1 - m)\, \alpha') + b, \qquad \alpha' = -\lambda \alpha, \qquad
        a = (q + \alpha'^2 q (1 - q))^{-1/2}, \qquad b = -a (1 - q)\, \alpha'

    where :math:`m` is 1 with probability :math:`q = 1 - p`.

    Shapes:
        x: any. Returns the same shape.

    Raises:
        ValueError: if p is not in [0, 1).

    Source: Klambauer et al. 2017, section 2, on new dropout.
    """
    _check_share(p)
    low, q = -SCALE * ALPHA, 1 - p
    keep = torch.empty_like(x).bernoulli_(q, generator=generator).bool()
    a = (q + low**2 * q * (1 - q)) ** -0.5
    return a * torch.where(keep, x, low) - a * (1 - q) * low


class AlphaDropout(nn.Module):
    """Dropout that keeps mean 0 and variance 1 of what SELU gives; in ``eval()`` nothing happens.

    Args:
        p: share that is dropped.
        generator: draws what is dropped; without it torch's own, seeded by ``torch.manual_seed``.

    Shapes:
        x: any. Returns the same shape.

    Raises:
        ValueError: if p is not in [0, 1).
    """

    def __init__(self, p: float = 0.5, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        _check_share(p)
        self.p, self.generator = p, generator

    def forward(self, x: Tensor) -> Tensor:
        return alpha_dropout(x, self.p, generator=self.generator) if self.training and self.p else x


@entry(
    name="SELU",
    aliases=("Scaled ELU", "self-normalizing activation"),
    ids=("selu",),
    page="smooth",
    kind="function",
    paper="klambauer2017self",
    peer="torch.nn.SELU",
    related=("ELU",),
    example=lambda: Example(SELU(), (torch.randn(2, 3),)),
)
class SELU(nn.Module):
    r"""Scale an ELU so that normal inputs keep mean 0 and variance 1.

    .. math:: y = \lambda x \text{ for } x > 0, \qquad y = \lambda \alpha (e^{x} - 1) \text{ else}

    where :math:`\lambda \approx 1.0507` and :math:`\alpha \approx 1.6733` follow from that wish (``selu_constants``).

    Args:
        inplace: write the result over the input.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        The slope above 0 is lambda, which no ELU has. The fixed point holds for weights of variance 1 / fan-in
        (``lecun_normal_``) and for ``AlphaDropout``; other starts and plain dropout leave it.

    Raises:
        TypeError: if x is not of a floating-point type.

    Source: Klambauer et al. 2017, section 2.

    >>> SELU()(torch.tensor([1.0, -100.0]))
    tensor([ 1.0507, -1.7581])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.selu_(x) if self.inplace else selu_fused(x)
