"""PReLU: the slope below zero is learned."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_floats
from nnvocab.vocabulary import Example, entry


def _check_slopes(x: Tensor, weight: Tensor) -> None:
    count = weight.numel()
    if weight.dim() != 1 or (count != 1 and (x.dim() < 2 or x.shape[1] != count)):
        raise ValueError(
            f"x of shape {tuple(x.shape)} has not {count} channels on axis 1 for slopes of shape {tuple(weight.shape)}: "
            "give one slope for all (num_parameters=1), or one for each channel"
        )


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    r"""Keep what is positive, and a learned share of the rest.

    .. math:: y = \max(0, x) + a \min(0, x), \qquad \frac{\partial y}{\partial a} = \min(0, x)

    Shapes:
        x: (B, C, ...), or any if ``weight`` has one number. weight: (1,) or (C,). Returns the shape of x.
    """
    _check_slopes(x, weight)
    a = weight.view(-1, *[1] * (x.dim() - 2)) if x.dim() > 1 else weight  # (C,) -> (C, 1, ..., 1)
    return torch.where(x > 0, x, a * x)


def prelu_fused(x: Tensor, weight: Tensor) -> Tensor:
    """The same function by torch's kernel."""
    check_floats(x)
    _check_slopes(x, weight)
    return F.prelu(x, weight)


@entry(
    name="PReLU",
    aliases=("Parametric ReLU",),
    ids=("prelu",),
    page="rectifiers",
    kind="function",
    paper="he2015delving",
    peer="torch.nn.PReLU",
    related=("Leaky ReLU", "ReLU"),
    example=lambda: Example(PReLU(3), (torch.randn(2, 3, 4),)),
)
class PReLU(nn.Module):
    r"""Keep what is positive, and a learned share of the rest.

    .. math:: y = \max(0, x) + a \min(0, x)

    where :math:`a` is learned: one for all, or one for each channel.

    Args:
        num_parameters: 1, or the number of channels C.
        init: where a starts.

    Shapes:
        x: (B, C, ...), channels on axis 1; any shape if ``num_parameters`` is 1. Returns the same shape.

    Notice:
        The gradient of a is the sum of all negative inputs it met. Weight decay would pull a to 0, that is to ReLU: the
        paper leaves it out for a.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if num_parameters is below 1, or is neither 1 nor the number of channels.

    Source: He et al. 2015, section 2.1, with init = 0.25.

    >>> PReLU()(torch.tensor([-2.0, 3.0])).tolist()
    [-0.5, 3.0]
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        if num_parameters < 1:
            raise ValueError(f"num_parameters is {num_parameters}, but must be 1 or the number of channels")
        self.num_parameters, self.init = num_parameters, init
        self.weight = nn.Parameter(torch.full((num_parameters,), float(init)))

    def forward(self, x: Tensor) -> Tensor:
        return prelu_fused(x, self.weight)
