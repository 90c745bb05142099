"""Gated linear layer: one projection opens and closes another."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.linear import check_width, new_linear_parameters
from nnvocab.vocabulary import Example, entry


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "relu": F.relu,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": _gelu_tanh,
    "bilinear": lambda x: x,
}
"""Name -> what the gate's projection goes through: GLU, ReGLU, SwiGLU, GEGLU (exact and by tanh), no bend."""


def read_gate(activation: str) -> Callable[[Tensor], Tensor]:
    """Look up a gate, also by the name of its layer.

    >>> read_gate("swiglu") is read_gate("silu")
    True
    """
    name = {"glu": "sigmoid", "reglu": "relu", "swiglu": "silu", "geglu": "gelu"}.get(activation, activation)
    if name not in GATES:
        raise ValueError(
            f"activation is {activation!r}, but must be one of {', '.join(GATES)}, glu, reglu, swiglu, geglu"
        )
    return GATES[name]


def gated_linear(
    x: Tensor,
    weight: Tensor,
    gate_weight: Tensor,
    bias: Tensor | None = None,
    gate_bias: Tensor | None = None,
    *,
    activation: str = "sigmoid",
) -> Tensor:
    r"""Multiply a projection by a gate, number by number, as the equation is written.

    .. math::
        y = (x W^\top + b) \odot \phi(x V^\top + c)

    Shapes:
        x: (..., I); weight W and gate_weight V: (O, I); bias b and gate_bias c: (O,). Returns (..., O).
    """
    return F.linear(x, weight, bias) * read_gate(activation)(F.linear(x, gate_weight, gate_bias))


def gated_linear_fused(
    x: Tensor,
    weight: Tensor,
    gate_weight: Tensor,
    bias: Tensor | None = None,
    gate_bias: Tensor | None = None,
    *,
    activation: str = "sigmoid",
) -> Tensor:
    """The same function with both projections in one product, the way ``torch.nn.functional.glu`` wants them."""
    joined = None
    if bias is not None or gate_bias is not None:
        like = weight.new_zeros(len(weight))
        joined = torch.cat([like if bias is None else bias, like if gate_bias is None else gate_bias])
    both = F.linear(x, torch.cat([weight, gate_weight]), joined)  # (..., 2 O)
    if activation in ("sigmoid", "glu"):
        return F.glu(both, dim=-1)
    value, gate = both.chunk(2, dim=-1)
    return value * read_gate(activation)(gate)


def gated_width(d_ff: int, *, multiple_of: int = 1) -> int:
    r"""Shrink the width of a feed-forward block so that a third matrix costs nothing.

    .. math::
        d_{ff}' = \Big\lceil \big\lfloor \tfrac{2}{3} d_{ff} \big\rfloor / m \Big\rceil m

    but m at least.

    Args:
        d_ff: the hidden width of the plain block with two matrices, usually 4 times the model's.
        multiple_of: round up to a multiple m of this; Llama takes 256.

    Raises:
        ValueError: if a number is below 1.

    Source: Shazeer 2020, section 3 (two thirds); Touvron et al. 2023 (LLaMA), section 2.2.

    >>> gated_width(4 * 4096, multiple_of=256)
    11008
    """
    if d_ff < 1 or multiple_of < 1:
        raise ValueError(f"d_ff is {d_ff} and multiple_of {multiple_of}; both must be at least 1")
    return max(1, math.ceil(2 * d_ff // 3 / multiple_of)) * multiple_of


@entry(
    name="Gated linear layer",
    page="gated_feed_forward",
    aliases=("GLULayer", "Gated Linear Unit layer", "gated linear unit with weights"),
    ids=("glu_layer",),
    paper="dauphin2017language",
    peer="torch.nn.functional.glu",
    example=lambda: Example(GatedLinear(4, 3), (torch.randn(2, 5, 4),)),
    related=("Gated feed-forward block", "Linear layer", "Low-rank bilinear layer"),
)
class GatedLinear(nn.Module):
    r"""Layer with two projections, one of which gates the other.

    .. math::
        y = (x W^\top + b) \odot \phi(x V^\top + c)

    Args:
        in_features: width I of the input.
        out_features: width O of the output.
        activation: the bend :math:`\phi` of the gate: sigmoid (GLU), relu (ReGLU), silu (SwiGLU), gelu or gelu_tanh
            (GEGLU), bilinear (none).
        bias: add the learned numbers b and c.

    Shapes:
        x: (..., I). Returns (..., O).

    Notice:
        With the sigmoid the gate lies between 0 and 1: each number is let through in part. The value has no bend of
        its own, so where the gate is open a gradient passes as in a linear layer.

    Raises:
        ValueError: if the activation is not one of those, a width is below 1, or x is not I wide.

    Source: Dauphin et al. 2017, equation 1; the other gates: Shazeer 2020, section 2.

    >>> GatedLinear(4, 3)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(self, in_features: int, out_features: int, activation: str = "sigmoid", bias: bool = True) -> None:
        super().__init__()
        read_gate(activation)
        self.in_features, self.out_features, self.activation = in_features, out_features, activation
        self.weight, self.bias = new_linear_parameters(in_features, out_features, bias)
        self.gate_weight, self.gate_bias = new_linear_parameters(in_features, out_features, bias)

    def forward(self, x: Tensor) -> Tensor:
        check_width(x, self.in_features)
        return gated_linear(x, self.weight, self.gate_weight, self.bias, self.gate_bias, activation=self.activation)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, {self.activation!r}, bias={self.bias is not None}"
