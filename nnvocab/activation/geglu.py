"""GeGLU: a gated linear unit whose gate is a GELU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.activation.gelu import Approximate, check_approximate, gelu_fused
from nnvocab.activation.glu import check_pair, split_halves
from nnvocab.vocabulary import Example, entry


def geglu(value: Tensor, gate: Tensor, approximate: Approximate = "none") -> Tensor:
    r"""Multiply the value by the GELU of the gate.

    .. math:: y = v \odot g\, \Phi(g)

    Args:
        value: what is gated.
        gate: what decides.
        approximate: "none" for the error function, "tanh" for the approximation.

    Shapes:
        value and gate: the same shape, which is returned.

    Raises:
        ValueError: if the shapes differ.
    """
    check_pair(value, gate)
    return value * gelu_fused(gate, approximate)


@entry(
    name="GeGLU",
    aliases=("GELU-gated linear unit",),
    ids=("geglu",),
    page="gated",
    kind="function",
    paper="shazeer2020glu",
    peer="transformers T5DenseGatedActDense",
    related=("GLU", "ReGLU", "SwiGLU", "GELU"),
    example=lambda: Example(GEGLU(), (torch.randn(2, 6),)),
)
class GEGLU(nn.Module):
    r"""Split the input in halves and multiply the first by the GELU of the second.

    .. math:: y = v \odot g\, \Phi(g), \qquad [v, g] = x

    where :math:`v` is the value, :math:`g` the gate and :math:`\Phi` the normal distribution function.

    Args:
        dim: the axis that is halved.
        approximate: "none" for the error function, "tanh" for the approximation (T5 v1.1 has it).

    Shapes:
        x: (..., 2C). Returns (..., C).

    Notice:
        The gate is not bounded, so the output is of second order in x where the gate is large.

    Raises:
        ValueError: if the axis has an odd length, or approximate is neither "none" nor "tanh".

    Source: Shazeer 2020, section 2.

    >>> GEGLU()(torch.tensor([2.0, 1.0]))
    tensor([1.6827])
    """

    def __init__(self, dim: int = -1, approximate: Approximate = "none") -> None:
        super().__init__()
        check_approximate(approximate)
        self.dim, self.approximate = dim, approximate

    def forward(self, x: Tensor) -> Tensor:
        return geglu(*split_halves(x, self.dim), self.approximate)
