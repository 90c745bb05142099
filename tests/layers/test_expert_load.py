"""What only the moving average of the load must hold."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.layers.expert_load import ExpertLoad


@pytest.mark.oracle("expert-load", by="closed form")
def test_is_the_geometric_sum_over_the_steps():
    load, steps = ExpertLoad(3, momentum=0.1), torch.randint(0, 3, (20, 50, 2))
    for experts in steps:
        load(experts)
    shares = torch.stack([torch.bincount(e.flatten(), minlength=3) / 100 for e in steps])  # (20, 3)
    decay = 0.1 * 0.9 ** torch.arange(19, -1, -1)
    assert_close(load.share, decay @ shares + 0.9**20 / 3)


@pytest.mark.parametrize("k", [1, 2])
def test_sums_to_one_from_the_first_step_on_whatever_the_number_of_choices(k):
    load = ExpertLoad(8)
    balanced = torch.stack([torch.arange(8).roll(j) for j in range(k)], dim=1)
    for _ in range(5):
        load(balanced)
        assert_close(load.share, torch.full((8,), 1 / 8))


def test_counts_divided_by_tokens_would_settle_at_k_over_e_and_start_too_low():
    load, balanced, track = torch.zeros(8), torch.full((8,), 2 / 8), []
    for _ in range(60):
        load = 0.9 * load + 0.1 * balanced
        track.append(float(load[0]))
    assert_close(load.sum(), torch.tensor(2.0), atol=1e-2, rtol=0)
    assert track[9] < 0.17 and track[29] < 0.245 and abs(track[-1] - 0.25) < 1e-3


def test_changes_in_training_alone_and_is_saved():
    load = ExpertLoad(4).eval()
    load(torch.zeros(5, 1, dtype=torch.long))
    assert_close(load.share, torch.full((4,), 0.25))
    load.train()(torch.zeros(5, 1, dtype=torch.long))
    assert load.share[0] > 0.25
    other = ExpertLoad(4)
    other.load_state_dict(load.state_dict())
    assert_close(other.share, load.share)


def test_no_tokens_change_nothing():
    assert_close(ExpertLoad(4)(torch.zeros(0, 2, dtype=torch.long)), torch.full((4,), 0.25))


@pytest.mark.parametrize(
    ("arguments", "message"), [((0, 0.1), "at least 1"), ((4, 0.0), "above 0"), ((4, 1.5), "at most 1")]
)
def test_impossible_averages_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ExpertLoad(arguments[0], momentum=arguments[1])


def test_one_expert_bears_it_all_and_a_momentum_of_one_forgets():
    assert_close(ExpertLoad(1)(torch.zeros(3, 1, dtype=torch.long)), torch.ones(1))
    load = ExpertLoad(2, momentum=1.0)
    for expert in (0, 1):
        assert load(torch.full((3, 1), expert)).argmax() == expert
    assert_close(load.share, torch.tensor([0.0, 1.0]))


def test_the_momentum_is_that_of_batch_normalization_unless_told_otherwise():
    assert ExpertLoad(4).momentum == torch.nn.BatchNorm1d(4).momentum
