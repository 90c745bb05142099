"""Masks held to torch's own pruning, and schedules to their ends."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.testing import assert_close

from nnvocab.layers.pruning import (
    gradient_mask,
    magnitude_mask,
    mask_of_largest,
    random_mask,
    row_mask,
    scheduled_sparsity,
    two_four_mask,
)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 1.0])
def test_magnitude_and_rows_drop_what_torch_drops(sparsity):
    layer = nn.Linear(12, 10)
    mask = prune.l1_unstructured(nn.Linear(12, 10), "weight", amount=0.5).weight_mask
    assert mask.shape == layer.weight.shape
    theirs = prune.L1Unstructured(sparsity).compute_mask(layer.weight, torch.ones_like(layer.weight))
    assert_close(magnitude_mask(layer.weight, sparsity), theirs.bool())
    theirs = prune.LnStructured(sparsity, n=2, dim=0).compute_mask(layer.weight, torch.ones_like(layer.weight))
    assert_close(row_mask(layer.weight, sparsity), theirs.bool())


def test_gradient_drops_the_weights_whose_removal_changes_the_loss_least():
    torch.manual_seed(0)
    weight, x, target = torch.randn(6, dtype=torch.float64, requires_grad=True), torch.randn(6).double(), 1.0
    with torch.no_grad():
        weight *= 1e-3  # so small that the first order decides

    def loss(w):
        return (w @ x - target) ** 2

    (gradient,) = torch.autograd.grad(loss(weight), weight)
    weight = weight.detach()
    change = [abs(float(loss(weight * (torch.arange(6) != i)) - loss(weight))) for i in range(6)]
    mask = gradient_mask(weight, gradient, 0.5)
    assert set(torch.tensor(change).argsort()[:3].tolist()) == set((~mask).nonzero().flatten().tolist())


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.95])
def test_random_drops_the_exact_number_and_follows_its_generator(sparsity):
    weight = torch.zeros(20, 10)
    masks = [random_mask(weight, sparsity, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert [int((~m).sum()) for m in masks] == [round(200 * sparsity)] * 3
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])


def test_what_an_earlier_mask_dropped_goes_first():
    kept = torch.tensor([True, False, True, True])
    assert mask_of_largest(torch.tensor([3.0, 9.0, 1.0, 2.0]), 0.5, kept).tolist() == [True, False, False, True]


def test_two_of_every_four_stay_and_they_are_the_largest():
    weight = torch.randn(5, 16)
    mask = two_four_mask(weight).unflatten(1, (-1, 4))
    assert (mask.sum(-1) == 2).all()
    sizes = weight.abs().unflatten(1, (-1, 4))
    assert (sizes.where(mask, torch.inf).amin(-1) >= sizes.where(~mask, -torch.inf).amax(-1)).all()
    with pytest.raises(ValueError, match="multiple of 4"):
        two_four_mask(torch.zeros(2, 6))


def test_equal_weights_are_dropped_in_exact_numbers_too():
    assert int(magnitude_mask(torch.ones(10, 10), 0.37).sum()) == 63


@pytest.mark.parametrize("schedule", ["one-shot", "iterative", "gradual"])
def test_schedules_begin_at_zero_never_fall_and_end_where_they_should(schedule):
    course = [scheduled_sparsity(t, schedule, 0.9, begin=10, end=60) for t in range(80)]
    assert course[9] == 0.0 and abs(course[-1] - 0.9) < 1e-9
    assert all(b >= a for a, b in zip(course, course[1:], strict=False))


def test_each_round_drops_the_same_share_of_what_is_left():
    course = [1 - scheduled_sparsity(t, "iterative", 0.9, begin=0, end=5, rounds=5) for t in range(6)]
    ratios = [b / a for a, b in zip(course, course[1:], strict=False)]
    assert_close(torch.tensor(ratios), torch.full((5,), 0.1**0.2))


def test_impossible_shares_and_schedules_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        magnitude_mask(torch.zeros(3), 1.5)
    with pytest.raises(ValueError, match="'one-shot', 'iterative' or 'gradual'"):
        scheduled_sparsity(0, "sudden", 0.5)
    with pytest.raises(ValueError, match="end above begin"):
        scheduled_sparsity(0, "gradual", 0.5)


@pytest.mark.parametrize("rounds", [5, 10, 100])
def test_a_round_ends_at_its_own_step_and_not_one_late(rounds):
    for r in range(rounds + 1):  # where the schedule is as long as it has rounds, each step ends one
        left = 1 - scheduled_sparsity(r, "iterative", 0.9, begin=0, end=rounds, rounds=rounds)
        assert left == pytest.approx(0.1 ** (r / rounds))


def test_the_gradual_course_is_the_cubic_of_the_paper():
    for t in range(10, 31):
        expected = 0.8 + (0.0 - 0.8) * (1 - (t - 10) / 20) ** 3
        assert scheduled_sparsity(t, "gradual", 0.8, begin=10, end=30) == pytest.approx(expected)


def test_scores_and_masks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="kept is torch.bool of shape \\(3,\\)"):
        mask_of_largest(torch.zeros(2, 3), 0.5, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="kept is torch.float32"):
        mask_of_largest(torch.zeros(3), 0.5, torch.ones(3))
    with pytest.raises(ValueError, match="each weight needs its own"):
        gradient_mask(torch.zeros(2, 3), torch.zeros(3), 0.5)
    with pytest.raises(ValueError, match="rows need two axes"):
        row_mask(torch.zeros(3), 0.5)


def test_one_shot_acts_at_its_step_and_one_round_is_one_jump():
    assert [scheduled_sparsity(t, "one-shot", 0.9, begin=10) for t in (9, 10, 11)] == [0.0, 0.9, 0.9]
    assert scheduled_sparsity(1, "iterative", 0.9, end=5) == pytest.approx(1 - 0.1**0.2)  # the first of five rounds
    course = [scheduled_sparsity(t, "iterative", 0.9, begin=0, end=3, rounds=1) for t in range(5)]
    assert course == pytest.approx([0, 0, 0, 0.9, 0.9])
    with pytest.raises(ValueError, match="at least 1 round"):
        scheduled_sparsity(1, "iterative", 0.9, end=3, rounds=0)
