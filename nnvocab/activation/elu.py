"""ELU: an exponential below zero, which levels off at a negative value."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_floats
from nnvocab.vocabulary import Example, entry


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    r"""Keep what is positive; below zero follow an exponential down to minus alpha.

    .. math:: y = x \text{ for } x > 0, \qquad y = \alpha (e^{x} - 1) \text{ else}

    Shapes:
        x: any. Returns the same shape.
    """
    return torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))  # clamp: what is not taken must not overflow


def elu_fused(x: Tensor, alpha: float = 1.0) -> Tensor:
    """The same function by torch's kernel."""
    check_floats(x)
    return F.elu(x, alpha)


@entry(
    name="ELU",
    aliases=("Exponential Linear Unit",),
    ids=("elu",),
    page="smooth",
    kind="function",
    paper="clevert2016fast",
    peer="torch.nn.ELU",
    related=("SELU", "ReLU"),
    example=lambda: Example(ELU(), (torch.randn(2, 3),)),
)
class ELU(nn.Module):
    r"""Keep what is positive; below zero follow an exponential down to minus alpha.

    .. math:: y = x \text{ for } x > 0, \qquad y = \alpha (e^{x} - 1) \text{ else}

    where :math:`\alpha` is the depth at which it levels off.

    Args:
        alpha: where it levels off, with its sign turned; 1 alone gives a slope without a jump.
        inplace: write the result over the input.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        The slope just below 0 is alpha and above it 1. Negative outputs bring the mean of a layer nearer to 0 than ReLU
        does, and far below 0 the slope vanishes.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if inplace is asked for with an alpha below 0.

    Source: Clevert et al. 2016, section 3.

    >>> ELU()(torch.tensor([-100.0, 2.0]))
    tensor([-1.,  2.])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if inplace and alpha < 0:
            raise ValueError(f"alpha is {alpha}, but inplace needs one of at least 0: leave inplace out")
        self.alpha, self.inplace = alpha, inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.elu_(x, self.alpha) if self.inplace else elu_fused(x, self.alpha)
