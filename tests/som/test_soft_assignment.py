"""Soft assignment: held to Gaussian mixtures, to scipy's distances, and to its limits."""

import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.mixture import GaussianMixture
from torch.testing import assert_close

from nnvocab.som.soft_assignment import DISTANCES, centre_distance, soft_assignment, soft_assignment_fused


def points():
    return torch.randn(7, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("squared", "sqeuclidean"), ("euclidean", "euclidean"), ("manhattan", "cityblock"), ("cosine", "cosine")],
)
def test_distances_are_those_of_scipy(ours, theirs):
    z, centres = points()
    assert_close(centre_distance(z, centres, ours), torch.tensor(cdist(z.numpy(), centres.numpy(), theirs)))


@pytest.mark.oracle("soft-cluster-assignment", by="peer: sklearn.mixture.GaussianMixture")
def test_with_the_squared_distance_it_is_the_posterior_of_a_gaussian_mixture():
    z, centres = points()
    mixture = GaussianMixture(4, covariance_type="spherical")
    mixture.means_, mixture.weights_ = centres.numpy(), [0.25] * 4
    mixture.covariances_ = mixture.precisions_cholesky_ = None
    variance = 0.7
    mixture.precisions_cholesky_ = torch.full((4,), variance**-0.5).double().numpy()
    assert_close(soft_assignment(z, centres, 2 * variance), torch.tensor(mixture.predict_proba(z.numpy())))


@pytest.mark.parametrize("distance", DISTANCES)
def test_fused_form_agrees_on_the_value_and_on_every_gradient(distance):
    z, centres = (t.requires_grad_() for t in points())
    weights = torch.randn(7, 4, dtype=torch.float64)
    plain, fused = (f(z, centres, 0.6, distance) for f in (soft_assignment, soft_assignment_fused))
    assert_close(plain, fused)
    assert_close(*[torch.autograd.grad((y * weights).sum(), (z, centres)) for y in (plain, fused)])


@pytest.mark.parametrize("distance", DISTANCES)
def test_as_the_temperature_goes_to_0_the_nearest_takes_all(distance):
    z, centres = points()
    nearest = centre_distance(z, centres, distance).argmin(-1)
    hard = torch.nn.functional.one_hot(nearest, 4).double()
    assert_close(soft_assignment(z, centres, 1e-5, distance), hard)


def test_as_the_temperature_grows_all_share_alike():
    z, centres = points()
    assert_close(soft_assignment(z, centres, 1e9), torch.full((7, 4), 0.25, dtype=torch.float64))


def test_plain_and_squared_distance_give_different_shares():
    z, centres = torch.zeros(1, 1), torch.tensor([[1.0], [2.0]])
    assert_close(soft_assignment(z, centres, 1.0, "euclidean"), torch.tensor([[0.731, 0.269]]), atol=1e-3, rtol=0)
    assert_close(soft_assignment(z, centres, 2.0, "squared"), torch.tensor([[0.818, 0.182]]), atol=1e-3, rtol=0)


def test_shares_are_finite_and_sum_to_one_however_far_a_point_is():
    z = torch.tensor([[1e4, 0.0], [-1e4, 1e4]])
    shares = soft_assignment(z, torch.randn(3, 2), 0.01)
    assert shares.isfinite().all()
    assert_close(shares.sum(-1), torch.ones(2))


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradients_on_a_centre_are_finite(distance):
    centres = torch.randn(3, 2, requires_grad=True)
    z = centres[:1].detach().clone().requires_grad_()
    soft_assignment(z, centres, 1.0, distance)[0, 0].backward()
    assert z.grad.isfinite().all() and centres.grad.isfinite().all()


@pytest.mark.parametrize("form", [soft_assignment, soft_assignment_fused])
@pytest.mark.parametrize("axes", [(), (2, 5), (2, 1, 3)])
def test_points_with_any_leading_axes_are_shared_out_one_by_one(form, axes):
    z, centres = torch.randn(*axes, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    expected = [torch.softmax(-(point - centres).square().sum(1), 0) for point in z.reshape(-1, 3)]
    assert_close(form(z, centres), torch.stack(expected).reshape(*axes, 4))


@pytest.mark.parametrize("form", [soft_assignment, soft_assignment_fused])
@pytest.mark.parametrize(
    ("given", "message"),
    [((0.0, "squared"), "temperature is 0.0"), ((1.0, "hamming"), "distance is 'hamming'")],
)
def test_choices_that_make_no_sense_are_refused(form, given, message):
    with pytest.raises(ValueError, match=message):
        form(torch.zeros(1, 2), torch.zeros(3, 2), *given)


@pytest.mark.parametrize("shift", [2000.0, 1e5])
def test_fused_form_agrees_far_from_the_origin(shift):
    """In float32 the squares of such numbers have no digits left for the differences."""
    z, centres = torch.randn(200, 3), torch.randn(4, 3)
    z, centres = (z + shift).requires_grad_(), (centres + shift).requires_grad_()
    weights = torch.randn(200, 4)
    plain, fused = (f(z, centres) for f in (soft_assignment, soft_assignment_fused))
    assert_close(fused, plain, rtol=1e-3, atol=1e-4)
    gradients = [torch.autograd.grad((y * weights).sum(), (z, centres)) for y in (plain, fused)]
    assert_close(*gradients, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("form", [soft_assignment, soft_assignment_fused])
def test_no_points_have_no_shares(form):
    assert form(torch.zeros(2, 0, 3), torch.zeros(4, 3)).shape == (2, 0, 4)


@pytest.mark.parametrize("form", [soft_assignment, soft_assignment_fused])
@pytest.mark.parametrize(
    ("z", "centres", "message"),
    [
        (torch.zeros(1, 2), torch.zeros(4, 3), "width 2, but the centres have 3"),
        (torch.tensor(1.0), torch.zeros(4, 3), "z is one number"),
        (torch.zeros(1, 3), torch.zeros(3), r"\(K, D\)"),
        (torch.zeros(1, 3), torch.zeros(0, 3), "at least one centre"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(form, z, centres, message):
    with pytest.raises(ValueError, match=message):
        form(z, centres)


def test_cosine_distance_minds_no_length_and_of_nothing_it_is_one():
    z, centres = points()
    apart = centre_distance(z, centres, "cosine")
    assert_close(centre_distance(1e-4 * z, 1e-4 * centres, "cosine"), apart)
    assert_close(centre_distance(torch.zeros_like(z), centres, "cosine"), torch.ones_like(apart))
