"""Gated recurrent unit: one state, one gate that mixes old and new, one that resets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvocab.recurrent.rnn import one_step
from nnvocab.recurrent.stack import (
    FusedStack,
    add_weights,
    check_dropout,
    check_sequence,
    check_state,
    kernel_mode,
    run_stack,
    weights_of,
)
from nnvocab.vocabulary import Example, entry


def gru_cell(
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    *,
    reset_after: bool = True,
) -> Tensor:
    r"""One step of the gated recurrent unit, as the equations are written.

    .. math::
        \begin{aligned}
        (r_t, z_t) &= \sigma(W_{r,z}\, x_t + U_{r,z}\, h_{t-1} + b_{r,z}) \\
        n_t &= \tanh(W_n x_t + b_n + r_t \odot (U_n h_{t-1} + b'_n)) \quad\text{(reset after)} \\
        n_t &= \tanh(W_n x_t + b_n + U_n (r_t \odot h_{t-1}) + b'_n) \quad\text{(reset before)} \\
        h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}
        \end{aligned}

    Shapes:
        x: (B, C); h: (B, H); w_ih: (3H, C) with the rows of r, z and n below each other; w_hh: (3H, H); b_ih, b_hh:
        (3H,). Returns (B, H).
    """
    H = h.shape[-1]
    r_x, z_x, n_x = F.linear(x, w_ih, b_ih).chunk(3, dim=-1)  # 3 of (B, H)
    r_h, z_h = F.linear(h, w_hh[: 2 * H], None if b_hh is None else b_hh[: 2 * H]).chunk(2, dim=-1)
    r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
    u, b = w_hh[2 * H :], None if b_hh is None else b_hh[2 * H :]
    n = (n_x + (r * F.linear(h, u, b) if reset_after else F.linear(r * h, u, b))).tanh()
    return (1 - z) * n + z * h


def gru_layer(
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    *,
    reset_after: bool = True,
) -> tuple[Tensor, tuple[Tensor]]:
    """Run one layer over a sequence, one ``gru_cell`` a step.

    Shapes:
        x: (B, T, C); h: (B, H). Returns y (B, T, H) and the last state (B, H) in a tuple of one.
    """
    check_sequence(x, w_ih.shape[1], batch_first=True)
    outputs = []
    for x_t in x.unbind(1):
        h = gru_cell(x_t, h, w_ih, w_hh, b_ih, b_hh, reset_after=reset_after)
        outputs.append(h)
    return torch.stack(outputs, dim=1), (h,)


def gru_layer_fused(
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor]]:
    """The same layer, reset after, by torch's own kernel, which runs the loop outside Python."""
    weights = [w_ih, w_hh] if b_ih is None else [w_ih, w_hh, b_ih, b_hh]
    y, h = torch.gru(x, h[None], weights, b_ih is not None, 1, 0.0, torch.is_grad_enabled(), False, True)
    return y, (h[0],)


def _reset_before(x: Tensor, h: Tensor, *weights: Tensor) -> tuple[Tensor, tuple[Tensor]]:
    return gru_layer(x, h, *weights, reset_after=False)


@entry(
    name="Gated recurrent unit",
    aliases=("GRU",),
    page="gates",
    ids=("gru",),
    paper="cho2014learning",
    peer="torch.nn.GRU",
    related=("LSTM", "Recurrent neural network"),
    example=lambda: Example(
        GRU(3, 4, num_layers=2, batch_first=True),
        (torch.randn(2, 5, 3),),
        skip={
            "batch_of_one": "the last state has its batch on the second axis, as in torch",
            "fake_cuda": "torch has no fake kernel of its fused GRU",
        },
    ),
)
class GRU(FusedStack):
    r"""A recurrent network whose new state is a mixture of the old one and a candidate, gate by gate.

    .. math::
        \begin{aligned}
        r_t &= \sigma(W_r x_t + U_r h_{t-1} + b_r) & z_t &= \sigma(W_z x_t + U_z h_{t-1} + b_z) \\
        n_t &= \tanh(W_n x_t + b_n + r_t \odot (U_n h_{t-1} + b'_n)) & h_t &= (1 - z_t) \odot n_t + z_t \odot h_{t-1}
        \end{aligned}

    where :math:`r_t` is the reset gate, :math:`z_t` the update gate and :math:`n_t` the candidate.

    Args:
        input_size: width C of the input.
        hidden_size: width H of the state.
        num_layers: layers L; each reads the outputs of the one below.
        bias: add the two bias vectors.
        batch_first: sequences are (B, T, C); as in torch, (T, B, C) if False.
        dropout: probability of dropping an output between two layers while training.
        bidirectional: run a second network backwards and concatenate the outputs.
        reset_after: apply the reset gate after the product with U, as torch and cuDNN do; before it, as the paper
            does, if False. Only the first runs on the fused kernel.

    Shapes:
        x: (B, T, C) or (T, B, C); state: (L x directions, B, H), zeros if None.
        Returns the outputs (B, T, H x directions) or (T, B, ...), and the last state.

    Notice:
        Three blocks of weights where the LSTM has four: 3/4 of its parameters. z near 1 keeps the state. Weights from
        ``nn.GRU`` load by ``load_state_dict``.

    Raises:
        ValueError: if a size is not allowed, or x or the state has the wrong shape.

    Source: Cho et al. 2014, section 2.3, with the reset before the product; there z keeps the old state too.

    >>> gru = GRU(8, 16, batch_first=True)
    >>> y, last = gru(torch.zeros(2, 10, 8))
    >>> y.shape, last.shape
    (torch.Size([2, 10, 16]), torch.Size([1, 2, 16]))
    """

    mode = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        reset_after: bool = True,
    ) -> None:
        super().__init__()
        check_dropout(dropout)
        add_weights(self, 3, input_size, hidden_size, num_layers, bias=bias, bidirectional=bidirectional)
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.reset_after = reset_after

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        B, _ = check_sequence(x, self.input_size, self.batch_first)
        shape = (self.num_layers * (1 + self.bidirectional), B, self.hidden_size)
        if state is None:
            state = x.new_zeros(shape)
        check_state(state, shape, "state")
        if self.reset_after:
            options = (self.num_layers, *kernel_mode(self), self.bidirectional, self.batch_first)
            return torch.gru(x, state, weights_of(self), self.bias, *options)
        y, (last,) = run_stack(
            _reset_before,
            x if self.batch_first else x.transpose(0, 1),
            (state,),
            weights_of(self),
            num_layers=self.num_layers,
            dropout=self.dropout,
            training=self.training,
            bidirectional=self.bidirectional,
        )
        return (y if self.batch_first else y.transpose(0, 1)), last

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Read one step: x (B, C) and the state; returns the output (B, H) and the next state."""
        return one_step(self, x, state)
