"""What the GRU must hold, with the reset gate after the product as torch has it, and before it as the paper has it."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.recurrent import GRU, LSTM, gru_cell, gru_layer, gru_layer_fused
from nnvocab.recurrent.stack import run_stack, weights_of


@pytest.mark.oracle("gated-recurrent-unit", by="brute force")
@pytest.mark.parametrize("reset_after", [True, False])
def test_is_the_equations_written_out_number_by_number(reset_after):
    H = 2
    layer = GRU(1, H, batch_first=True, reset_after=reset_after).double()
    x = torch.randn(1, 4, 1, dtype=torch.float64)
    w, u, b, d = (p.detach().tolist() for p in weights_of(layer))

    def sigmoid(v):
        return 1 / (1 + math.exp(-v))

    h = [0.0] * H
    for t in range(4):
        v, before = x[0, t, 0].item(), h[:]
        r = [sigmoid(w[j][0] * v + b[j] + sum(u[j][k] * before[k] for k in range(H)) + d[j]) for j in range(H)]
        for j in range(H):
            row = H + j
            z = sigmoid(w[row][0] * v + b[row] + sum(u[row][k] * before[k] for k in range(H)) + d[row])
            row = 2 * H + j
            if reset_after:
                past = r[j] * (sum(u[row][k] * before[k] for k in range(H)) + d[row])
            else:
                past = sum(u[row][k] * r[k] * before[k] for k in range(H)) + d[row]
            h[j] = (1 - z) * math.tanh(w[row][0] * v + b[row] + past) + z * before[j]
    assert_close(layer(x)[1][0, 0].detach(), torch.tensor(h, dtype=torch.float64))


def test_one_step_is_torchs_cell():
    cell, x, h = nn.GRUCell(3, 4), torch.randn(2, 3), torch.randn(2, 4)
    assert_close(gru_cell(x, h, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh), cell(x, h))


@pytest.mark.parametrize("bias", [True, False])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(bias):
    shapes = [(2, 6, 3), (2, 4), (12, 3), (12, 4), *[(12,), (12,)][: 2 * bias]]
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    results = []
    for function in (gru_layer, gru_layer_fused):
        y, (h,) = function(*inputs)
        loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum() + h.square().sum()
        results.append([y, h, *torch.autograd.grad(loss, inputs)])
    assert_close(*results)


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True}])
@pytest.mark.parametrize("batch_first", [True, False])
def test_weights_of_torch_load_and_give_the_same(options, batch_first):
    ours, theirs = (kind(3, 4, 2, batch_first=batch_first, **options) for kind in (GRU, nn.GRU))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 3)
    h = torch.randn(2 * (1 + ours.bidirectional), x.shape[0 if batch_first else 1], 4)
    assert_close(ours(x), theirs(x))
    assert_close(ours(x, h), theirs(x, h))


def test_a_stack_of_plain_layers_is_the_fused_stack():
    layer = GRU(3, 4, 2, batch_first=True, bidirectional=True).double()
    x, h = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(4, 2, 4, dtype=torch.float64)
    y, (last,) = run_stack(gru_layer, x, (h,), weights_of(layer), num_layers=2, bidirectional=True)
    assert_close((y, last), layer(x, h))


@pytest.mark.parametrize("batch_first", [True, False])
def test_reset_before_has_the_same_shapes_and_another_result(batch_first):
    before = GRU(3, 4, 2, batch_first=batch_first, bidirectional=True, reset_after=False)
    after = GRU(3, 4, 2, batch_first=batch_first, bidirectional=True)
    after.load_state_dict(before.state_dict())
    x = torch.randn(2, 5, 3)
    (y, h), (z, g) = before(x), after(x)
    assert y.shape == z.shape and h.shape == g.shape and not torch.allclose(y, z)


def test_where_to_reset_makes_no_difference_to_a_gate_that_is_open():
    before, after = GRU(3, 4, batch_first=True, reset_after=False), GRU(3, 4, batch_first=True)
    with torch.no_grad():
        before.bias_ih_l0[:4] = 50.0
    after.load_state_dict(before.state_dict())
    x = torch.randn(2, 5, 3)
    assert_close(before(x), after(x))


def test_it_has_three_quarters_of_the_parameters_of_an_lstm():
    gru, lstm = (sum(p.numel() for p in kind(10, 20, 2).parameters()) for kind in (GRU, LSTM))
    assert 4 * gru == 3 * lstm


@pytest.mark.parametrize("reset_after", [True, False])
def test_step_by_step_is_the_whole_sequence(reset_after):
    layer, x, state, outputs = GRU(3, 4, 2, reset_after=reset_after), torch.randn(5, 2, 3), None, []
    for t in range(5):
        y, state = layer.step(x[t], state)
        outputs.append(y)
    assert_close((torch.stack(outputs), state), layer(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GRU(3, 0), "hidden_size is 0"),
        (lambda: gru_layer(torch.zeros(1, 0, 3), *[torch.zeros(1, 3)] * 3), "at least one step"),
        (lambda: GRU(3, 4)(torch.randn(5, 2, 4)), "input_size 3"),
        (lambda: GRU(3, 4)(torch.randn(5, 2, 3), torch.zeros(2, 2, 4)), "state has shape"),
        (lambda: GRU(3, 4)(torch.randn(0, 2, 3)), "at least one step"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
