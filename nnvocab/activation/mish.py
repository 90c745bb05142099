"""Mish: the input times the tanh of its softplus."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_floats
from nnvocab.vocabulary import Example, entry


def mish(x: Tensor) -> Tensor:
    r"""Weigh the input by the tanh of its softplus.

    .. math:: y = x \tanh(\log(1 + e^{x}))

    Shapes:
        x: any. Returns the same shape.
    """
    check_floats(x)
    softplus = torch.logaddexp(x, torch.zeros_like(x))  # log(1 + e^x) without an overflow
    return x * torch.tanh(softplus)


def mish_fused(x: Tensor) -> Tensor:
    """The same function by torch's kernel."""
    check_floats(x)
    return F.mish(x)


@entry(
    name="Mish",
    page="smooth",
    ids=("mish",),
    kind="function",
    paper="misra2020mish",
    peer="torch.nn.Mish",
    related=("SiLU / Swish", "GELU"),
    example=lambda: Example(Mish(), (torch.randn(2, 3),)),
)
class Mish(nn.Module):
    r"""Weigh the input by the tanh of its softplus.

    .. math:: y = x \tanh(\log(1 + e^{x}))

    where :math:`\log(1 + e^{x})` is the softplus.

    Args:
        inplace: write the result over the input.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        It is not monotonic: it falls to about -0.31 near -1.19. It differs little from SiLU, and both have derivatives of
        every order.

    Raises:
        TypeError: if x is not of a floating-point type.

    Source: Misra 2020 (first 2019, as a preprint).

    >>> Mish()(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.3034,  0.0000,  0.8651])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return F.mish(x, inplace=True) if self.inplace else mish_fused(x)
