"""What only sparsemax must hold."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.activation.sparsemax import sparsemax, sparsemax_fused

both = pytest.mark.parametrize("form", [sparsemax, sparsemax_fused])


def projection_by_halving(x):
    """The nearest point of the simplex, by halving the interval of the threshold: no sort."""
    low, high = float(x.max()) - 1, float(x.max())
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if float((x - middle).clamp(min=0).sum()) >= 1 else (low, middle)
    return (x - low).clamp(min=0)


@pytest.mark.oracle("sparsemax", by="brute force")
@both
def test_is_the_projection_found_by_halving(form, scores):
    x = scores(20, 7)
    assert_close(form(x), torch.stack([projection_by_halving(row) for row in x]))


def test_no_other_point_of_the_simplex_is_nearer(scores):
    x = scores(5)
    nearest = (sparsemax(x) - x).norm()
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(5000, 5, generator=generator, dtype=torch.float64).log().neg()
    points = points / points.sum(-1, keepdim=True)
    assert ((points - x).norm(dim=-1) >= nearest).all()


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_both_forms_agree(agree, scores, dim):
    agree(sparsemax, sparsemax_fused, scores(3, 4, 5), dim=dim)


@both
def test_the_jacobian_is_that_of_the_support(form, scores):
    x = scores(6, seed=3) / 4
    p = form(x)
    s = (p > 0).double()
    assert 1 < s.sum() < 6
    jacobian = torch.autograd.functional.jacobian(form, x)
    assert_close(jacobian, torch.diag(s) - torch.outer(s, s) / s.sum())


@both
@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e4])
def test_sums_to_one_at_every_scale_with_exact_zeros(form, scale):
    x = scale * torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    p = form(x + 100 * scale)
    assert_close(p.sum(-1), torch.ones(50), rtol=0, atol=1e-5)
    assert (p >= 0).all()
    if scale >= 1:
        assert (p == 0).any()


@both
def test_known_points(form):
    assert form(torch.tensor([3.0, 1.0, -1.0, -3.0])).tolist() == [1, 0, 0, 0]
    assert_close(form(torch.tensor([2.0, 1.0, 0.1])), torch.tensor([1.0, 0.0, 0.0]))
    assert_close(form(torch.full((4,), 7.0)), torch.full((4,), 0.25))
    assert form(torch.tensor([5.0])).tolist() == [1.0]


def test_counting_every_kept_score_twice_gives_zeros():
    x = torch.tensor([2.0, 1.0, 0.1])
    z = x.sort(descending=True).values
    k = 1
    doubled = (2 * z[:k].sum() - 1) / k
    assert (x - doubled).clamp(min=0).sum() == 0
    assert sparsemax(x).sum() == 1


def test_the_reference_package_gives_the_same_value_and_gradient(scores):
    peer = pytest.importorskip("entmax", reason="entmax is an optional peer")
    for dim in (0, 1):
        x = scores(8, 9).requires_grad_()
        ours, theirs = sparsemax_fused(x, dim), peer.sparsemax(x, dim=dim)
        assert_close(ours, theirs)
        w = scores(8, 9, seed=5)
        assert_close(torch.autograd.grad((ours * w).sum(), x), torch.autograd.grad((theirs * w).sum(), x))


def test_second_derivatives_pass(scores):
    assert torch.autograd.gradgradcheck(lambda x: sparsemax_fused(x) ** 2, (scores(2, 5).requires_grad_(),))
