"""Which cubes touch, held to scipy's structuring elements, and what is passed on between them."""

import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from nnvocab.som.cube_neighbours import coupling_kernel, cube_neighbours, propagate


def test_the_cube_in_the_middle_has_6_face_12_edge_and_8_corner_neighbours():
    face, edge, corner = cube_neighbours(14)
    assert face == (5, 11, 13, 15, 17, 23)
    assert edge == (2, 4, 6, 8, 10, 12, 16, 18, 20, 22, 24, 26)
    assert corner == (1, 3, 7, 9, 19, 21, 25, 27)


@pytest.mark.oracle("inter-cube-connections", by="peer: scipy.ndimage.generate_binary_structure")
@pytest.mark.parametrize("meta_size", [2, 3, 4])
def test_neighbours_are_those_that_scipy_dilates_to(meta_size):
    """A dilation by the structure of connectivity k reaches what shares a face (1), an edge (2) or a corner (3)."""
    for number in range(1, meta_size**3 + 1):
        one = torch.zeros(meta_size**3, dtype=torch.bool)
        one[number - 1] = True
        seen = {number}
        for kind, k in zip(cube_neighbours(number, meta_size), (1, 2, 3), strict=True):
            grown = ndimage.binary_dilation(
                one.view((meta_size,) * 3).numpy(), ndimage.generate_binary_structure(3, k)
            ).ravel()
            reached = {int(i) + 1 for i in grown.nonzero()[0]}
            assert set(kind) == reached - seen
            seen |= reached


def test_cubes_at_the_border_have_fewer():
    assert [len(kind) for kind in cube_neighbours(1)] == [3, 3, 1]  # a corner of the pile
    assert [len(kind) for kind in cube_neighbours(2)] == [4, 5, 2]  # an edge
    assert [len(kind) for kind in cube_neighbours(5)] == [5, 8, 4]  # a face


def test_propagation_is_the_sum_over_neighbours_written_out():
    update = torch.randn(27, 2, 3, dtype=torch.float64)
    coupling = torch.tensor([0.5, 0.2, 0.1], dtype=torch.float64)
    expected = update.clone()
    for number in range(1, 28):
        for kind, weight in zip(cube_neighbours(number), coupling, strict=True):
            for other in kind:
                expected[number - 1] += weight * update[other - 1]
    assert_close(propagate(update, coupling), expected)


def test_without_coupling_nothing_is_passed_on():
    update = torch.randn(27, 4)
    assert_close(propagate(update, torch.zeros(3)), update)
    assert_close(coupling_kernel(3, torch.zeros(3)), torch.eye(27))


@pytest.mark.parametrize("number", [0, 28])
def test_a_cube_that_does_not_exist_is_refused(number):
    with pytest.raises(ValueError, match="numbers 1 to 27"):
        cube_neighbours(number)


def test_couplings_that_are_not_three_are_refused():
    with pytest.raises(ValueError, match="three weights"):
        propagate(torch.zeros(27, 1), torch.zeros(2))


def test_an_update_for_no_cube_number_of_cubes_is_refused():
    with pytest.raises(ValueError, match="26 rows"):
        propagate(torch.zeros(26, 2), torch.zeros(3))
