"""GLU: one half of the numbers decides how much of the other half passes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.activation._shared import check_floats
from nnvocab.vocabulary import Example, entry


def split_halves(x: Tensor, dim: int = -1) -> tuple[Tensor, Tensor]:
    """Cut x into value and gate along an axis.

    Shapes:
        x: (..., 2C, ...). Returns two of (..., C, ...).

    Raises:
        ValueError: if x has no such axis, or it has an odd length.
    """
    if not -x.dim() <= dim < x.dim() or x.shape[dim] % 2:
        raise ValueError(f"x of shape {tuple(x.shape)} cannot be halved along axis {dim}: an even length is needed")
    value, gate = x.chunk(2, dim)
    return value, gate


def check_pair(value: Tensor, gate: Tensor) -> None:
    """Refuse a value and a gate of different shapes, which would be stretched over each other unasked.

    Raises:
        ValueError: if the shapes differ.
    """
    if value.shape != gate.shape:
        raise ValueError(
            f"value has the shape {tuple(value.shape)} and gate {tuple(gate.shape)}, but each number has a gate of its "
            "own: give two tensors of one shape, or expand one of them"
        )


def glu(value: Tensor, gate: Tensor) -> Tensor:
    r"""Let the sigmoid of the gate decide how much of the value passes.

    .. math:: y = v \odot \sigma(g)

    Shapes:
        value and gate: the same shape, which is returned.

    Raises:
        ValueError: if the shapes differ.
    """
    check_pair(value, gate)
    return value * torch.sigmoid(gate)


@entry(
    name="GLU",
    aliases=("Gated Linear Unit (activation)", "Gated Linear Unit"),
    ids=("glu",),
    page="gated",
    kind="function",
    paper="dauphin2017language",
    peer="torch.nn.GLU",
    related=("ReGLU", "GeGLU", "SwiGLU", "Sigmoid"),
    example=lambda: Example(GLU(), (torch.randn(2, 6),)),
)
class GLU(nn.Module):
    r"""Split the input in halves and let the sigmoid of the second decide how much of the first passes.

    .. math:: y = v \odot \sigma(g), \qquad [v, g] = x

    where :math:`v` is the value and :math:`g` the gate. With :math:`x = [W u + b, V u + c]` it is the gated linear unit of
    the paper, :math:`(W u + b) \odot \sigma(V u + c)`: see ``GatedLinear``.

    Args:
        dim: the axis that is halved.

    Shapes:
        x: (..., 2C). Returns (..., C).

    Notice:
        The output is half as wide. The value has a straight way through, so a gate that stands open passes the gradient as
        it is; the sigmoid alone would shrink it to a quarter at most.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if the axis has an odd length.

    Source: Dauphin et al. 2017, section 2.

    >>> GLU()(torch.tensor([3.0, 5.0, 0.0, 100.0]))
    tensor([1.5000, 5.0000])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        check_floats(x)
        split_halves(x, self.dim)
        return F.glu(x, self.dim)
