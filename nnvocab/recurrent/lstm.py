"""Long short-term memory: a cell that adds to what it keeps, behind three gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.recurrent.rnn import one_step
from nnvocab.recurrent.stack import (
    FusedStack,
    add_weights,
    check_dropout,
    check_sequence,
    check_state,
    kernel_mode,
    weights_of,
)
from nnvocab.vocabulary import Example, entry


def lstm_cell(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    w_hr: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""One step of the cell, as the equations are written.

    .. math::
        \begin{aligned}
        (i_t, f_t, g_t, o_t) &= (\sigma, \sigma, \tanh, \sigma)(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot g_t \\
        h_t &= o_t \odot \tanh(c_t)
        \end{aligned}

    Shapes:
        x: (B, C); h: (B, H), or (B, P) with a projection; c: (B, H); w_ih: (4H, C) with the rows of i, f, g and o below
        each other; w_hr: (P, H). Returns the next h and c.
    """
    i, f, g, o = (F.linear(x, w_ih, b_ih) + F.linear(h, w_hh, b_hh)).chunk(4, dim=-1)  # 4 of (B, H)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if w_hr is None else F.linear(h, w_hr)), c


def lstm_layer(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, *rest: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run one layer over a sequence, one ``lstm_cell`` a step.

    Shapes:
        x: (B, T, C); h: (B, H); c: (B, H); w_ih: (4H, C); w_hh: (4H, H); rest: b_ih and b_hh, each (4H,), then w_hr,
        if the layer has them. Returns y (B, T, H) and the last (h, c).
    """
    check_sequence(x, w_ih.shape[1], batch_first=True)
    biases, w_hr = _sort(rest)
    outputs = []
    for x_t in x.unbind(1):
        h, c = lstm_cell(x_t, h, c, w_ih, w_hh, *(biases or (None, None)), w_hr)
        outputs.append(h)
    return torch.stack(outputs, dim=1), (h, c)


def lstm_layer_fused(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, *rest: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The same layer by torch's own kernel, which runs the loop outside Python."""
    biases, _ = _sort(rest)
    y, h, c = torch.lstm(
        x, (h[None], c[None]), [w_ih, w_hh, *rest], bool(biases), 1, 0.0, torch.is_grad_enabled(), False, True
    )
    return y, (h[0], c[0])


def _sort(rest: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Split what follows w_hh into the two biases, if any, and the projection, if any."""
    return tuple(w for w in rest if w.dim() == 1), next((w for w in rest if w.dim() == 2), None)


def set_forget_bias(lstm: nn.Module, value: float) -> nn.Module:
    """Set the bias of every forget gate of an LSTM, ours or torch's, so that it begins by keeping.

    Args:
        lstm: an LSTM, or a module that holds some; their biases are named as in ``nn.LSTM``.
        value: the sum of the two biases. 1 makes a gate of about 0.73 where 0 makes 0.5.

    Raises:
        ValueError: if there are no such biases, or they are those of another recurrent layer.

    Source: Gers et al. 2000 begin with a positive bias; Jozefowicz et al. 2015 recommend 1.
    """
    biases = [
        (name, bias, module.hidden_size)
        for module in lstm.modules()
        for name, bias in module.named_parameters(recurse=False)
        if name.startswith(("bias_ih", "bias_hh"))
    ]
    if not biases:
        raise ValueError("the module has no bias_ih and bias_hh to set: make it with bias=True")
    for name, bias, H in biases:
        if len(bias) != 4 * H:
            raise ValueError(f"{name} has {len(bias)} rows, but an LSTM of hidden_size {H} has {4 * H}: give an LSTM")
    with torch.no_grad():
        for name, bias, H in biases:
            bias[H : 2 * H] = value if name.startswith("bias_ih") else 0.0
    return lstm


@entry(
    name="Long short-term memory",
    aliases=("LSTM", "Long Short-Term Memory layer"),
    page="gates",
    ids=("lstm", "loom_lstm"),
    paper="hochreiter1997lstm",
    peer="torch.nn.LSTM",
    related=("Forget gate", "Input gate and candidate", "Output gate", "Cell-state gradient highway", "GRU"),
    example=lambda: Example(
        LSTM(3, 4, num_layers=2, batch_first=True),
        (torch.randn(2, 5, 3),),
        skip={"batch_of_one": "the last states have their batch on the second axis, as in torch"},
    ),
)
class LSTM(FusedStack):
    r"""A recurrent network whose gates decide what a cell forgets, what it adds and what it shows.

    .. math::
        \begin{aligned}
        i_t &= \sigma(W_i x_t + U_i h_{t-1} + b_i) & f_t &= \sigma(W_f x_t + U_f h_{t-1} + b_f) \\
        g_t &= \tanh(W_g x_t + U_g h_{t-1} + b_g) & o_t &= \sigma(W_o x_t + U_o h_{t-1} + b_o) \\
        c_t &= f_t \odot c_{t-1} + i_t \odot g_t & h_t &= o_t \odot \tanh(c_t)
        \end{aligned}

    where :math:`c_t` is the cell state, which is kept, and :math:`h_t` the hidden state, which is shown.

    Args:
        input_size: width C of the input.
        hidden_size: width H of the cell state.
        num_layers: layers L; each reads the outputs of the one below.
        bias: add the two bias vectors.
        batch_first: sequences are (B, T, C); as in torch, (T, B, C) if False.
        dropout: probability of dropping an output between two layers while training.
        bidirectional: run a second network backwards and concatenate the outputs.
        proj_size: project the hidden state to this width P; 0 for none.

    Shapes:
        x: (B, T, C) or (T, B, C); state: (h, c) of (L x directions, B, H), h narrowed to P by a projection; zeros if
        None. Returns the outputs (B, T, H x directions) or (T, B, ...), and the last (h, c).

    Notice:
        The update of c adds; it does not multiply by a weight matrix. What c held survives as the product of the
        forget gates. ``LSTM(...).set_forget_bias(1.0)`` lets the gates begin nearer to 1. Weights from ``nn.LSTM``
        load by ``load_state_dict``. ``lstm_gates`` returns every gate at every step.

    Raises:
        ValueError: if a size is not allowed, or x or a state has the wrong shape.

    Source: Hochreiter and Schmidhuber 1997, section 4; the forget gate is Gers et al. 2000. Gates see x and h
    alone, as in most libraries; cells whose gates also see c are called peephole LSTMs.

    >>> lstm = LSTM(8, 16, batch_first=True).set_forget_bias(1.0)
    >>> y, (h, c) = lstm(torch.zeros(2, 10, 8))
    >>> y.shape, h.shape, c.shape
    (torch.Size([2, 10, 16]), torch.Size([1, 2, 16]), torch.Size([1, 2, 16]))
    """

    mode = "LSTM"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
    ) -> None:
        super().__init__()
        check_dropout(dropout)
        add_weights(
            self, 4, input_size, hidden_size, num_layers, bias=bias, bidirectional=bidirectional, proj_size=proj_size
        )
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self.proj_size = proj_size

    def set_forget_bias(self, value: float) -> LSTM:
        """Set the bias of every forget gate and return the layer: see ``set_forget_bias``."""
        return set_forget_bias(self, value)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        B, _ = check_sequence(x, self.input_size, self.batch_first)
        rows = self.num_layers * (1 + self.bidirectional)
        shapes = [(rows, B, self.proj_size or self.hidden_size), (rows, B, self.hidden_size)]
        if state is None:
            state = (x.new_zeros(shapes[0]), x.new_zeros(shapes[1]))
        if not isinstance(state, tuple | list) or len(state) != 2:
            raise TypeError(f"state is a {type(state).__name__}, but an LSTM needs the pair (h, c)")
        for s, shape, name in zip(state, shapes, ("h", "c"), strict=True):
            check_state(s, shape, name)
        y, h, c = torch.lstm(
            x,
            tuple(state),
            weights_of(self),
            self.bias,
            self.num_layers,
            *kernel_mode(self),
            self.bidirectional,
            self.batch_first,
        )
        return y, (h.view(shapes[0]), c.view(shapes[1]))  # compiled for a GPU, some torch add an axis

    def step(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Read one step: x (B, C) and (h, c); returns the output (B, H) and the next (h, c)."""
        return one_step(self, x, state)
