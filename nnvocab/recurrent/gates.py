"""The gates of an LSTM, one by one, and all of them at every step of a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.recurrent.lstm import LSTM
from nnvocab.recurrent.stack import check_sequence, check_state
from nnvocab.vocabulary import Example, entry


def _gate_example(gate: str) -> Example:
    sizes = {"forget": 4, "input": 8, "output": 4}
    rows = sizes[gate]
    w_ih, w_hh, bias = torch.randn(rows, 3), torch.randn(rows, 4), torch.randn(rows)
    function = {"forget": forget_gate, "input": input_gate, "output": output_gate}[gate]

    def call(x: Tensor, h: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return function(x, h, w_ih.to(x), w_hh.to(x), bias.to(x))

    skip = {"fake_cuda": "the weights are made on the CPU by the example"}
    return Example(call, (torch.randn(2, 3), torch.randn(2, 4)), skip=skip)


@entry(
    name="Forget gate",
    aliases=("f_t",),
    page="gates",
    kind="concept",
    ids=("loom_forget_gate",),
    paper="gers2000learning",
    peer="torch.nn.LSTMCell",
    related=("LSTM", "Input gate and candidate", "Output gate", "Cell-state gradient highway"),
    example=lambda: _gate_example("forget"),
)
def forget_gate(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> Tensor:
    r"""Compute how much of each cell is kept: 1 keeps all of it, 0 erases it.

    .. math::
        f_t = \sigma(W_f x_t + U_f h_{t-1} + b_f), \qquad c_t = f_t \odot c_{t-1} + i_t \odot g_t

    where :math:`\sigma` is the logistic function.

    Args:
        x: input of the step.
        h: hidden state of the step before.
        w_ih: the rows of the forget gate that multiply x.
        w_hh: the rows that multiply h.
        bias: the sum of the two bias vectors.

    Shapes:
        x: (B, C); h: (B, H); w_ih: (H, C); w_hh: (H, H); bias: (H,). Returns f (B, H), between 0 and 1.

    Notice:
        The cell state is no argument: the gate cannot look at what it forgets.

    Source: Gers et al. 2000, section 3; the LSTM of 1997 has no forget gate, which is f = 1.

    >>> forget_gate(torch.zeros(1, 2), torch.zeros(1, 1), torch.ones(1, 2), torch.ones(1, 1), torch.zeros(1))
    tensor([[0.5000]])
    """
    return (F.linear(x, w_ih, bias) + F.linear(h, w_hh)).sigmoid()


@entry(
    name="Input gate and candidate",
    aliases=("Input gate", "i_t", "g_t", "cell candidate"),
    page="gates",
    kind="concept",
    ids=("loom_input_gate",),
    paper="hochreiter1997lstm",
    peer="torch.nn.LSTMCell",
    related=("LSTM", "Forget gate", "Output gate"),
    example=lambda: _gate_example("input"),
)
def input_gate(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    r"""Compute how much is written to each cell, and what.

    .. math::
        i_t = \sigma(W_i x_t + U_i h_{t-1} + b_i), \quad g_t = \tanh(W_g x_t + U_g h_{t-1} + b_g), \quad
        c_t = f_t \odot c_{t-1} + i_t \odot g_t

    Args:
        x: input of the step.
        h: hidden state of the step before.
        w_ih: the rows of i and then of g that multiply x.
        w_hh: the rows that multiply h.
        bias: the sum of the two bias vectors.

    Shapes:
        x: (B, C); h: (B, H); w_ih: (2H, C); w_hh: (2H, H); bias: (2H,). Returns i, between 0 and 1, and g, between -1
        and 1, each (B, H).

    Notice:
        i says how much and has no sign; g says what and has one. Only their product reaches the cell.

    Source: Hochreiter and Schmidhuber 1997, section 4.

    >>> i, g = input_gate(torch.zeros(1, 2), torch.zeros(1, 1), torch.ones(2, 2), torch.ones(2, 1), torch.zeros(2))
    >>> i, g
    (tensor([[0.5000]]), tensor([[0.]]))
    """
    i, g = (F.linear(x, w_ih, bias) + F.linear(h, w_hh)).chunk(2, dim=-1)  # (B, 2H) -> 2 of (B, H)
    return i.sigmoid(), g.tanh()


@entry(
    name="Output gate",
    aliases=("o_t",),
    page="gates",
    kind="concept",
    ids=("loom_output_gate",),
    paper="hochreiter1997lstm",
    peer="torch.nn.LSTMCell",
    related=("LSTM", "Forget gate", "Input gate and candidate"),
    example=lambda: _gate_example("output"),
)
def output_gate(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> Tensor:
    r"""Compute how much of each cell is shown to the next step and to the layer above.

    .. math::
        o_t = \sigma(W_o x_t + U_o h_{t-1} + b_o), \qquad h_t = o_t \odot \tanh(c_t)

    Args:
        x: input of the step.
        h: hidden state of the step before.
        w_ih: the rows of the output gate that multiply x.
        w_hh: the rows that multiply h.
        bias: the sum of the two bias vectors.

    Shapes:
        x: (B, C); h: (B, H); w_ih: (H, C); w_hh: (H, H); bias: (H,). Returns o (B, H), between 0 and 1.

    Notice:
        A closed output gate hides the cell and leaves it whole: it can be shown later.

    Source: Hochreiter and Schmidhuber 1997, section 4.

    >>> output_gate(torch.zeros(1, 2), torch.zeros(1, 1), torch.ones(1, 2), torch.ones(1, 1), torch.zeros(1))
    tensor([[0.5000]])
    """
    return (F.linear(x, w_ih, bias) + F.linear(h, w_hh)).sigmoid()


class Gates(NamedTuple):
    """Every activation of an LSTM layer at every step, each (B, T, H)."""

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    c: Tensor
    h: Tensor


def lstm_gates(
    lstm: nn.Module,
    x: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    layer: int = 0,
    force: Mapping[str, float | Tensor] | None = None,
) -> Gates:
    """Run one layer of an LSTM and return all its gates and states at every step; gates can be forced.

    Args:
        lstm: an ``LSTM`` or ``nn.LSTM`` of one direction without projection.
        x: what this layer reads: the input of the network for layer 0.
        state: (h, c) before the first step, as ``lstm`` takes it; zeros if None.
        layer: which layer of the stack.
        force: values that replace gates "i", "f", "g" or "o": a number, or a tensor that broadcasts to (B, T, H).

    Shapes:
        x: (B, T, C), or (T, B, C) if the layer is not batch_first. Every result is (B, T, H).

    Raises:
        TypeError: if the layer is no LSTM.
        ValueError: if the layer is bidirectional or projected, if there is no such layer, if x, a state or a forced
            value has the wrong shape, or if force names no gate.

    >>> from nnvocab.recurrent import LSTM
    >>> gates = lstm_gates(LSTM(2, 3, batch_first=True), torch.zeros(1, 4, 2), force={"f": 0.0, "i": 0.0})
    >>> gates.c.abs().max().item()
    0.0
    """
    if not isinstance(lstm, LSTM | nn.LSTM):
        raise TypeError(f"lstm is a {type(lstm).__name__}, but the gates i, f, g and o are those of an LSTM")
    force = dict(force or {})
    if lstm.bidirectional or lstm.proj_size:
        raise ValueError("the gates of one direction without projection can be shown; make such an LSTM")
    if not 0 <= layer < lstm.num_layers:
        raise ValueError(f"layer is {layer}, but the LSTM has layers 0 to {lstm.num_layers - 1}")
    if unknown := sorted(set(force) - set("ifgo")):
        raise ValueError(f"force names {unknown}, but the gates are 'i', 'f', 'g' and 'o'")
    w_ih, w_hh = (getattr(lstm, f"weight_{s}_l{layer}") for s in ("ih", "hh"))
    biases = [getattr(lstm, f"bias_{s}_l{layer}") for s in ("ih", "hh")] if lstm.bias else [None, None]
    B, T = check_sequence(x, w_ih.shape[1], lstm.batch_first)
    H = lstm.hidden_size
    if state is None:
        h = c = x.new_zeros(B, H)
    else:
        for s, name in zip(state, ("h", "c"), strict=True):
            check_state(s, (lstm.num_layers, B, H), name)
        h, c = state[0][layer], state[1][layer]
    try:
        forced = {k: torch.as_tensor(v, dtype=x.dtype, device=x.device).expand(B, T, H) for k, v in force.items()}
    except RuntimeError as error:
        raise ValueError(f"a forced gate must broadcast to (B, T, H) = {(B, T, H)}: {error}") from None
    steps = []
    for t, x_t in enumerate(x.unbind(1 if lstm.batch_first else 0)):
        i, f, g, o = (F.linear(x_t, w_ih, biases[0]) + F.linear(h, w_hh, biases[1])).chunk(4, dim=-1)
        now = {"i": i.sigmoid(), "f": f.sigmoid(), "g": g.tanh(), "o": o.sigmoid()}
        now |= {k: v[:, t] for k, v in forced.items()}
        c = now["f"] * c + now["i"] * now["g"]
        h = now["o"] * c.tanh()
        steps.append((now["i"], now["f"], now["g"], now["o"], c, h))
    return Gates(*(torch.stack(column, dim=1) for column in zip(*steps, strict=True)))
