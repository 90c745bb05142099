"""Where units stand, who their neighbours are."""

import pytest
import torch
from minisom import MiniSom
from torch.testing import assert_close

from nnvocab.som.lattice import adjacent, lattice_distance, lattice_positions, lattice_shape, neighbour_pairs


def degrees(shape, topology):
    return torch.bincount(neighbour_pairs(shape, topology).flatten())


@pytest.mark.parametrize(
    ("shape", "topology", "inner"),
    [(7, "rectangular", 2), ((5, 5), "rectangular", 8), ((3, 3, 3), "rectangular", 26), ((5, 5), "hexagonal", 6)],
)
def test_a_unit_inside_has_all_its_neighbours(shape, topology, inner):
    assert degrees(shape, topology).max() == inner


def test_a_pile_of_hexagonal_layers_has_two_neighbours_more():
    assert degrees((3, 5, 5), "hexagonal").max() == 8


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_pairs_are_those_that_a_look_at_all_distances_finds(shape, topology):
    places = lattice_positions(shape, topology, dtype=torch.float64)
    near = adjacent(places[:, None], places, topology).triu(1)
    found = neighbour_pairs(shape, topology)
    assert set(map(tuple, found.tolist())) == set(map(tuple, torch.nonzero(near).tolist()))


def test_hexagonal_neighbours_are_all_one_apart():
    places = lattice_positions((5, 6), "hexagonal", dtype=torch.float64)
    one, two = neighbour_pairs((5, 6), "hexagonal").unbind(-1)
    assert_close(lattice_distance(places, places)[one, two], torch.ones(len(one), dtype=torch.float64))


def test_hexagonal_lattice_is_the_one_of_minisom_but_for_the_order_of_its_axes():
    """With an odd number of rows MiniSom shifts the even ones left, where ours shifts the odd ones right."""
    theirs = MiniSom(4, 5, 2, topology="hexagonal")
    x, y = theirs.get_euclidean_coordinates()
    theirs = torch.tensor([[y[i, j], x[i, j]] for j in range(5) for i in range(4)])
    ours = lattice_positions((5, 4), "hexagonal", dtype=torch.float64)
    assert_close(lattice_distance(theirs, theirs), lattice_distance(ours, ours))


@pytest.mark.parametrize(
    ("shape", "topology", "message"),
    [
        ((), "rectangular", "1 to 3 axes"),
        ((2, 2, 2, 2), "rectangular", "1 to 3 axes"),
        ((3, 0), "rectangular", "1 to 3 axes"),
        ((3, 3), "triangular", "must be one of"),
        (9, "hexagonal", "two or three axes"),
    ],
)
def test_a_lattice_that_does_not_exist_is_refused(shape, topology, message):
    with pytest.raises(ValueError, match=message):
        lattice_shape(shape, topology)


@pytest.mark.parametrize("shape", [(3.5, 2), 4.0, "33"])
def test_a_shape_that_is_not_whole_is_refused(shape):
    with pytest.raises(TypeError, match="whole number"):
        lattice_shape(shape)
