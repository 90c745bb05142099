"""Gated feed-forward blocks: the two-layer block of a Transformer with a gate, in four kinds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.gated_linear import gated_width, read_gate
from nnvocab.layers.linear import check_width
from nnvocab.vocabulary import Example, entry


def glu_feed_forward(x: Tensor, gate: Tensor, up: Tensor, down: Tensor, *, activation: str = "silu") -> Tensor:
    r"""Widen x twice, let one gate the other, and narrow it again, as the equation is written.

    .. math::
        y = \big(\phi(x W_g^\top) \odot x W_u^\top\big) W_d^\top

    Shapes:
        x: (..., C); gate and up: (F, C); down: (C, F). Returns (..., C).
    """
    return (read_gate(activation)(x @ gate.mT) * (x @ up.mT)) @ down.mT


def glu_feed_forward_fused(x: Tensor, gate: Tensor, up: Tensor, down: Tensor, *, activation: str = "silu") -> Tensor:
    """The same function with one product for gate and up."""
    opened, value = F.linear(x, torch.cat([gate, up])).chunk(2, dim=-1)  # (..., F) each
    return F.linear(read_gate(activation)(opened) * value, down)


def feed_forward_parameters(d_model: int, d_ff: int, *, gated: bool = True, bias: bool = False) -> int:
    """Count the weights of a feed-forward block: three matrices with a gate, two without.

    >>> feed_forward_parameters(512, 2048, gated=False), feed_forward_parameters(512, gated_width(2048))
    (2097152, 2096640)
    """
    widened = 2 if gated else 1
    return (widened + 1) * d_model * d_ff + (widened * d_ff + d_model if bias else 0)


@entry(
    name="Gated feed-forward block",
    page="gated_feed_forward",
    kind="block",
    aliases=("gated FFN", "Gated linear unit layer with variants", "GLU feed-forward block"),
    ids=("caramba_glu",),
    paper="shazeer2020glu",
    peer="transformers.models.llama.modeling_llama.LlamaMLP",
    example=lambda: Example(GLUFeedForward(4, 6, bias=True), (torch.randn(2, 5, 4),)),
    related=("Gated linear layer", "SwiGLU feed-forward block", "GEGLU feed-forward block", "ReGLU feed-forward block"),
)
class GLUFeedForward(nn.Module):
    r"""Feed-forward block whose hidden layer is gated; the gate's bend can be chosen.

    .. math::
        y = \big(\phi(x W_g^\top + b_g) \odot (x W_u^\top + b_u)\big) W_d^\top + b_d

    Args:
        d_model: width C of input and output.
        d_ff: hidden width F; None takes two thirds of 4 C, where it costs what a plain block of 4 C does.
        activation: the bend of the gate: sigmoid, relu, silu, gelu, gelu_tanh or bilinear (none).
        bias: add biases; the published blocks have none.
        fused: keep gate and up as one layer ``gate_up`` of width 2 F, gate first.

    Shapes:
        x: (..., C). Returns (..., C).

    Notice:
        Three matrices, where the plain block has two. ``activation`` changes no weight: a state_dict of one kind
        loads into every other.

    Raises:
        ValueError: if the activation is not one of those, a width is below 1, or x is not C wide.

    Source: Shazeer 2020, equations 5 and 6.

    >>> sum(p.numel() for p in GLUFeedForward(512, 1365).parameters())
    2096640
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int | None = None,
        activation: str = "sigmoid",
        bias: bool = False,
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.gate_function = read_gate(activation)
        if d_model < 1 or (d_ff is not None and d_ff < 1):
            raise ValueError(f"d_model is {d_model} and d_ff {d_ff}; both must be at least 1, or d_ff None")
        self.d_model, self.d_ff, self.activation = (
            d_model,
            gated_width(4 * d_model) if d_ff is None else d_ff,
            activation,
        )
        if fused:
            self.gate_up = nn.Linear(d_model, 2 * self.d_ff, bias=bias)
        else:
            self.gate = nn.Linear(d_model, self.d_ff, bias=bias)
            self.up = nn.Linear(d_model, self.d_ff, bias=bias)
        self.fused = fused
        self.down = nn.Linear(self.d_ff, d_model, bias=bias)

    def hidden(self, x: Tensor) -> Tensor:
        """The gated hidden numbers, before they are narrowed: (..., C) -> (..., F)."""
        gate, up = self.gate_up(x).chunk(2, dim=-1) if self.fused else (self.gate(x), self.up(x))
        return self.gate_function(gate) * up

    def forward(self, x: Tensor) -> Tensor:
        check_width(x, self.d_model)
        return self.down(self.hidden(x))

    def extra_repr(self) -> str:
        return f"{self.d_model}, {self.d_ff}, {self.activation!r}"


@entry(
    name="SwiGLU feed-forward block",
    page="gated_feed_forward",
    kind="block",
    aliases=("SwiGLULayer", "gated MLP", "SwiGLU gated feed-forward block", "SwiGLU feed-forward layer", "GLU variant"),
    ids=("loom_swiglu", "caramba_swiglu"),
    paper="shazeer2020glu",
    peer="transformers.models.llama.modeling_llama.LlamaMLP",
    example=lambda: Example(SwiGLUFeedForward(4, 6, fused=True), (torch.randn(2, 5, 4),)),
    related=("Gated feed-forward block", "GEGLU feed-forward block", "Gated linear layer"),
)
class SwiGLUFeedForward(GLUFeedForward):
    r"""Feed-forward block with a SiLU gate, as in Llama and PaLM.

    .. math::
        y = \big(\operatorname{SiLU}(x W_g^\top) \odot x W_u^\top\big) W_d^\top, \qquad
        \operatorname{SiLU}(z) = z\, \sigma(z)

    Args:
        d_model: width C of input and output.
        d_ff: hidden width F; None takes two thirds of 4 C.
        bias: add biases; the paper and Llama have none.
        fused: keep gate and up as one layer of width 2 F.

    Shapes:
        x: (..., C). Returns (..., C).

    Notice:
        Three matrices: gate, up and down. With F = 4 C it costs half as much again as a plain block of that width.

    Source: Shazeer 2020, equation 6; in Llama: Touvron et al. 2023 (LLaMA), section 2.2.

    >>> SwiGLUFeedForward(512)(torch.zeros(1, 3, 512)).shape
    torch.Size([1, 3, 512])
    """

    def __init__(self, d_model: int, d_ff: int | None = None, bias: bool = False, fused: bool = False) -> None:
        super().__init__(d_model, d_ff, "silu", bias, fused)


@entry(
    name="GEGLU feed-forward block",
    page="gated_feed_forward",
    kind="block",
    aliases=("GEGLU variant", "GELU-gated feed-forward block"),
    ids=("caramba_geglu",),
    paper="shazeer2020glu",
    peer="transformers.models.t5.modeling_t5.T5DenseGatedActDense",
    example=lambda: Example(GEGLUFeedForward(4, 6, approximate="tanh"), (torch.randn(2, 5, 4),)),
    related=("Gated feed-forward block", "SwiGLU feed-forward block"),
)
class GEGLUFeedForward(GLUFeedForward):
    r"""Feed-forward block with a GELU gate, as in T5 v1.1.

    .. math::
        y = \big(\operatorname{GELU}(x W_g^\top) \odot x W_u^\top\big) W_d^\top, \qquad
        \operatorname{GELU}(z) = z\, \Phi(z)

    Args:
        d_model: width C of input and output.
        d_ff: hidden width F; None takes two thirds of 4 C.
        approximate: ``"none"`` is exact; ``"tanh"`` is the approximation that T5 v1.1 was trained with.
        bias: add biases.
        fused: keep gate and up as one layer of width 2 F.

    Shapes:
        x: (..., C). Returns (..., C).

    Raises:
        ValueError: if ``approximate`` is neither.

    Source: Shazeer 2020, equation 6; the tanh form: Hendrycks and Gimpel 2016, section 2.

    >>> GEGLUFeedForward(8, 16, approximate="tanh")(torch.zeros(1, 8)).shape
    torch.Size([1, 8])
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int | None = None,
        approximate: str = "none",
        bias: bool = False,
        fused: bool = False,
    ) -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate is {approximate!r}, but must be 'none' or 'tanh'")
        super().__init__(d_model, d_ff, "gelu" if approximate == "none" else "gelu_tanh", bias, fused)


@entry(
    name="ReGLU feed-forward block",
    page="gated_feed_forward",
    kind="block",
    aliases=("ReGLU variant", "ReLU-gated feed-forward block"),
    ids=("caramba_reglu",),
    paper="shazeer2020glu",
    example=lambda: Example(ReGLUFeedForward(4, 6), (torch.randn(2, 5, 4),)),
    related=("Gated feed-forward block", "SwiGLU feed-forward block"),
)
class ReGLUFeedForward(GLUFeedForward):
    r"""Feed-forward block with a ReLU gate: a share of the hidden numbers is exactly 0.

    .. math::
        y = \big(\max(0, x W_g^\top) \odot x W_u^\top\big) W_d^\top

    Args:
        d_model: width C of input and output.
        d_ff: hidden width F; None takes two thirds of 4 C.
        bias: add biases.
        fused: keep gate and up as one layer of width 2 F.

    Shapes:
        x: (..., C). Returns (..., C).

    Notice:
        Where the gate is shut, the matching column of the down matrix is not needed: ``sparsity`` says how often.

    Source: Shazeer 2020, equation 6.

    >>> block = ReGLUFeedForward(16, 64)
    >>> 0.3 < block.sparsity(torch.randn(200, 16)) < 0.7
    True
    """

    def __init__(self, d_model: int, d_ff: int | None = None, bias: bool = False, fused: bool = False) -> None:
        super().__init__(d_model, d_ff, "relu", bias, fused)

    def sparsity(self, x: Tensor) -> float:
        """The share of the hidden numbers that are exactly 0 for x."""
        with torch.no_grad():
            return (self.hidden(x) == 0).double().mean().item()
