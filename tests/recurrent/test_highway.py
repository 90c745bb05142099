"""What survives the way back through time, held to autograd."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.recurrent import LSTM, cell_state_gradient, gradient_over_time, hidden_state_gradient, lstm_gates


def cell_of(lstm, x, c0):
    h0 = torch.zeros_like(c0)
    return lstm(x, (h0, c0))[1][1]


@pytest.mark.oracle("cell-state-gradient-highway", by="closed form")
@pytest.mark.parametrize("T", [1, 7, 300])
def test_is_autograds_derivative_where_the_gates_do_not_see_the_cell(T):
    """With the weights of h at zero the cell alone carries the past, so the direct path is the whole derivative."""
    lstm = LSTM(2, 3, batch_first=True).double()
    with torch.no_grad():
        lstm.weight_hh_l0.zero_()
    x, c0 = torch.randn(1, T, 2, dtype=torch.float64), torch.randn(1, 1, 3, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(cell_of(lstm, x, c0).sum(), c0)
    assert_close(cell_state_gradient(lstm_gates(lstm, x).f)[:, 0], gradient[0], rtol=1e-9, atol=0)


def test_is_the_direct_path_when_gates_do_see_the_cell_through_h():
    """Autograd with every gate held fixed, against the product; the total derivative is another one."""
    lstm, x = LSTM(2, 3, batch_first=True).double(), torch.randn(1, 6, 2, dtype=torch.float64)
    c0 = torch.randn(1, 1, 3, dtype=torch.float64, requires_grad=True)
    gates = lstm_gates(lstm, x, (torch.zeros_like(c0), c0))
    fixed = {k: getattr(gates, k).detach() for k in "ifgo"}
    held = lstm_gates(lstm, x, (torch.zeros_like(c0), c0), force=fixed)
    (direct,) = torch.autograd.grad(held.c[:, -1].sum(), c0)
    (total,) = torch.autograd.grad(gates.c[:, -1].sum(), c0)
    product = cell_state_gradient(fixed["f"])
    assert_close(product[:, 0], direct[0])
    assert product.shape == (1, 7, 3) and product[:, -1].eq(1).all()
    assert not torch.allclose(total[0], direct[0], rtol=1e-3)


@pytest.mark.parametrize(("bias", "low", "high"), [(0.0, 0.0, 1e-25), (1.0, 1e-16, 1e-11), (4.0, 0.05, 0.3)])
def test_it_decays_unless_the_forget_gate_is_near_1(bias, low, high):
    """d c_100 / d c_0 by autograd, for biases whose gates are 0.5, 0.73 and 0.98."""
    lstm = LSTM(1, 4, batch_first=True).double().set_forget_bias(bias)
    with torch.no_grad():
        lstm.weight_hh_l0.zero_()
    c0 = torch.zeros(1, 1, 4, dtype=torch.float64, requires_grad=True)
    c = cell_of(lstm, torch.zeros(1, 100, 1, dtype=torch.float64), c0)
    (gradient,) = torch.autograd.grad(c.sum(), c0)
    assert low <= gradient.max() <= high


def test_the_total_gradient_of_an_lstm_can_grow():
    torch.manual_seed(2)
    lstm = LSTM(1, 8, batch_first=True).double().set_forget_bias(2.0)
    with torch.no_grad():
        lstm.weight_hh_l0.mul_(20)
    c0 = torch.zeros(1, 1, 8, dtype=torch.float64, requires_grad=True)
    sizes = []
    for T in (1, 60):
        c = cell_of(lstm, torch.zeros(1, T, 1, dtype=torch.float64), c0)
        sizes.append(torch.autograd.grad(c.sum(), c0)[0].norm())
    assert sizes[1] > 1000 * sizes[0]


def test_the_product_of_jacobians_is_autograds_derivative_of_an_rnn():
    rnn, x = nn.RNN(2, 3, batch_first=True).double(), torch.randn(2, 5, 2, dtype=torch.float64)
    h0 = torch.randn(1, 2, 3, dtype=torch.float64)
    found = hidden_state_gradient(rnn(x, h0)[0], rnn.weight_hh_l0)
    assert found.shape == (2, 6, 3, 3)
    for b in range(2):
        expected = torch.autograd.functional.jacobian(lambda h, b=b: rnn(x[[b]], h[None, None])[1][0, 0], h0[0, b])
        assert_close(found[b, 0], expected)
        assert_close(found[b, -1], torch.eye(3, dtype=torch.float64))


def test_gradients_of_a_plain_network_vanish_with_distance():
    rnn = nn.RNN(2, 16, batch_first=True)
    sizes = gradient_over_time(rnn, torch.randn(4, 60, 2)).mean(0)
    assert sizes.shape == (60,) and sizes[0] < 1e-6 * sizes[-1]


def test_gradient_over_time_is_a_finite_difference():
    rnn, x = nn.GRU(1, 3, batch_first=True).double(), torch.randn(2, 4, 1, dtype=torch.float64)
    for b in range(2):
        for t in range(4):
            moved = x.clone()
            moved[b, t] += 1e-6
            slope = (rnn(moved)[0][b, -1].sum() - rnn(x)[0][b, -1].sum()) / 1e-6
            assert_close(gradient_over_time(rnn, x)[b, t], slope.abs(), rtol=1e-4, atol=1e-8)


def test_a_layer_with_time_first_is_refused():
    with pytest.raises(ValueError, match="batch_first=True"):
        gradient_over_time(nn.RNN(2, 3), torch.randn(1, 4, 2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: gradient_over_time(nn.RNN(2, 3, batch_first=True), torch.randn(4, 2)),
        lambda: cell_state_gradient(torch.rand(4, 3)),
        lambda: cell_state_gradient(torch.rand(1, 0, 3)),
        lambda: hidden_state_gradient(torch.rand(1, 4, 3), torch.rand(3, 2)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call):
    with pytest.raises(ValueError, match="has shape"):
        call()
