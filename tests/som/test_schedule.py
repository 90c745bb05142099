"""Neighbourhoods and decays."""

import numpy as np
import pytest
import torch
from minisom import MiniSom
from torch.testing import assert_close

from nnvocab.som.lattice import lattice_distance, lattice_positions
from nnvocab.som.schedule import DECAYS, decay, first_and_last, gaussian_spread, neighbourhood


@pytest.mark.parametrize("kind", ["gaussian", "mexican_hat"])
def test_neighbourhood_is_that_of_minisom(kind):
    theirs = MiniSom(6, 5, 2, neighborhood_function=kind).neighborhood((2, 3), 1.7)
    places = lattice_positions((6, 5), dtype=torch.float64)
    ours = neighbourhood(lattice_distance(places, places[[2 * 5 + 3]]), 1.7, kind)
    assert_close(ours.view(6, 5), torch.tensor(np.asarray(theirs)))


def test_bubble_is_one_inside_and_nothing_outside():
    assert neighbourhood(torch.tensor([0.0, 2.0, 2.1]), 2.0, "bubble").tolist() == [1, 1, 0]


def test_mexican_hat_is_negative_beyond_its_radius():
    assert neighbourhood(torch.tensor([1.0, 3.0]), 2.0, "mexican_hat").sign().tolist() == [1, -1]


@pytest.mark.parametrize("kind", DECAYS)
def test_decays_go_from_start_to_end_and_never_up(kind):
    values = [decay(t, 11, 3.0, 0.5, kind) for t in range(11)]
    assert values[0] == 3.0
    assert values[-1] == pytest.approx(0.5)
    assert values == sorted(values, reverse=True)


def test_inverse_decay_to_a_third_is_the_default_of_minisom():
    theirs = MiniSom(4, 4, 2)._asymptotic_decay
    ours = [decay(t, 101, 0.5, 0.5 / 3, "inverse") for t in range(101)]
    assert ours == pytest.approx([theirs(0.5, t, 100) for t in range(101)])


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4)])
def test_spread_axis_by_axis_is_the_sum_over_all_units(shape):
    places = lattice_positions(shape, dtype=torch.float64)
    values = torch.randn(len(places), 3, dtype=torch.float64)
    h = neighbourhood(lattice_distance(places, places), 1.3)
    assert_close(gaussian_spread(values, shape, 1.3), h @ values)


def test_spread_with_a_radius_for_each_axis_can_leave_one_out_or_add_one_up():
    values = torch.randn(12, 2, dtype=torch.float64)
    assert_close(gaussian_spread(values, (3, 4), (0.0, 0.0)), values)
    added = gaussian_spread(values, (3, 4), (torch.inf, 0.0)).view(3, 4, 2)
    assert_close(added, values.view(3, 4, 2).sum(0, keepdim=True).expand(3, 4, 2))


def test_unknown_neighbourhood_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'gaussian', 'bubble', 'mexican_hat'"):
        neighbourhood(torch.zeros(1), 1.0, "gauss")


def test_radius_zero_is_refused():
    with pytest.raises(ValueError, match="must be above 0"):
        neighbourhood(torch.zeros(1), 0.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0, 10, 1.0, 0.1, "cosine"), "must be one of"),
        ((0, 10, 1.0, 0.0, "linear"), "above 0"),
        ((10, 10, 1.0, 0.1, "linear"), "10 steps"),
    ],
)
def test_decays_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        decay(*given)


@pytest.mark.parametrize(
    ("values", "shape", "radius", "message"),
    [
        (torch.zeros(5, 1), (2, 3), 1.0, "6 rows"),
        (torch.zeros(6), (2, 3), 1.0, "6 rows"),
        (torch.zeros(6, 1), (2, 3), -1.0, "0 or more"),
        (torch.zeros(6, 1), (2, 3), (1.0,), "2 axes"),
    ],
)
def test_a_spread_that_does_not_fit_is_refused(values, shape, radius, message):
    with pytest.raises(ValueError, match=message):
        gaussian_spread(values, shape, radius)


@pytest.mark.parametrize("given", [0.5, (0.5,), None])
def test_one_number_is_no_pair(given):
    with pytest.raises(TypeError, match="must be a pair"):
        first_and_last("rate", given)
