"""ReGLU: a gated linear unit whose gate is a ReLU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.activation.glu import check_pair, split_halves
from nnvocab.vocabulary import Example, entry


def reglu(value: Tensor, gate: Tensor) -> Tensor:
    r"""Multiply the value by the ReLU of the gate.

    .. math:: y = v \odot \max(0, g)

    Shapes:
        value and gate: the same shape, which is returned.

    Raises:
        ValueError: if the shapes differ.
    """
    check_pair(value, gate)
    return value * torch.relu(gate)


@entry(
    name="ReGLU",
    aliases=("ReLU-gated linear unit",),
    ids=("reglu",),
    page="gated",
    kind="function",
    paper="shazeer2020glu",
    peer="torch.nn.functional.relu",
    related=("GLU", "GeGLU", "SwiGLU", "ReLU"),
    example=lambda: Example(ReGLU(), (torch.randn(2, 6),)),
)
class ReGLU(nn.Module):
    r"""Split the input in halves and multiply the first by the ReLU of the second.

    .. math:: y = v \odot \max(0, g), \qquad [v, g] = x

    where :math:`v` is the value and :math:`g` the gate.

    Args:
        dim: the axis that is halved.

    Shapes:
        x: (..., 2C). Returns (..., C).

    Notice:
        Where the gate is below 0 the output is exactly 0, and neither half gets a gradient.

    Raises:
        ValueError: if the axis has an odd length.

    Source: Shazeer 2020, section 2.

    >>> ReGLU()(torch.tensor([3.0, 5.0, -1.0, 2.0]))
    tensor([ 0., 10.])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return reglu(*split_halves(x, self.dim))
