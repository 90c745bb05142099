"""What the recurrent network must hold: it is the loop over its equation, and torch's layer."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.recurrent import RNN, rnn_cell, rnn_layer, rnn_layer_fused
from nnvocab.recurrent.rnn import one_step
from nnvocab.recurrent.stack import run_stack, weights_of


def layer_inputs(bias=True):
    shapes = [(2, 6, 3), (2, 4), (4, 3), (4, 4), *[(4,), (4,)][: 2 * bias]]
    return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("recurrent-neural-network", by="brute force")
def test_is_the_equation_written_out_number_by_number():
    layer = RNN(2, 3, batch_first=True).double()
    x = torch.randn(1, 4, 2, dtype=torch.float64)
    w_ih, w_hh, b_ih, b_hh = (w.detach().numpy() for w in weights_of(layer))
    h = [0.0] * 3
    for t in range(4):
        before = h[:]
        for j in range(3):
            total = b_ih[j] + b_hh[j]
            total += sum(w_ih[j, k] * float(x[0, t, k]) for k in range(2))
            total += sum(w_hh[j, k] * before[k] for k in range(3))
            h[j] = np.tanh(total)
        assert_close(layer(x)[0][0, t].detach().numpy(), np.array(h))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bias", [True, False])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(nonlinearity, bias):
    inputs = layer_inputs(bias)
    results = []
    for function in (rnn_layer, rnn_layer_fused):
        y, (last,) = function(*inputs, nonlinearity=nonlinearity)
        loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum() + last.square().sum()
        results.append([y, last, *torch.autograd.grad(loss, inputs)])
    assert_close(*results)


@pytest.mark.parametrize("options", [{}, {"bias": False, "nonlinearity": "relu"}, {"bidirectional": True}])
@pytest.mark.parametrize("batch_first", [True, False])
def test_weights_of_torch_load_and_give_the_same(options, batch_first):
    ours = RNN(3, 4, 2, batch_first=batch_first, **options)
    theirs = nn.RNN(3, 4, 2, batch_first=batch_first, **options)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 3)
    B = x.shape[0] if batch_first else x.shape[1]
    h = torch.randn(2 * (1 + ours.bidirectional), B, 4)
    assert_close(ours(x), theirs(x))
    assert_close(ours(x, h), theirs(x, h))


def test_the_same_seed_makes_the_weights_that_torch_makes():
    made = []
    for kind in (RNN, nn.RNN):
        torch.manual_seed(5)
        made.append([p.detach() for p in kind(3, 4, 2, bidirectional=True).parameters()])
    assert_close(*made)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_stack_of_plain_layers_is_the_fused_stack(bidirectional):
    layer = RNN(3, 4, 3, batch_first=True, bidirectional=bidirectional).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    h = torch.randn(3 * (1 + bidirectional), 2, 4, dtype=torch.float64)
    y, (last,) = run_stack(rnn_layer, x, (h,), weights_of(layer), num_layers=3, bidirectional=bidirectional)
    assert_close((y, last), layer(x, h))


def test_step_by_step_is_the_whole_sequence():
    layer, x, state, outputs = RNN(3, 4, 2, batch_first=True), torch.randn(2, 5, 3), None, []
    for t in range(5):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    assert_close((torch.stack(outputs, 1), state), layer(x))


def test_token_3_depends_on_tokens_1_and_2_and_a_dense_layer_does_not():
    x = torch.randn(1, 3, 3)
    changed = x.clone()
    changed[:, 0] += 1.0
    rnn, dense = RNN(3, 4, batch_first=True), nn.Linear(3, 4)
    assert not torch.allclose(rnn(x)[0][:, 2], rnn(changed)[0][:, 2])
    assert torch.equal(dense(x)[:, 2], dense(changed)[:, 2])


def test_dropout_acts_between_layers_while_training_only():
    layer, x = RNN(3, 4, 2, batch_first=True, dropout=0.5), torch.randn(2, 5, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_a_row_of_the_batch_does_not_see_the_others():
    layer, x = RNN(3, 4, batch_first=True), torch.randn(3, 5, 3)
    y, last = layer(x)
    assert_close((y[:1], last[:, :1]), layer(x[:1]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RNN(0, 4), "input_size is 0"),
        (lambda: RNN(3, 4, num_layers=0), "num_layers is 0"),
        (lambda: RNN(3, 4, nonlinearity="gelu"), "must be 'tanh' or 'relu'"),
        (lambda: RNN(3, 4, dropout=1.5), "dropout is 1.5"),
        (lambda: rnn_cell(*[torch.zeros(1, 1)] * 4, nonlinearity="gelu"), "is 'gelu'"),
        (lambda: rnn_layer_fused(torch.zeros(1, 1, 1), *[torch.zeros(1, 1)] * 3, nonlinearity="gelu"), "is 'gelu'"),
        (lambda: rnn_layer(torch.zeros(1, 0, 1), *[torch.zeros(1, 1)] * 3), "at least one step"),
    ],
)
def test_sizes_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("shape", "state", "message"),
    [
        ((5, 3), None, r"unsqueeze\(0\)"),
        ((2, 0, 3), None, "at least one step"),
        ((2, 5, 2), None, "input_size 3"),
        ((2, 5, 3), (1, 3, 4), "state has shape"),
    ],
)
def test_sequences_and_states_that_do_not_fit_are_refused(shape, state, message):
    with pytest.raises(ValueError, match=message):
        RNN(3, 4, batch_first=True)(torch.randn(shape), None if state is None else torch.zeros(state))


def test_a_bidirectional_layer_cannot_go_step_by_step():
    with pytest.raises(ValueError, match="bidirectional"):
        one_step(nn.RNN(3, 4, bidirectional=True), torch.randn(2, 3))
