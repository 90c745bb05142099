"""What the LSTM must hold: it is the loop over its equations, and torch's layer."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.recurrent import LSTM, lstm_cell, lstm_layer, lstm_layer_fused, set_forget_bias
from nnvocab.recurrent.stack import run_stack, weights_of


def layer_inputs(bias=True, proj=0):
    out = proj or 4
    shapes = [(2, 6, 3), (2, out), (2, 4), (16, 3), (16, out), *[(16,), (16,)][: 2 * bias], *[(proj, 4)][: bool(proj)]]
    return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("long-short-term-memory", by="brute force")
def test_is_the_equations_written_out_number_by_number():
    layer = LSTM(2, 1, batch_first=True).double()
    x = torch.randn(1, 5, 2, dtype=torch.float64)
    w_ih, w_hh, b_ih, b_hh = (w.detach() for w in weights_of(layer))

    def sigmoid(v):
        return 1 / (1 + math.exp(-v))

    h = c = 0.0
    for t in range(5):
        i, f, g, o = (
            sum(float(w_ih[r, k] * x[0, t, k]) for k in range(2)) + float(w_hh[r, 0]) * h + float(b_ih[r] + b_hh[r])
            for r in range(4)
        )
        c = sigmoid(f) * c + sigmoid(i) * math.tanh(g)
        h = sigmoid(o) * math.tanh(c)
        y, (_, last) = layer(x[:, : t + 1])
        assert math.isclose(y[0, t, 0].item(), h, rel_tol=1e-9) and math.isclose(last.item(), c, rel_tol=1e-9)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("proj", [0, 2])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(bias, proj):
    inputs = layer_inputs(bias, proj)
    results = []
    for function in (lstm_layer, lstm_layer_fused):
        y, (h, c) = function(*inputs)
        loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum() + h.sum() + c.square().sum()
        results.append([y, h, c, *torch.autograd.grad(loss, inputs)])
    assert_close(*results)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True}, {"proj_size": 2}])
@pytest.mark.parametrize("batch_first", [True, False])
def test_weights_of_torch_load_and_give_the_same(options, batch_first):
    ours, theirs = (kind(3, 4, 2, batch_first=batch_first, **options) for kind in (LSTM, nn.LSTM))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 3)
    B, rows = x.shape[0 if batch_first else 1], 2 * (1 + ours.bidirectional)
    state = (torch.randn(rows, B, ours.proj_size or 4), torch.randn(rows, B, 4))
    assert_close(ours(x), theirs(x))
    assert_close(ours(x, state), theirs(x, state))


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"proj_size": 2}])
def test_a_stack_of_plain_layers_is_the_fused_stack(options):
    layer = LSTM(3, 4, 2, batch_first=True, **options).double()
    x, rows = torch.randn(2, 5, 3, dtype=torch.float64), 2 * (1 + layer.bidirectional)
    state = tuple(torch.randn(rows, 2, w, dtype=torch.float64) for w in (layer.proj_size or 4, 4))
    run = run_stack(lstm_layer, x, state, weights_of(layer), num_layers=2, bidirectional=layer.bidirectional)
    assert_close(run, layer(x, state))


def test_one_step_is_torchs_cell():
    cell = nn.LSTMCell(3, 4)
    x, h, c = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    ours = lstm_cell(x, h, c, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    assert_close(ours, cell(x, (h, c)), rtol=0, atol=1e-6)


def test_step_by_step_is_the_whole_sequence():
    layer, x, state, outputs = LSTM(3, 4, 2, batch_first=True), torch.randn(2, 5, 3), None, []
    for t in range(5):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    assert_close((torch.stack(outputs, 1), state), layer(x))


@pytest.mark.parametrize("make", [LSTM, nn.LSTM])
def test_forget_bias_makes_the_gate_that_it_says(make):
    lstm = set_forget_bias(make(3, 4, 2), 1.0)
    for layer in range(2):
        total = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}")
        assert_close(total[4:8], torch.ones(4))
    assert LSTM(3, 4).set_forget_bias(2.0).bias_ih_l0[4:8].eq(2.0).all()
    inside = set_forget_bias(nn.Sequential(nn.LSTMCell(3, 4), nn.Linear(4, 2)), 3.0)[0]
    assert_close((inside.bias_ih + inside.bias_hh)[4:8], torch.full((4,), 3.0))


def test_it_has_four_blocks_of_weights_where_an_rnn_has_one():
    count = [sum(p.numel() for p in kind(10, 20).parameters()) for kind in (LSTM, nn.RNN)]
    assert count[0] == 4 * count[1] == 4 * (20 * 10 + 20 * 20 + 2 * 20)


def test_gradient_of_the_first_input_outlives_that_of_a_plain_network():
    reached = []
    for make in (lambda: LSTM(2, 16, batch_first=True).set_forget_bias(4.0), lambda: nn.RNN(2, 16, batch_first=True)):
        torch.manual_seed(0)
        x = torch.randn(4, 100, 2, requires_grad=True)
        y = make()(x)[0]
        reached.append(torch.autograd.grad(y[:, -1].sum(), x)[0][:, 0].norm().item())
    assert reached[0] > 1e3 * reached[1]


def test_no_dropout_between_layers_when_evaluating():
    layer, x = LSTM(3, 4, 2, batch_first=True, dropout=0.5), torch.randn(2, 5, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    assert torch.equal(layer.eval()(x)[0], layer(x)[0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: LSTM(3, 4, proj_size=4), ValueError, "below hidden_size 4"),
        (lambda: LSTM(3, 4, bias=False).set_forget_bias(1.0), ValueError, "bias=True"),
        (lambda: set_forget_bias(nn.GRU(3, 4), 1.0), ValueError, "has 12 rows, but an LSTM of hidden_size 4 has 16"),
        (lambda: lstm_layer(torch.zeros(1, 0, 3), *layer_inputs()[1:]), ValueError, "at least one step"),
        (lambda: LSTM(3, 4)(torch.randn(5, 2, 3), torch.zeros(1, 2, 4)), TypeError, r"pair \(h, c\)"),
        (
            lambda: LSTM(3, 4)(torch.randn(5, 2, 3), (torch.zeros(1, 2, 4), torch.zeros(1, 2, 3))),
            ValueError,
            "c has shape",
        ),
        (lambda: LSTM(3, 4)(torch.randn(5, 3)), ValueError, r"unsqueeze\(1\)"),
        (lambda: LSTM(3, 4)(torch.randn(0, 2, 3)), ValueError, "at least one step"),
        (lambda: LSTM(3, 4).step(torch.randn(2, 5)), ValueError, "input_size 3"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
