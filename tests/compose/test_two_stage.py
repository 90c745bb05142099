"""Experts first, the gate after."""

import copy

import pytest
import torch
from torch import nn

from nnvocab.compose.freezing import freeze
from nnvocab.compose.gate import Gate
from nnvocab.compose.stitch import stitched_branches
from nnvocab.compose.two_stage import fit, train_experts_then_gate


def routed(n=128, seed=0):
    """Two rules, one for a high first number, one for a low: inputs, targets, which is high."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 8, generator=generator)
    high = torch.arange(n) % 2 == 0
    x[:, 0] = torch.where(high, 0.7 + 0.3 * x[:, 0], 0.3 * x[:, 0])
    return x, torch.where(high[:, None], x[:, 1:4], 1 - x[:, 4:7]), high


@pytest.mark.oracle("expert-pre-training-then-gate-training", by="brute force")
def test_the_gate_finds_the_expert_that_an_exhaustive_search_prefers():
    torch.manual_seed(0)
    x, y, high = routed()
    experts = [nn.Linear(8, 3), nn.Linear(8, 3)]
    parts = [(x[high], y[high]), (x[~high], y[~high])]
    result = train_experts_then_gate(experts, parts, Gate(nn.Linear(8, 2), temperature=0.5), (x, y), steps=200, lr=0.05)
    with torch.no_grad():
        errors = torch.stack([(e(x) - y).square().sum(-1) for e in experts], -1)  # try both for every sample
    chosen = result.weights[-1].argmax(-1)
    assert (chosen == errors.argmin(-1)).float().mean() > 0.95
    assert result.losses[-1] < 0.1 * result.losses[0]
    assert all(course[-1] < 0.1 * course[0] for course in result.expert_losses)


def test_the_second_stage_moves_the_gate_alone_bit_for_bit():
    torch.manual_seed(0)
    x, y, high = routed(32)
    parts = [(x[high], y[high]), (x[~high], y[~high])]
    result = train_experts_then_gate([nn.Linear(8, 3), nn.Linear(8, 3)], parts, Gate(nn.Linear(8, 2)), (x, y), steps=10)
    assert result.trained == {"gate.layer.weight": 16, "gate.layer.bias": 2}
    assert all((amount > 0) == ("gate" in name) for name, amount in result.moved.items())
    assert len(result.losses) == 10 and result.weights.shape[1:] == (32, 2)


def test_stitched_experts_and_a_head_are_told_apart():
    x, y, high = routed(32)
    branches = stitched_branches([nn.Linear(8, 3), nn.Linear(8, 5)], (8,), 3)
    parts = [(x[high], y[high]), (x[~high], y[~high])]
    head = nn.Linear(3, 1)
    result = train_experts_then_gate(branches, parts, Gate(nn.Linear(8, 2)), (x, y[:, :1]), steps=3, head=head)
    assert sum(result.trained.values()) == (8 * 2 + 2) + (3 + 1)
    assert {name.split(".")[0] for name in result.trained} == {"0", "1"}  # the mixture's gate, and the head


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="broadcasting would"):
        fit(nn.Linear(8, 8), torch.zeros(4, 8), torch.ones(4, 1))
    with pytest.raises(ValueError, match="nothing in the module is trainable"):
        fit(freeze(nn.Linear(2, 2)), torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="1 data sets for 2 experts"):
        train_experts_then_gate(
            [nn.Linear(2, 2)] * 2, [(torch.zeros(1, 2),) * 2], nn.Identity(), (torch.zeros(1, 2),) * 2
        )


def test_the_second_stage_is_adam_without_a_break():
    x, y, high = routed(32)
    parts = [(x[high], y[high]), (x[~high], y[~high])]
    torch.manual_seed(0)
    experts, gate = [nn.Linear(8, 3), nn.Linear(8, 3)], Gate(nn.Linear(8, 2))
    copies, other = copy.deepcopy((experts, gate))
    result = train_experts_then_gate(experts, parts, gate, (x, y), steps=100, lr=0.05)
    for expert, own in zip(copies, parts, strict=True):
        fit(expert, *own, steps=100, lr=0.05)
    optimizer = torch.optim.Adam(other.parameters(), lr=0.05)
    for step in range(100):
        if step % 2 == 0:  # fifty records: every second step of 100
            torch.testing.assert_close(result.weights[step // 2], other(x), rtol=1e-3, atol=1e-4)
        optimizer.zero_grad()
        w = other(x)
        (w[:, :1] * copies[0](x) + w[:, 1:] * copies[1](x) - y).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(gate.layer.weight, other.layer.weight, rtol=1e-3, atol=1e-3)
    assert len(result.weights) == len(result.course) == 51 and len(result.losses) == 100


def test_the_course_says_what_moved_when():
    x, y, high = routed(32)
    parts = [(x[high], y[high]), (x[~high], y[~high])]
    result = train_experts_then_gate([nn.Linear(8, 3), nn.Linear(8, 3)], parts, Gate(nn.Linear(8, 2)), (x, y), steps=3)
    assert len(result.course) == 4 and result.course[-1] == result.moved
    assert all(amount == 0 for amount in result.course[0].values())
    assert result.course[1]["gate.layer.weight"] > 0 == result.course[3]["branches.1.weight"]


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        fit(nn.Linear(2, 2), torch.zeros(0, 2), torch.zeros(0, 2))
