"""The three ways to send tokens to experts, held to the sum written out."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.layers.experts import (
    SwiGLUExperts,
    dispatch,
    line_up,
    mix_experts,
    mix_experts_grouped,
    seats,
)


def setting(N=9, C=5, E=4, k=2, hidden=3):
    draw = torch.Generator().manual_seed(0)
    x, gate, up, down, scores = (
        torch.randn(s, generator=draw, dtype=torch.float64, requires_grad=True)
        for s in ((N, C), (E, hidden, C), (E, hidden, C), (E, C, hidden), (N, E))
    )
    kept, experts = scores.topk(k)
    return [x, experts, kept.softmax(-1), gate, up, down], [x, scores, gate, up, down]


@pytest.mark.parametrize("capacity", [None, 1, 3, 9])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_grouped_form_agrees_on_the_value_and_on_every_gradient(k, capacity):
    inputs, free = setting(k=k)
    out = torch.randn(9, 5, dtype=torch.float64)
    plain, grouped = (f(*inputs, capacity=capacity) for f in (mix_experts, mix_experts_grouped))
    assert_close(plain, grouped)
    grads = [torch.autograd.grad((y * out).sum(), free, retain_graph=True) for y in (plain, grouped)]
    assert_close(*grads)


def test_first_choices_are_seated_before_second_ones():
    experts = torch.tensor([[0, 1], [1, 0], [0, 1]])
    order, _ = line_up(experts, 3)
    place, count = seats(experts, 3)
    assert count.tolist() == [3, 3, 0]
    assert place.view(2, 3).T.tolist() == [[0, 1], [0, 2], [1, 2]]  # expert 0: tokens 0 and 2 first, then 1
    assert experts.T.reshape(-1)[order].tolist() == [0, 0, 0, 1, 1, 1]


def test_who_finds_no_seat_gets_nothing():
    inputs, _ = setting(N=6, k=1)
    inputs[1] = torch.zeros(6, 1, dtype=torch.long)  # all want expert 0
    y = mix_experts_grouped(*inputs, capacity=2)
    assert (y[:2].abs().sum(-1) > 0).all()
    assert_close(y[2:], torch.zeros_like(y[2:]))


@pytest.mark.parametrize("bias", [False, True])
def test_batch_groups_and_every_are_the_same_networks(bias):
    network, x = SwiGLUExperts(3, 4, 6, bias=bias), torch.randn(3, 5, 4)
    expected = []
    for e in range(3):
        b = (network.gate_bias[e], network.up_bias[e], network.down_bias[e]) if bias else (None, None, None)
        gate, up = F.linear(x[e], network.gate[e], b[0]), F.linear(x[e], network.up[e], b[1])
        expected.append(F.linear(F.silu(gate) * up, network.down[e], b[2]))
    assert_close(network.batch(x), torch.stack(expected))
    count = torch.tensor([2, 0, 3])  # groups of other lengths, one of them empty
    rows = torch.cat([x[0, :2], x[2, :3]])
    assert_close(network.groups(rows, count), torch.cat([expected[0][:2], expected[2][:3]]))
    assert_close(network.every(x[0])[0], expected[0])


def test_biases_and_capacity_do_not_leak_from_empty_seats():
    network, x = SwiGLUExperts(3, 4, 6, bias=True), torch.randn(5, 4)
    experts, weights = torch.tensor([[0], [0], [2], [0], [2]]), torch.ones(5, 1)
    assert_close(dispatch(x, experts, weights, network, capacity=5), dispatch(x, experts, weights, network))
    assert_close(dispatch(x, experts, weights, network, capacity=2)[3], torch.zeros(4))


def test_expert_dropout_acts_in_training_alone():
    network, x = SwiGLUExperts(2, 4, 64, dropout=0.5), torch.randn(2, 3, 4)
    assert not torch.allclose(network.batch(x), network.batch(x))
    network.eval()
    assert_close(network.batch(x), network.groups(x.view(6, 4), torch.tensor([3, 3])).view(2, 3, 4))


@pytest.mark.parametrize(
    ("sizes", "dropout", "message"), [((0, 4, 4), 0.0, "at least 1"), ((2, 4, 4), 1.0, "a probability")]
)
def test_impossible_experts_are_refused(sizes, dropout, message):
    with pytest.raises(ValueError, match=message):
        SwiGLUExperts(*sizes, dropout=dropout)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_groups_have_the_right_gradients(bias, dropout):
    network = SwiGLUExperts(3, 4, 6, bias=bias, dropout=dropout).double()
    x, count = torch.randn(5, 4, dtype=torch.float64, requires_grad=True), torch.tensor([2, 0, 3])

    def call(x, *weights):
        torch.manual_seed(0)  # the same numbers are dropped each time
        return torch.func.functional_call(network, dict(zip(names, weights, strict=True)), (x, count))

    network.forward = network.groups
    names = [n for n, _ in network.named_parameters()]
    assert torch.autograd.gradcheck(call, (x, *network.parameters()))


def test_groups_give_no_gradient_to_what_is_frozen():
    network, count = SwiGLUExperts(2, 4, 6, bias=True).requires_grad_(False), torch.tensor([1, 2])
    x = torch.randn(3, 4, requires_grad=True)
    network.groups(x, count).sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in network.parameters())
    network.down.requires_grad_(True)
    network.groups(x.detach(), count).sum().backward()
    assert network.down.grad is not None
    assert network.gate.grad is None and network.up_bias.grad is None


def test_groups_compute_in_the_type_that_autocast_asks_for():
    network, count = SwiGLUExperts(2, 4, 6), torch.tensor([1, 2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = network.groups(torch.randn(3, 4), count)
        assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert network.down.grad.dtype == torch.float32


def test_no_tokens_give_no_output():
    weights = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.randn(2, 4, 3)
    none = torch.zeros(0, 4), torch.zeros(0, 1, dtype=torch.long), torch.zeros(0, 1)
    assert mix_experts(*none, *weights).shape == mix_experts_grouped(*none, *weights).shape == (0, 4)
