from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nnvocab.compose import TargetPropagation
from nnvocab.compose.target_propagation import target_by_weights


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return (
        [
            nn.Sequential(nn.Linear(5, 7), nn.Tanh()),
            nn.Sequential(nn.Linear(7, 6), nn.Sigmoid()),
            nn.Linear(6, 3),
        ],
        torch.randn(8, 5, dtype=dtype),
        torch.randn(8, 3, dtype=dtype),
    )


@pytest.mark.oracle("target-propagation", by="peer: torch")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_with_the_chain_rule_it_is_gradient_descent_on_half_the_squared_error(momentum):
    layers, x, y = network()
    layers = [layer.double() for layer in layers]
    theirs = nn.Sequential(*copy.deepcopy(layers))
    ours = TargetPropagation(layers, rate=0.05, momentum=momentum)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=momentum)
    for _ in range(5):
        optimizer.zero_grad()
        (0.5 * (theirs(x) - y).square().sum(dim=1).mean()).backward()
        optimizer.step()
        ours.step(x, y)
    for p, q in zip(ours.layers.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-10, atol=1e-12)


def test_targets_by_weights_are_the_sums_written_out():
    weight, target = torch.tensor([[1.0, -2.0], [3.0, 0.5]]), torch.tensor([[10.0, 20.0]])
    expected = torch.tensor([[(1 * 10 + 3 * 20) / 4, (-2 * 10 + 0.5 * 20) / 2.5]])
    torch.testing.assert_close(target_by_weights(weight, target), expected)


def test_a_perfect_inverse_makes_the_target_below_exact():
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    net = TargetPropagation([first, second], feedback="difference")
    net.inverses[0] = nn.Linear(3, 3, bias=False)
    net.inverses[0].weight.data.copy_(torch.linalg.inv(second.weight))
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    below, _ = net.targets(net.activations(x), y)
    torch.testing.assert_close(second(below), y, rtol=1e-3, atol=1e-4)


def test_an_inverse_starts_near_the_transposed_weights_and_the_generator_draws_what_is_added():
    layers = [nn.Linear(3, 40), nn.Linear(40, 30)]
    one, two = (
        TargetPropagation(layers, feedback="difference", generator=torch.Generator().manual_seed(0)) for _ in range(2)
    )
    first, second = one.inverses[0][0], two.inverses[0][0]
    torch.testing.assert_close(first.weight, second.weight, rtol=0, atol=0)
    assert (first.weight - layers[1].weight.T).std().item() == pytest.approx(0.01, rel=0.1)
    assert (first.bias == 0).all()


@pytest.mark.parametrize("feedback", ["chain", "weights", "difference"])
def test_no_gap_means_no_change_of_the_last_layer(feedback):
    layers, x, _ = network(torch.float32)
    net = TargetPropagation(layers, feedback=feedback)
    before = layers[-1].weight.clone()
    net.step(x, net(x).detach())
    torch.testing.assert_close(layers[-1].weight, before)


@pytest.mark.parametrize("feedback", ["chain", "difference"])
def test_steps_lower_the_error(feedback):
    layers, x, y = network(torch.float32)
    net = TargetPropagation(layers, feedback=feedback, rate=0.1)
    before = (net(x) - y).square().mean()
    for _ in range(200):
        net.step(x, y)
    assert (net(x) - y).square().mean() < 0.5 * before


def test_frozen_layers_stay():
    layers, x, y = network(torch.float32)
    layers[1].requires_grad_(False)
    net = TargetPropagation(layers)
    before = [p.clone() for p in layers[1].parameters()], layers[0][0].weight.clone()
    net.step(x, y)
    for p, old in zip(layers[1].parameters(), before[0], strict=True):
        torch.testing.assert_close(p, old, rtol=0, atol=0)
    assert not torch.equal(layers[0][0].weight, before[1])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no layer was given"):
        TargetPropagation([])
    with pytest.raises(ValueError, match="feedback is 'tween', but must be one of chain"):
        TargetPropagation([nn.Linear(1, 1)], feedback="tween")
    with pytest.raises(ValueError, match="rate 0 must be positive"):
        TargetPropagation([nn.Linear(1, 1)], rate=0)
    with pytest.raises(ValueError, match="rate nan must be positive"):
        TargetPropagation([nn.Linear(1, 1)], rate=float("nan"))
    for momentum in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"momentum {momentum} at least 0"):
            TargetPropagation([nn.Linear(1, 1)], momentum=momentum)
    with pytest.raises(ValueError, match=r"layer 1 has no nn.Linear inside.*use feedback='chain'"):
        TargetPropagation([nn.Linear(1, 1), nn.Tanh()], feedback="weights")
    two = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"layer 1 has 2 nn.Linear inside.*exactly one.*split the layer"):
        TargetPropagation([nn.Linear(1, 1), two], feedback="difference")
    TargetPropagation([two, nn.Linear(1, 1)], feedback="difference")  # below the first layer no target is needed
    with pytest.raises(TypeError, match="layers is one Linear, but must be a list"):
        TargetPropagation(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="layer 0 is a str, but must be"):
        TargetPropagation(["linear"])
    with pytest.raises(ValueError, match="the batch is empty"):
        TargetPropagation([nn.Linear(1, 1)]).step(torch.ones(0, 1), torch.ones(0, 1))
    with pytest.raises(ValueError, match=r"shape \(2,\), but the output \(2, 3\).*one-hot"):
        TargetPropagation([nn.Linear(4, 3)]).step(torch.ones(2, 4), torch.tensor([0, 1]))
