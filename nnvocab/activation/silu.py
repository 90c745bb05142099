"""SiLU and Swish: the input times its own sigmoid, with a factor inside that may be learned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_floats
from nnvocab.vocabulary import Example, entry


def silu(x: Tensor, beta: float | Tensor = 1.0) -> Tensor:
    r"""Weigh the input by its own sigmoid.

    .. math:: y = x\, \sigma(\beta x)

    Shapes:
        x: any. beta: a number, or a tensor that broadcasts to x. Returns the shape of x.
    """
    return x * torch.sigmoid(beta * x)


def silu_fused(x: Tensor, beta: float | Tensor = 1.0) -> Tensor:
    """The same function by torch's kernel: at beta 1 as it is, else on beta x, divided by beta where that is a number."""
    check_floats(x)
    if isinstance(beta, Tensor) or beta == 0:
        return x * torch.sigmoid(beta * x)
    return F.silu(x) if beta == 1 else F.silu(beta * x) / beta


@entry(
    name="SiLU / Swish",
    aliases=("SiLU", "Swish", "Swish-1", "Sigmoid Linear Unit"),
    ids=("silu",),
    page="smooth",
    kind="function",
    paper="elfwing2018sigmoid",
    peer="torch.nn.SiLU",
    related=("GELU", "Hardswish", "SwiGLU"),
    example=lambda: Example(SiLU(1.5, learnable=True, num_parameters=3), (torch.randn(2, 3, 4),)),
)
class SiLU(nn.Module):
    r"""Weigh the input by its own sigmoid.

    .. math:: y = x\, \sigma(\beta x)

    where :math:`\beta` is 1 for SiLU; with any other, or a learned one, it is called Swish.

    Args:
        beta: the factor, or where it starts.
        learnable: learn beta.
        num_parameters: of a learned beta: 1, or the number of channels C.
        inplace: write the result over the input; only with a fixed beta of 1.

    Shapes:
        x: (B, C, ...), channels on axis 1; any shape if beta is one number. Returns the same shape.

    Notice:
        As beta goes to 0 it becomes x / 2, as beta grows it becomes ReLU. It is not monotonic: at beta 1 it falls to about
        -0.28 near -1.28.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if num_parameters is neither 1 nor the number of channels, or inplace is asked for with a beta other than 1.

    Source: Elfwing et al. 2018, section 2 (SiLU; also in Hendrycks & Gimpel 2016); Ramachandran et al. 2017, section 4
    (beta, and the name Swish).

    >>> SiLU()(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.2689,  0.0000,  0.7311])
    """

    def __init__(
        self, beta: float = 1.0, *, learnable: bool = False, num_parameters: int = 1, inplace: bool = False
    ) -> None:
        super().__init__()
        if inplace and (learnable or beta != 1):
            raise ValueError(
                f"inplace needs a fixed beta of 1, but beta is {beta}, learnable={learnable}: leave inplace out"
            )
        if num_parameters < 1 or (num_parameters > 1 and not learnable):
            raise ValueError(
                f"num_parameters is {num_parameters}, but must be 1, or the number of channels with learnable=True"
            )
        self.learnable, self.num_parameters, self.inplace = learnable, num_parameters, inplace
        self.beta = nn.Parameter(torch.full((num_parameters,), float(beta))) if learnable else beta

    def forward(self, x: Tensor) -> Tensor:
        if self.num_parameters > 1:
            if x.dim() < 2 or x.shape[1] != self.num_parameters:
                raise ValueError(
                    f"x of shape {tuple(x.shape)} has not {self.num_parameters} channels on axis 1: give "
                    "num_parameters=1, or as many as there are channels"
                )
            return silu_fused(x, self.beta.view(-1, *[1] * (x.dim() - 2)))  # (C,) -> (C, 1, ..., 1)
        return F.silu(x, inplace=True) if self.inplace else silu_fused(x, self.beta)
