"""Mamba: a state space model whose step length, input and output depend on what it reads."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.recurrent.dt_rank import auto_dt_rank, dt_bias
from nnvocab.recurrent.scan import selective_scan, selective_scan_chunked
from nnvocab.vocabulary import Example, entry


class MambaState(NamedTuple):
    """What a Mamba layer carries from step to step: the same number of values after one step and after a million."""

    conv: Tensor
    ssm: Tensor


@entry(
    name="Mamba",
    aliases=("selective state space model", "S6", "SSMLayer", "Selective state-space (Mamba) layer", "selective SSM"),
    page="state_space",
    ids=("mamba", "caramba_ssm"),
    paper="gu2023mamba",
    peer="mambapy.mamba.MambaBlock",
    related=("State space model", "S4", "Step-size rank", "Mamba block", "SSM versus attention"),
    example=lambda: Example(Mamba(4, d_state=3, d_conv=3), (torch.randn(2, 5, 4),)),
)
class Mamba(nn.Module):
    r"""Selective state space layer: each position decides how long its step lasts, what it writes and what it reads.

    .. math::
        \begin{aligned}
        (x, z) &= W_{\text{in}} u, \qquad x \leftarrow \operatorname{SiLU}(\operatorname{conv}(x)) \\
        (\delta_t, B_t, C_t) &= W_x x_t, \qquad \Delta_t = \operatorname{softplus}(W_\Delta \delta_t + b_\Delta) \\
        h_t &= e^{\Delta_t A} \odot h_{t-1} + \Delta_t x_t B_t^{\top} \\
        y_t &= W_{\text{out}} \big( (h_t C_t + D \odot x_t) \odot \operatorname{SiLU}(z_t) \big)
        \end{aligned}

    where conv is a depthwise causal convolution over d_conv steps and A is negative, one row of N numbers a channel.

    Args:
        d_model: width C of the input and of the output.
        d_state: numbers N that each of the E channels keeps.
        d_conv: steps that the convolution sees.
        expand: E = expand x C channels inside.
        dt_rank: rank of the projection to delta; "auto" is C / 16, rounded up.
        dt_min: shortest step length at the beginning.
        dt_max: longest.
        bias: add biases to the projections in and out.

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    Notice:
        delta, B and C depend on the input, so the layer is neither linear nor the same at every step, and no
        convolution computes it: a scan does. ``scan`` also takes and returns the state; ``step`` reads one position
        with memory that does not grow. Parameters are named as in mambapy and mamba_ssm, whose weights load.

    Raises:
        ValueError: if a size is not positive, or x or the state has the wrong shape.

    Source: Gu and Dao 2023, algorithm 2 and section 3.4; A by zero-order hold, B by its first order, as in their code.

    >>> layer = Mamba(32)
    >>> layer(torch.zeros(2, 10, 32)).shape
    torch.Size([2, 10, 32])
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 4,
        expand: int = 2,
        dt_rank: int | str = "auto",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        rank = auto_dt_rank(d_model) if dt_rank == "auto" else dt_rank
        if isinstance(rank, str) or min(d_model, d_state, d_conv, expand, rank) < 1:
            raise ValueError(
                f"d_model {d_model}, d_state {d_state}, d_conv {d_conv}, expand {expand} and dt_rank {dt_rank!r} must "
                f"be positive integers; dt_rank may be 'auto'"
            )
        E = expand * d_model
        self.d_model, self.d_state, self.d_conv, self.d_inner, self.dt_rank = d_model, d_state, d_conv, E, rank
        self.in_proj = nn.Linear(d_model, 2 * E, bias=bias)
        self.conv1d = nn.Conv1d(E, E, d_conv, groups=E)
        self.x_proj = nn.Linear(E, rank + 2 * d_state, bias=False)
        self.dt_proj = nn.Linear(rank, E)
        self.A_log = nn.Parameter(torch.arange(1, d_state + 1).float().log().repeat(E, 1))
        self.D = nn.Parameter(torch.ones(E))
        self.out_proj = nn.Linear(E, d_model, bias=bias)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt_bias(E, dt_min, dt_max))

    def forward(self, x: Tensor) -> Tensor:
        return self.scan(x)[0]

    def scan(self, x: Tensor, state: MambaState | None = None) -> tuple[Tensor, MambaState]:
        """Read a whole sequence, going on from a state; returns the outputs and the state after the last position."""
        if x.dim() != 3 or x.shape[1] == 0 or x.shape[2] != self.d_model:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but (B, T, {self.d_model}) with at least one step is needed"
            )
        before = self._before(x, state)
        x, z = self.in_proj(x).chunk(2, dim=-1)  # 2 of (B, T, E)
        seen = torch.cat([before.conv, x.transpose(1, 2)], dim=2)  # (B, E, d_conv - 1 + T)
        x = F.silu(self.conv1d(seen)).transpose(1, 2)  # (B, T, E)
        y, h = selective_scan_chunked(x, *self._selected(x), before.ssm)
        conv = seen.narrow(2, seen.shape[2] - self.d_conv + 1, self.d_conv - 1)
        return self.out_proj(y * F.silu(z)), MambaState(conv, h)

    def step(self, x: Tensor, state: MambaState | None = None) -> tuple[Tensor, MambaState]:
        """Read one position: x (B, C) and the state, None before the first; returns y (B, C) and the next state."""
        if x.dim() != 2 or x.shape[1] != self.d_model:
            raise ValueError(f"x has shape {tuple(x.shape)}, but (B, {self.d_model}) is needed: one position")
        before = self._before(x, state)
        x, z = self.in_proj(x).chunk(2, dim=-1)  # 2 of (B, E)
        seen = torch.cat([before.conv, x[..., None]], dim=2)  # (B, E, d_conv)
        x = F.silu((seen * self.conv1d.weight[:, 0]).sum(-1) + self.conv1d.bias)[:, None]  # (B, 1, E)
        y, h = selective_scan(x, *self._selected(x), before.ssm)
        return self.out_proj(y[:, 0] * F.silu(z)), MambaState(seen[:, :, 1:], h)

    def _selected(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the scan needs besides x: delta, A, B, C and D."""
        low, B, C = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        return F.softplus(self.dt_proj(low)), -self.A_log.exp(), B, C, self.D

    def _before(self, x: Tensor, state: MambaState | None) -> MambaState:
        shapes = ((x.shape[0], self.d_inner, self.d_conv - 1), (x.shape[0], self.d_inner, self.d_state))
        if state is None:
            return MambaState(*(x.new_zeros(s) for s in shapes))
        if tuple(tuple(s.shape) for s in state) != shapes:
            given = tuple(tuple(s.shape) for s in state)
            raise ValueError(f"state has shapes {given}, but {shapes} are needed: (B, E, d_conv - 1) and (B, E, N)")
        return MambaState(*state)
