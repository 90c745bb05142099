"""What the gates must hold: they are those of torch's cell, and forcing one does what its equation says."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.recurrent import LSTM, forget_gate, input_gate, lstm_gates, output_gate


def a_step():
    torch.manual_seed(0)
    cell = nn.LSTMCell(3, 4)
    return cell, torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)


def rows(cell, *gates):
    at = torch.cat([torch.arange(4) + 4 * "ifgo".index(g) for g in gates])
    return cell.weight_ih[at], cell.weight_hh[at], (cell.bias_ih + cell.bias_hh)[at]


@pytest.mark.oracle("forget-gate", "input-gate-and-candidate", "output-gate", by="peer: torch.nn.LSTMCell")
def test_the_three_gates_make_torchs_cell():
    cell, x, h, c = a_step()
    f, (i, g) = forget_gate(x, h, *rows(cell, "f")), input_gate(x, h, *rows(cell, "i", "g"))
    next_c = f * c + i * g
    next_h = output_gate(x, h, *rows(cell, "o")) * next_c.tanh()
    assert_close((next_h, next_c), cell(x, (h, c)), rtol=0, atol=1e-6)


def test_the_cell_state_does_not_reach_the_gates():
    lstm, x = LSTM(3, 4, batch_first=True), torch.randn(2, 1, 3)
    h = torch.randn(1, 2, 4)
    one, other = (lstm_gates(lstm, x, (h, torch.randn(1, 2, 4))) for _ in range(2))
    assert all(torch.equal(getattr(one, k), getattr(other, k)) for k in "ifgo")
    assert not torch.equal(one.c, other.c)


def test_torchs_cell_computes_no_gate_from_the_cell_state():
    cell, x, h, c = a_step()
    moved = torch.randn(2, 4)
    c1, c2 = cell(x, (h, c))[1], cell(x, (h, moved))[1]
    f, (i, g) = forget_gate(x, h, *rows(cell, "f")), input_gate(x, h, *rows(cell, "i", "g"))
    assert_close(c2 - c1, f * (moved - c))  # with gates that saw c, i g would not cancel
    assert_close(c1 - f * c, i * g)


@pytest.mark.parametrize("kind", [LSTM, nn.LSTM])
@pytest.mark.parametrize("batch_first", [True, False])
def test_all_gates_lead_to_the_outputs_of_the_layer(kind, batch_first):
    lstm, x = kind(3, 4, 2, batch_first=batch_first), torch.randn(2, 5, 3)
    B = x.shape[0 if batch_first else 1]
    state = (torch.randn(2, B, 4), torch.randn(2, B, 4))
    below = lstm_gates(lstm, x, state).h
    above = lstm_gates(lstm, below if batch_first else below.transpose(0, 1), state, layer=1)
    y, (h, c) = lstm(x, state)
    assert_close(above.h, y if batch_first else y.transpose(0, 1))
    assert_close((above.h[:, -1], above.c[:, -1]), (h[1], c[1]))
    assert_close(above.c[:, 1:], above.f[:, 1:] * above.c[:, :-1] + above.i[:, 1:] * above.g[:, 1:])


def test_an_lstm_without_biases_has_gates_too():
    lstm, x = LSTM(3, 4, bias=False, batch_first=True), torch.randn(2, 5, 3)
    assert_close(lstm_gates(lstm, x).h, lstm(x)[0])


def test_a_forget_gate_forced_to_0_erases_and_forced_to_1_keeps():
    lstm, x = LSTM(3, 4, batch_first=True), torch.randn(2, 5, 3)
    state = (torch.zeros(1, 2, 4), torch.randn(1, 2, 4))
    kept = lstm_gates(lstm, x, state, force={"f": 1.0, "i": 0.0})
    assert torch.equal(kept.c, state[1][0][:, None].expand(2, 5, 4))
    erased = lstm_gates(lstm, x, state, force={"f": 0.0})
    assert_close(erased.c, erased.i * erased.g)


def test_a_closed_output_gate_hides_what_an_open_one_shows_later():
    lstm, x = LSTM(3, 4, batch_first=True), torch.randn(1, 4, 3)
    state = (torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
    opened = torch.tensor([0.0, 0.0, 1.0, 0.0])[:, None]
    run = lstm_gates(lstm, x, state, force={"f": 1.0, "i": 0.0, "o": opened})
    assert run.h[:, [0, 1, 3]].abs().max() == 0
    assert_close(run.h[:, 2], torch.ones(1, 4).tanh())


def test_another_layer_has_no_such_gates():
    with pytest.raises(TypeError, match="lstm is a GRU"):
        lstm_gates(nn.GRU(3, 4), torch.randn(5, 2, 3))


@pytest.mark.parametrize(
    ("lstm", "shape", "options", "message"),
    [
        (LSTM(3, 4, bidirectional=True), (5, 2, 3), {}, "one direction"),
        (LSTM(3, 4, proj_size=2), (5, 2, 3), {}, "without projection"),
        (LSTM(3, 4), (5, 2, 3), {"layer": 1}, "layers 0 to 0"),
        (LSTM(3, 4), (5, 2, 3), {"force": {"r": 0.0}}, r"names \['r'\]"),
        (LSTM(3, 4), (5, 2, 3), {"force": {"f": torch.zeros(7)}}, "must broadcast"),
        (LSTM(3, 4), (5, 2, 2), {}, "input_size 3"),
        (LSTM(3, 4), (5, 2, 3), {"state": (torch.zeros(1, 2, 3), torch.zeros(1, 2, 4))}, "h has shape"),
    ],
)
def test_what_does_not_fit_is_refused(lstm, shape, options, message):
    with pytest.raises(ValueError, match=message):
        lstm_gates(lstm, torch.randn(shape), **options)
