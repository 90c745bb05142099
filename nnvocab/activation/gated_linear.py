"""Two linear maps of the same input, one gated by the other: the form in which gated units are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn

from nnvocab.activation.geglu import geglu
from nnvocab.activation.glu import glu
from nnvocab.activation.reglu import reglu
from nnvocab.activation.swiglu import swiglu

Gate = Literal["glu", "reglu", "geglu", "swiglu"]
GATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"glu": glu, "reglu": reglu, "geglu": geglu, "swiglu": swiglu}


class GatedLinear(nn.Module):
    r"""Two linear maps of the whole input, one gated by the other.

    .. math:: y = (W x + b) \odot f(V x + c)

    where :math:`f` is the sigmoid (GLU), ReLU (ReGLU), GELU (GeGLU) or SiLU (SwiGLU).

    Args:
        in_features: width of the input.
        out_features: width of the output.
        gate: "glu", "reglu", "geglu" or "swiglu".
        bias: add the biases b and c.

    Shapes:
        x: (..., in_features). Returns (..., out_features).

    Notice:
        Stacking W over V gives one map of doubled width, and the split form of it: ``GLU()(stacked(x))`` is the same.

    Raises:
        ValueError: if there is no such gate.

    >>> import torch
    >>> GatedLinear(4, 6, "swiglu", bias=False)(torch.zeros(2, 4)).shape
    torch.Size([2, 6])
    """

    def __init__(self, in_features: int, out_features: int, gate: Gate = "glu", bias: bool = True) -> None:
        super().__init__()
        if gate not in GATES:
            raise ValueError(f"gate is {gate!r}, but must be one of {', '.join(get_args(Gate))}")
        self.gate = gate
        self.value_proj = nn.Linear(in_features, out_features, bias=bias)
        self.gate_proj = nn.Linear(in_features, out_features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return GATES[self.gate](self.value_proj(x), self.gate_proj(x))

    def extra_repr(self) -> str:
        return f"gate={self.gate!r}"
