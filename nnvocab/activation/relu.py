"""ReLU: what is positive passes, what is not becomes zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def relu(x: Tensor) -> Tensor:
    r"""Let what is positive pass and set the rest to zero.

    .. math:: y = \max(0, x), \qquad y' = 1 \text{ for } x > 0, \text{ else } 0

    Shapes:
        x: any. Returns the same shape.

    Notice:
        At 0 itself the slope is taken as 0, and a NaN stays a NaN.
    """
    return torch.where(x <= 0, 0, x)


def relu_fused(x: Tensor) -> Tensor:
    """The same function by torch's kernel."""
    return torch.relu(x)


def scaled_relu(x: Tensor, scale: float = 1.1) -> Tensor:
    r"""Give ReLU of the scaled input: :math:`\max(0, s x)`, which is :math:`s \max(0, x)` for a positive scale.

    Args:
        x: any tensor.
        scale: s.

    Shapes:
        x: any. Returns the same shape.
    """
    return relu_fused(scale * x)


def dead_units(y: Tensor) -> Tensor:
    """Mark the units whose output is zero for every sample: no gradient reaches their weights.

    Args:
        y: outputs of a layer behind its ReLU.

    Shapes:
        y: (..., C), all but the last axis samples. Returns (C,), True where dead.

    Raises:
        ValueError: if y has no axis of samples, or no sample.

    >>> dead_units(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([ True, False])
    """
    if y.dim() < 2 or not y.shape[:-1].numel():
        raise ValueError(f"y has the shape {tuple(y.shape)}, but (..., C) with at least one sample is needed")
    return (y == 0).flatten(0, -2).all(dim=0)


@entry(
    name="ReLU",
    aliases=("Rectified Linear Unit", "ScaledReLU", "rectifier"),
    ids=("relu",),
    page="rectifiers",
    kind="function",
    paper="nair2010rectified",
    peer="torch.nn.ReLU",
    related=("Leaky ReLU", "PReLU", "GELU"),
    example=lambda: Example(ReLU(), (torch.randn(2, 3),)),
)
class ReLU(nn.Module):
    r"""Let what is positive pass and set the rest to zero.

    .. math:: y = \max(0, x)

    where :math:`x` is any number of the input.

    Args:
        inplace: write the result over the input, which saves its memory; autograd refuses it where the input is still
            needed.

    Shapes:
        x: any. Returns the same shape.

    Notice:
        The slope is 0 for x below 0 and at 0. A unit that is below 0 for every sample gets no gradient any more: it is
        dead (``dead_units``). ReLU commutes with a positive scale: ``scaled_relu(x, 1.1)`` is 1.1 times ReLU.

    Source: Nair & Hinton 2010, section 2, as the limit of many binary units with shifted biases.

    >>> ReLU()(torch.tensor([-1.0, 0.0, 2.0]))
    tensor([0., 0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(x) if self.inplace else relu_fused(x)
