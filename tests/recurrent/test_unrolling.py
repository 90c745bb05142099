"""What unrolling must hold: the gradient of shared weights is the sum of the gradients of their copies."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.recurrent import LSTM, RNN, truncated_bptt, unroll


def inputs(T=4):
    shapes = [(2, T, 3), (2, 4), (4, 3), (4, 4), (4,)]
    return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("unrolling-through-time", by="brute force")
def test_gradient_of_the_shared_weight_is_the_sum_over_steps_by_the_chain_rule():
    """The recursion of the paper written out: delta_t = (dL/dh_t + W^T delta_{t+1}) (1 - h_t^2)."""
    x, h0, w_ih, w_hh, bias = inputs()
    h = unroll(x, h0, w_ih, w_hh, bias).outputs
    weight = torch.randn(4, dtype=torch.float64)
    gradients = torch.autograd.grad((h * weight).sum(), [w_ih, w_hh, h0])
    with torch.no_grad():
        before = torch.cat([h0[:, None], h[:, :-1]], dim=1)
        back = torch.zeros(2, 4, dtype=torch.float64)
        for_ih, for_hh = torch.zeros_like(w_ih), torch.zeros_like(w_hh)
        for t in (3, 2, 1, 0):
            delta = (weight + back) * (1 - h[:, t] ** 2)
            for_ih += delta.T @ x[:, t]
            for_hh += delta.T @ before[:, t]
            back = delta @ w_hh
    assert_close(gradients, (for_ih, for_hh, back))


def test_autograd_sums_the_gradients_of_the_copies():
    x, h0, w_ih, w_hh, bias = inputs()
    run = unroll(x, h0, w_ih, w_hh, bias)
    loss = run.outputs.square().sum()
    per_step = torch.autograd.grad(loss, [w for _, w in run.copies], retain_graph=True)
    assert len(per_step) == 4
    assert_close(sum(per_step), torch.autograd.grad(loss, w_hh)[0])


def test_unrolled_it_is_torchs_layer():
    rnn, x = nn.RNN(3, 4, batch_first=True), torch.randn(2, 4, 3)
    weights = (rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0 + rnn.bias_hh_l0)
    assert_close(unroll(x, torch.zeros(2, 4), *weights).outputs, rnn(x)[0])


def gradients(layer, x, steps):
    layer.zero_grad()
    total, state = truncated_bptt(layer, x, lambda y, _: y.square().sum(), steps=steps)
    return total, state, [p.grad.clone() for p in layer.parameters()]


@pytest.mark.parametrize("kind", [RNN, LSTM])
def test_a_window_as_long_as_the_sequence_is_the_full_gradient(kind):
    layer, x = kind(3, 4, batch_first=True).double(), torch.randn(2, 6, 3, dtype=torch.float64)
    loss = layer(x)[0].square().sum()
    expected = list(torch.autograd.grad(loss, list(layer.parameters())))
    total, _, found = gradients(layer, x, 6)
    assert_close(found, expected)
    assert total == pytest.approx(loss.item())


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_short_windows_give_the_same_loss_and_state_and_another_gradient(steps):
    layer, x = RNN(3, 4, batch_first=True).double(), torch.randn(2, 6, 3, dtype=torch.float64)
    full, short = gradients(layer, x, 6), gradients(layer, x, steps)
    assert short[0] == pytest.approx(full[0])
    assert_close(short[1], full[1])
    assert not torch.allclose(short[2][1], full[2][1])
    assert not short[1].requires_grad


def test_a_window_learns_nothing_from_a_later_one():
    """With a loss on the last step alone, the windows before it send no gradient to the weights of the input."""
    layer, x = RNN(3, 4, batch_first=True), torch.randn(1, 6, 3)
    x[:, 3:] = 0.0
    truncated_bptt(layer, x, lambda y, start: y[:, -1].sum() * (start == 3), steps=3)
    assert layer.weight_ih_l0.grad.abs().max() == 0
    assert layer.weight_hh_l0.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("layer", "steps", "message"),
    [
        (RNN(3, 4, batch_first=True), 0, "at least 1 step"),
        (RNN(3, 4), 2, "batch_first"),
        (RNN(3, 4, batch_first=True, bidirectional=True), 2, "bidirectional"),
    ],
)
def test_what_does_not_fit_is_refused(layer, steps, message):
    with pytest.raises(ValueError, match=message):
        truncated_bptt(layer, torch.randn(1, 4, 3), lambda y, _: y.sum(), steps=steps)


@pytest.mark.parametrize("shape", [(4, 3), (1, 0, 3)])
def test_what_is_no_batch_of_sequences_is_refused(shape):
    with pytest.raises(ValueError, match="x has shape"):
        truncated_bptt(RNN(3, 4, batch_first=True), torch.randn(shape), lambda y, _: y.sum(), steps=2)
    with pytest.raises(ValueError, match="x has shape"):
        unroll(torch.randn(shape), torch.zeros(1, 4), torch.zeros(4, 3), torch.zeros(4, 4))
