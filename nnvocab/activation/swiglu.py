"""SwiGLU: a gated linear unit whose gate is a SiLU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.activation.glu import check_pair, split_halves
from nnvocab.activation.silu import silu_fused
from nnvocab.vocabulary import Example, entry


def swiglu(value: Tensor, gate: Tensor) -> Tensor:
    r"""Multiply the value by the SiLU of the gate.

    .. math:: y = v \odot g\, \sigma(g)

    Shapes:
        value and gate: the same shape, which is returned.

    Raises:
        ValueError: if the shapes differ.
    """
    check_pair(value, gate)
    return value * silu_fused(gate)


def gated_hidden_width(width: int, multiple_of: int = 1, ratio: float = 4.0) -> int:
    """Give the hidden width at which three matrices hold as many numbers as two of hidden width ``ratio * width``.

    Args:
        width: of the model, C.
        multiple_of: round up to a multiple of this.
        ratio: hidden width over width of the feed-forward block that is replaced.

    Raises:
        ValueError: if width or multiple_of is below 1, or ratio not above 0.

    >>> gated_hidden_width(4096, multiple_of=256)  # LLaMA 7B
    11008
    """
    if width < 1 or multiple_of < 1:
        raise ValueError(f"width is {width} and multiple_of {multiple_of}, but both must be at least 1")
    if not ratio > 0:
        raise ValueError(
            f"ratio is {ratio}, but the hidden width of the block that is replaced is above 0 times its width"
        )
    hidden = max(1, int(2 * ratio * width / 3))
    return -(-hidden // multiple_of) * multiple_of


@entry(
    name="SwiGLU",
    aliases=("SiLU-gated linear unit",),
    ids=("swiglu",),
    page="gated",
    kind="function",
    paper="shazeer2020glu",
    peer="transformers LlamaMLP",
    related=("GLU", "ReGLU", "GeGLU", "SiLU / Swish"),
    example=lambda: Example(SwiGLU(), (torch.randn(2, 6),)),
)
class SwiGLU(nn.Module):
    r"""Split the input in halves and multiply the first by the SiLU of the second.

    .. math:: y = v \odot g\, \sigma(g), \qquad [v, g] = x

    where :math:`v` is the value and :math:`g` the gate.

    Args:
        dim: the axis that is halved.

    Shapes:
        x: (..., 2C). Returns (..., C).

    Notice:
        Between two linear maps without bias it is the feed-forward block of LLaMA and PaLM: ``GatedLinear`` and a map back.
        It has three matrices instead of two. LLaMA cuts the hidden width to 2/3 for that (``gated_hidden_width``), PaLM
        keeps four times the width.

    Raises:
        ValueError: if the axis has an odd length.

    Source: Shazeer 2020, section 2 (with beta 1).

    >>> SwiGLU()(torch.tensor([2.0, 1.0]))
    tensor([1.4621])
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return swiglu(*split_halves(x, self.dim))
