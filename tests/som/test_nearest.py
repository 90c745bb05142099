"""The search for the nearest by a product: held to a search by differences, near the origin and far from it."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.som.nearest import nearest_units, origin_near


def by_differences(x, weight, k=1):
    return (x.double()[:, None] - weight.double()).square().sum(-1).topk(k, largest=False).indices


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("shift", [0.0, 2000.0, -1e4])
def test_they_are_those_of_a_search_by_differences_however_far_from_zero(shift, k):
    x, weight = torch.randn(300, 5) + shift, torch.randn(40, 5) + shift
    assert torch.equal(nearest_units(x, weight, k), by_differences(x, weight, k))


def test_a_few_outliers_and_prototypes_that_ran_away_do_not_blur_the_others():
    x, weight = torch.randn(300, 5), torch.randn(40, 5)
    x[::50] = 1e7
    weight[7] = -1e7
    mine = x[:, 0] < 1e6
    assert torch.equal(nearest_units(x, weight)[mine], by_differences(x, weight)[mine])


def test_portions_change_nothing():
    x, weight = (torch.randn(n, 4, dtype=torch.float64) for n in (50, 2**17))  # 32 rows a portion
    assert_close(nearest_units(x, weight), torch.cdist(x, weight).argmin(-1, keepdim=True))


def test_of_two_that_are_equally_near_the_first_is_taken():
    assert nearest_units(torch.tensor([[1.0]]), torch.tensor([[2.0], [0.0], [2.0]])).item() == 0


def test_no_inputs_have_no_nearest():
    assert nearest_units(torch.zeros(0, 3), torch.zeros(2, 3), 2).shape == (0, 2)


def test_the_origin_is_a_median_of_at_most_64_points():
    x = torch.arange(1000.0)[:, None]
    assert origin_near(x).item() == x[::16].median().item()
    assert origin_near(x[:3]).item() == 1.0


@pytest.mark.parametrize("k", [0, 4])
def test_more_units_than_there_are_cannot_be_asked_for(k):
    with pytest.raises(ValueError, match="there are 3 units"):
        nearest_units(torch.zeros(1, 2), torch.zeros(3, 2), k)
