"""Who does what, in numbers."""

import math

import pytest
import torch
from torch.testing import assert_close

from nnvocab.compose.specialization import SCENARIOS, routing_scenario, specialization, usage_by_group


@pytest.mark.oracle("expert-specialization", by="brute force")
def test_is_the_mutual_information_summed_cell_by_cell():
    generator = torch.Generator().manual_seed(0)
    w = torch.rand(30, 4, generator=generator, dtype=torch.float64).softmax(-1)
    groups = torch.randint(3, (30,), generator=generator)
    total = 0.0
    p = torch.zeros(3, 4, dtype=torch.float64)
    for n in range(30):
        p[groups[n]] += w[n] / 30
    for g in range(3):
        for e in range(4):
            total += p[g, e] * math.log(p[g, e] / (p[g].sum() * p[:, e].sum()))
    H = -sum(float(q) * math.log(q) for q in p.sum(1))
    assert_close(specialization(w, groups), total / min(H, math.log(4)))


def test_none_is_zero_and_a_full_division_is_one():
    groups = torch.tensor([0, 1, 0, 1])
    assert_close(specialization(torch.full((4, 3), 1 / 3), groups), torch.tensor(0.0), atol=1e-6, rtol=0)
    assert_close(specialization(torch.eye(2)[groups], groups), torch.tensor(1.0))
    assert_close(specialization(torch.eye(2)[1 - groups], groups), torch.tensor(1.0))  # names do not matter


def test_usage_is_the_mean_weight_within_a_group():
    w = torch.tensor([[0.2, 0.8], [0.4, 0.6], [1.0, 0.0]])
    assert_close(usage_by_group(w, torch.tensor([0, 0, 1])), torch.tensor([[0.3, 0.7], [1.0, 0.0]]))


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_are_drawn_from_the_generator_alone(name):
    draw = [routing_scenario(name, 20, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert_close(draw[0], draw[1])
    assert not torch.equal(draw[0].x, draw[2].x)
    assert draw[0].y.shape == (20, 1) and draw[0].group.bincount().tolist() == [10, 10]


def test_the_targets_follow_the_rule_of_their_group():
    x, y, group = routing_scenario("horizon", 10, generator=torch.Generator().manual_seed(0))
    for n in range(10):
        assert y[n, 0] == (x[n, -1, 0] if group[n] == 0 else x[n, 0, 0])
    x, y, group = routing_scenario("task", 10, generator=torch.Generator().manual_seed(0))
    assert_close(y[1, 0], x[1, 4:8].sum() / 2)
    assert x[:, 8].tolist() == [1.0 - g for g in group.tolist()]
    x, y, group = routing_scenario("difficulty", 10, generator=torch.Generator().manual_seed(0))
    assert set(y[group == 1].flatten().tolist()) <= {-1.0, 1.0} and (x[group == 0, 0] >= 0).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="task, frequency, horizon, difficulty, modality"):
        routing_scenario("colour", 4, generator=torch.Generator())
    with pytest.raises(ValueError, match=r"\(B, N\) and \(B,\) are needed"):
        usage_by_group(torch.zeros(3, 2), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="at least two of each"):
        specialization(torch.ones(3, 2) / 2, torch.zeros(3, dtype=torch.long))


def test_groups_may_be_true_and_false():
    w, high = torch.tensor([[0.2, 0.8], [0.4, 0.6], [1.0, 0.0]]), torch.tensor([False, False, True])
    assert_close(usage_by_group(w, high), usage_by_group(w, high.long()))
    assert_close(specialization(w, high), specialization(w, high.int()))


def test_a_group_nobody_is_in_has_no_usage():
    w = torch.tensor([[0.2, 0.8], [0.4, 0.6]])
    assert_close(usage_by_group(w, torch.tensor([0, 0]), 2), torch.tensor([[0.3, 0.7], [0.0, 0.0]]))


def test_logits_and_broken_groups_are_refused():
    with pytest.raises(ValueError, match="not its logits"):
        specialization(torch.tensor([[-1.0, 2.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="whole number"):
        usage_by_group(torch.ones(2, 2) / 2, torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="0 numbers"):
        usage_by_group(torch.ones(0, 2), torch.zeros(0, dtype=torch.long))


def test_the_five_tasks_are_what_they_say():
    def draw(name):
        return routing_scenario(name, 40, generator=torch.Generator().manual_seed(3))

    x, y, group = draw("task")
    assert_close(y[0, 0], x[0, :4].sum() / 2)
    assert x[:, 9].tolist() == [float(g) for g in group]
    x, y, group = draw("difficulty")
    for n in range(40):
        expected = x[n, 1:].sum() / 2 if group[n] == 0 else (x[n, 1] * x[n, 2]).sign()
        assert_close(y[n, 0], expected)
        assert (x[n, 0] >= 0) == (group[n] == 0)
    x, y, group = draw("horizon")
    assert (x[:, :, 1] == (group == 0).float()[:, None]).all()
    x, y, group = draw("frequency")
    assert ((y > 0).flatten() == (group == 0)).all() and (x.abs() <= y.abs() + 1e-6).all()
    assert (y.abs() >= 0.5).all() and (y.abs() <= 1.5).all() and y.abs().max() > 1.2
    turns = (x[:, 1:].sign() != x[:, :-1].sign()).sum(
        1
    )  # a sine of k periods changes its sign 2k times, give or take one
    assert ((turns[group == 0] >= 1) & (turns[group == 0] <= 5)).all()
    assert ((turns[group == 1] >= 11) & (turns[group == 1] <= 17)).all()
    x, y, group = draw("modality")
    for n in range(40):
        loud, faint = (x[n, :8], x[n, 8:]) if group[n] == 0 else (x[n, 8:], x[n, :8])
        assert_close(y[n, 0], loud.max() if group[n] == 0 else loud.min())
        assert faint.norm() < 0.5 * loud.norm()
