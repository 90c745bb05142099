"""The pile of cubes: its three lattices, its winners, its size."""

import math

import pytest
import torch
from minisom import MiniSom
from torch.testing import assert_close

from nnvocab.som.cube_neighbours import cube_neighbours
from nnvocab.som.stacked_map import LATTICES, Stacked3DSOM


def small(lattice="physical", **given):
    return Stacked3DSOM(2, 3, 4, lattice=lattice, generator=torch.Generator().manual_seed(0), **given).double()


def number(som, *six):
    return int((som.places == som.places.new_tensor(six)).all(-1).nonzero())


def test_the_full_size_is_35937_units_and_144_megabytes():
    with torch.device("meta"):
        som = Stacked3DSOM()
    assert som.weight.shape == (35_937, 1000)
    assert (som.cubes, som.units) == (27, 1331)
    assert som.memory_bytes == 35_937 * 1000 * 4


def test_product_lattice_gives_the_twin_in_a_corner_cube_a_large_share():
    som = Stacked3DSOM(11, 3, 1, lattice="product")
    h = som.neighbourhood(number(som, 1, 1, 1, 5, 5, 5), 2.0)
    assert h[number(som, 0, 0, 0, 5, 5, 5)].item() == pytest.approx(math.exp(-3 / 8))
    heavy = Stacked3DSOM(11, 3, 1, lattice="product", cube_weight=121.0)
    assert heavy.neighbourhood(number(som, 1, 1, 1, 5, 5, 5), 2.0)[number(som, 0, 0, 0, 5, 5, 5)] < 1e-15


def test_units_on_both_sides_of_a_face_are_far_in_the_product_and_near_in_the_block():
    winner, across = (0, 0, 0, 10, 5, 5), (1, 0, 0, 0, 5, 5)
    for lattice, square in (("product", 101), ("physical", 1)):
        som = Stacked3DSOM(11, 3, 1, lattice=lattice).double()
        h = som.neighbourhood(number(som, *winner), 3.0)[number(som, *across)]
        assert h.item() == pytest.approx(math.exp(-square / 18))


def test_hierarchical_neighbourhood_reaches_touching_cubes_by_their_coupling():
    som = small("hierarchical", coupling=(0.5, 0.25, 0.125))
    h = som.neighbourhood(number(som, 1, 1, 1, 0, 0, 0), 1.0).view(27, 8)[:, 0]
    face, edge, corner = cube_neighbours(14)
    for cube in range(1, 28):
        expected = 0.5 if cube in face else 0.25 if cube in edge else 0.125 if cube in corner else 1.0
        assert h[cube - 1] == expected
    corner_wins = som.neighbourhood(number(som, 0, 0, 0, 0, 0, 0), 1.0).view(27, 8)
    assert corner_wins[26].max() == 0  # the opposite corner does not touch


@pytest.mark.parametrize("lattice", LATTICES)
def test_spread_is_the_sum_by_the_neighbourhood_of_every_unit(lattice):
    som = small(lattice, cube_weight=2.0)
    values = torch.randn(27 * 8, 3, dtype=torch.float64)
    h = torch.stack([som.neighbourhood(i, 1.2) for i in range(27 * 8)])
    assert_close(som.spread(values, 1.2), h @ values)


@pytest.mark.oracle("stacked-3d-self-organizing-map", by="brute force")
@pytest.mark.parametrize("lattice", LATTICES)
def test_a_batch_step_is_the_weighted_mean_written_out(lattice):
    som, x = small(lattice), torch.rand(60, 4, dtype=torch.float64)
    cubes = som.weight.view(27, 8, 4)
    winners = []
    for row in x:
        if lattice == "hierarchical":
            cube = int((cubes.mean(1) - row).norm(dim=-1).argmin())
            winners.append(cube * 8 + int((cubes[cube] - row).norm(dim=-1).argmin()))
        else:
            winners.append(int((som.weight - row).norm(dim=-1).argmin()))
    h = torch.stack([som.neighbourhood(w, 1.0) for w in winners])  # (B, M U)
    expected = (h.T @ x) / h.sum(0)[:, None]
    reached = h.sum(0) > 1e-6
    expected = torch.where(reached[:, None], expected, som.weight)
    som.fit(x, 1, radius=(1.0, 1.0))
    assert_close(som.weight, expected)


def test_a_single_flat_cube_is_the_map_of_minisom():
    """meta_size 1: one lattice; its winner and quantization error are MiniSom's for the same prototypes in a plane."""
    theirs = MiniSom(5, 25, 3, random_seed=0)
    som = Stacked3DSOM(5, 1, 3).double()
    som.weight.copy_(torch.tensor(theirs.get_weights().reshape(125, 3)))
    x = torch.randn(40, 3, dtype=torch.float64)
    assert som.quantization_error(x).item() == pytest.approx(theirs.quantization_error(x.numpy()))


def test_one_online_step_is_the_three_lines_written_out():
    for lattice in LATTICES:
        som, x = small(lattice), torch.rand(4, dtype=torch.float64)
        before, winner = som.weight.clone(), int(som.winners(x[None])[1])
        h = som.neighbourhood(winner, 1.5)
        som.step(x, 0.3, 1.5)
        assert_close(som.weight, before + 0.3 * h[:, None] * (x - before))


@pytest.mark.parametrize("given", [{"radius": 1.0}, {"learning_rate": 0.5}])
def test_one_number_for_what_decays_is_refused(given):
    with pytest.raises(TypeError, match="must be a pair"):
        small().fit(torch.rand(3, 4, dtype=torch.float64), **given)


def test_a_learning_rate_below_one_goes_part_of_the_way():
    x = torch.rand(60, 4, dtype=torch.float64)
    full, half = small(), small()
    before = full.weight.clone()
    full.fit(x, 1, radius=(1.0, 1.0))
    half.fit(x, 1, radius=(1.0, 1.0), learning_rate=(0.5, 0.1))
    assert_close(half.weight, (before + full.weight) / 2)


@pytest.mark.parametrize("lattice", LATTICES)
def test_training_lowers_the_quantization_error(lattice):
    som, x = small(lattice), torch.rand(300, 4, dtype=torch.float64)
    before = som.quantization_error(x)
    som.fit(x, 10)
    assert som.quantization_error(x) < before
    assert 0 <= som.topographic_error(x) <= 1


def test_the_six_coordinates_and_the_number_of_the_cube_agree():
    som = small()
    wanted = number(som, 2, 1, 0, 1, 0, 1)
    found = som.locate(som.weight[[wanted]])
    assert found.cube.tolist() == [2 * 9 + 1 * 3 + 0 + 1]
    assert found.meta.tolist() == [[2, 1, 0]] and found.within.tolist() == [[1, 0, 1]]
    assert found.distance.item() == pytest.approx(0, abs=1e-6)


def test_an_outlier_lands_on_its_nearest_prototype_with_a_large_distance():
    som, x = small(), torch.rand(200, 4, dtype=torch.float64)
    som.fit(x, 10)
    strange = torch.full((1, 4), 3.0, dtype=torch.float64)
    distance, place = som(strange)
    nearest = (som.weight - strange).norm(dim=-1).argmin()
    assert (place[0] == som.places[nearest]).all()
    assert distance > som(x)[0].max() * 3


def test_the_picture_of_an_activation_marks_the_cube_and_the_unit():
    import matplotlib as mpl

    mpl.use("Agg")
    som = small()
    figure = som.visualize_activation(som.weight[number(som, 0, 1, 2, 1, 1, 0)])
    assert "cube 6" in figure.get_suptitle()
    assert "(1, 1, 0)" in figure.get_suptitle()


def test_on_the_picture_the_cube_is_framed_the_unit_starred_and_every_number_readable():
    import matplotlib as mpl

    mpl.use("Agg")
    som = small()
    x = som.weight[number(som, 0, 1, 2, 1, 1, 0)]
    axes = som.visualize_activation(x).axes
    layers, slices = axes[:3], axes[3:]
    assert [[box.get_xy() for box in ax.patches] for ax in layers] == [[(1.5, 0.5)], [], []]
    stars = [[star.get_xydata().tolist() for star in ax.lines] for ax in slices]
    assert stars == [[], [[[0.0, 1.0]]]]
    distance = (som.weight - x).norm(dim=-1).view(27, 8).amin(1)
    colour = {int(text.get_text()): text.get_color() for ax in layers for text in ax.texts}
    assert sorted(colour) == list(range(1, 28))
    assert colour[int(distance.argmin()) + 1] == "white"  # the nearest is dark
    assert colour[int(distance.argmax()) + 1] == "black"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stacked3DSOM(0, 3, 4), "cube_size is 0"),
        (lambda: Stacked3DSOM(2, 3, 4, lattice="6d"), "lattice is '6d'"),
        (lambda: Stacked3DSOM(2, 3, 4, coupling=(0.5, 0.25)), "three couplings"),
        (lambda: Stacked3DSOM(2, 3, 4, coupling=(0.5, 0.25, -0.1)), "below 0"),
        (lambda: Stacked3DSOM(2, 3, 4, cube_weight=-1.0), "below 0"),
        (lambda: small().fit(torch.rand(3, 4, dtype=torch.float64), 0), "steps is 0"),
        (lambda: small().step(torch.rand(2, 4, dtype=torch.float64)), "one input"),
        (lambda: small().fit(torch.rand(3, 5, dtype=torch.float64)), "as wide as the map"),
        (lambda: small().fit(torch.rand(0, 4, dtype=torch.float64)), "empty"),
        (lambda: small().step(torch.full((4,), torch.inf, dtype=torch.float64)), "NaN or infinity"),
        (lambda: small().visualize_activation(torch.rand(2, 4)), "one input"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
