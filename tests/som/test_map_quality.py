"""Quantization error, topographic error, U-matrix: held to MiniSom and to sums written out."""

import numpy as np
import pytest
import torch
from minisom import MiniSom
from torch.testing import assert_close

from nnvocab.som.lattice import lattice_positions, neighbour_pairs
from nnvocab.som.map_quality import best_units, check_input, quantization_error, topographic_error, u_matrix


def a_map(topology="rectangular"):
    """A MiniSom with random prototypes, and the same prototypes and inputs as tensors."""
    random = np.random.RandomState(3)
    theirs = MiniSom(6, 5, 3, topology=topology, random_seed=1)
    x = random.randn(200, 3)
    return theirs, torch.tensor(theirs.get_weights().reshape(30, 3)), x, torch.tensor(x)


@pytest.mark.oracle("quantization-error", by="peer: minisom.MiniSom.quantization_error")
def test_quantization_error_is_that_of_minisom():
    theirs, weight, data, x = a_map()
    assert quantization_error(x, weight).item() == pytest.approx(theirs.quantization_error(data))


@pytest.mark.oracle("topographic-error", by="peer: minisom.MiniSom.topographic_error")
def test_topographic_error_is_that_of_minisom():
    theirs, weight, data, x = a_map()
    ours = topographic_error(x, weight, lattice_positions((6, 5), dtype=torch.float64))
    assert ours.item() == pytest.approx(theirs.topographic_error(data))


def test_hexagonal_topographic_error_is_that_of_minisom():
    theirs, weight, data, x = a_map("hexagonal")
    places = torch.tensor([theirs.convert_map_to_euclidean((i, j)) for i in range(6) for j in range(5)])
    assert topographic_error(x, weight, places, "hexagonal").item() == pytest.approx(theirs.topographic_error(data))


@pytest.mark.oracle("u-matrix", by="peer: minisom.MiniSom.distance_map")
def test_u_matrix_is_that_of_minisom_but_for_its_scale():
    theirs, weight, _, _ = a_map()
    ours = u_matrix(weight, neighbour_pairs((6, 5))).view(6, 5)
    assert_close(ours / ours.max(), torch.tensor(theirs.distance_map(scaling="mean")))


def test_u_matrix_is_the_mean_over_neighbours_written_out():
    weight = torch.randn(12, 2, dtype=torch.float64)
    cells = [(i, j) for i in range(3) for j in range(4)]
    expected = [
        torch.stack(
            [
                (weight[a] - weight[b]).norm()
                for b, (k, l) in enumerate(cells)
                if a != b and max(abs(i - k), abs(j - l)) == 1
            ]
        ).mean()
        for a, (i, j) in enumerate(cells)
    ]
    assert_close(u_matrix(weight, neighbour_pairs((3, 4))), torch.stack(expected))


def test_best_units_are_the_nearest_in_order_and_do_not_depend_on_the_portions():
    x, weight = torch.randn(50, 4, dtype=torch.float64), torch.randn(30, 4, dtype=torch.float64)
    distance, unit = best_units(x, weight, 3)
    expected = torch.cdist(x, weight).sort(dim=-1)
    assert_close(distance, expected.values[:, :3])
    assert (unit == expected.indices[:, :3]).all()
    assert_close(torch.cat([best_units(row[None], weight, 3)[1] for row in x]), unit)


def test_distance_to_the_winner_does_not_lose_digits_far_from_the_origin():
    x = torch.tensor([[10_000.0, 0.0]])
    assert best_units(x, x + 0.01)[0].item() == pytest.approx(0.01 * 2**0.5, rel=0.05)


def test_a_perfect_line_has_no_topographic_error_and_a_shuffled_one_has():
    weight = torch.arange(10.0)[:, None]
    x, line = torch.rand(100, 1) * 9, lattice_positions(10)
    assert topographic_error(x, weight, line) == 0
    assert topographic_error(x, weight[torch.randperm(10)], line) > 0.3


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(5), ValueError, "must be \\(batch, 3\\)"),
        (torch.zeros(5, 4), ValueError, "as wide as the map"),
        (torch.zeros(0, 3), ValueError, "empty"),
        (torch.zeros(5, 3, dtype=torch.long), TypeError, "floating-point"),
        (np.zeros((5, 3)), TypeError, "ndarray"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        quantization_error(x, torch.zeros(6, 3))


def test_one_input_as_wide_as_the_map_is_taken():
    check_input(torch.zeros(3), torch.zeros(6, 3))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(1, 3), ValueError, "one input of shape"),
        (torch.zeros(4), ValueError, "as wide as the map"),
        (torch.full((3,), torch.nan), ValueError, "NaN or infinity"),
        (np.zeros(3), TypeError, "ndarray"),
    ],
)
def test_what_is_not_one_such_input_is_refused(x, error, message):
    with pytest.raises(error, match=message):
        check_input(x, torch.zeros(6, 3))


def test_places_that_are_not_one_for_each_unit_are_refused():
    with pytest.raises(ValueError, match="4 places are needed"):
        topographic_error(torch.zeros(1, 2), torch.rand(4, 2), lattice_positions(3))


def test_topographic_error_of_a_single_unit_is_refused():
    with pytest.raises(ValueError, match="two or more"):
        topographic_error(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2))
