"""What only entmax must hold: two algorithms agree, the limits are softmax and sparsemax, alpha has its true gradient."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.activation.entmax import alpha_slope, entmax, entmax15, entmax_bisect
from nnvocab.activation.sparsemax import sparsemax


def by_the_definition(x, alpha):
    """p_i = ((alpha - 1) x_i - tau)_+ ** (1 / (alpha - 1)), tau by halving, in plain Python."""
    z = [(alpha - 1) * float(v) for v in x]
    low, high = max(z) - 1, max(z)
    for _ in range(200):
        tau = (low + high) / 2
        total = sum(max(v - tau, 0) ** (1 / (alpha - 1)) for v in z)
        low, high = (tau, high) if total >= 1 else (low, tau)
    return torch.tensor([max(v - low, 0) ** (1 / (alpha - 1)) for v in z], dtype=torch.float64)


@pytest.mark.oracle("entmax", by="brute force")
@pytest.mark.parametrize("alpha", [1.1, 1.5, 1.9, 2.0, 3.0])
def test_is_the_formula_with_the_threshold_found_by_halving(scores, alpha):
    x = scores(6, 7)
    assert_close(entmax(x, alpha), torch.stack([by_the_definition(row, alpha) for row in x]))


@pytest.mark.parametrize("alpha", [1.2, 1.5, 1.8, 2.0, 2.5])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_the_written_jacobian_and_the_newton_step_agree(agree, scores, alpha, dim):
    agree(entmax_bisect, entmax, scores(3, 4, 5), alpha=alpha, dim=dim)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_sorting_and_halving_agree_at_one_and_a_half(agree, scores, dim):
    agree(entmax15, lambda x, dim: entmax_bisect(x, 1.5, dim), scores(3, 4, 5), dim=dim)
    agree(entmax15, lambda x, dim: entmax(x, 1.5, dim), scores(3, 4, 5), dim=dim)


@pytest.mark.parametrize("alpha", [1.0, 1.3, 1.5, 2.0, 2.5])
def test_the_jacobian_is_closed_form(scores, alpha):
    x = scores(6, seed=3) / 4
    p = entmax(x, alpha)
    s = torch.where(p > 0, p.pow(2 - alpha), 0)
    jacobian = torch.autograd.functional.jacobian(lambda v: entmax(v, alpha), x)
    assert_close(jacobian, torch.diag(s) - torch.outer(s, s) / s.sum())


@pytest.mark.parametrize("alpha", [1.05, 1.3, 1.5, 1.9, 2.5])
def test_the_gradient_of_alpha_agrees_with_the_newton_step_and_with_differences(agree, scores, alpha):
    a = torch.full((4, 1), alpha, dtype=torch.float64)
    agree(entmax_bisect, entmax, scores(4, 6), a, rtol=1e-6, atol=1e-8)
    assert torch.autograd.gradcheck(entmax, (scores(4, 6).requires_grad_(), a.detach().clone().requires_grad_()))


def test_the_gradient_of_alpha_is_the_formula_of_the_paper(scores):
    x, alpha = scores(4, 6), torch.tensor(1.4, dtype=torch.float64)
    p = entmax(x, 1.4)
    tilde = torch.where(p > 0, p.pow(0.6), 0)
    tilde = tilde / tilde.sum(-1, keepdim=True)
    h = -torch.special.xlogy(p, p)
    paper = (p - tilde) / 0.16 + (h - tilde * h.sum(-1, keepdim=True)) / 0.4
    assert_close(alpha_slope(p, alpha), paper)


def test_the_gradient_of_alpha_has_its_limit_at_one(scores):
    x = scores(3, 5)
    p = x.softmax(-1)
    logs = p.log()
    limit = p * ((p * logs**2).sum(-1, keepdim=True) - logs**2) / 2
    assert_close(alpha_slope(p, torch.tensor(1.0, dtype=torch.float64)), limit)
    h = 1e-5
    above, below = entmax(x, 1 + h), entmax_bisect(x, torch.tensor(1 + 2 * h, dtype=torch.float64))
    assert_close((below - above) / h, limit, rtol=1e-3, atol=1e-4)


def test_one_alpha_for_all_or_one_for_each_row(scores):
    x, alphas = scores(3, 5), torch.tensor([[1.0], [1.5], [2.0]], dtype=torch.float64)
    expected = torch.stack([x[0].softmax(-1), entmax15(x[1]), sparsemax(x[2])])
    assert_close(entmax(x, alphas), expected)
    assert_close(entmax(x.T, alphas.T, 0), expected.T)
    assert_close(entmax(x, torch.tensor(1.5, dtype=torch.float64)), entmax15(x))
    assert_close(entmax(x), entmax15(x))
    shared = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    entmax(x, shared).square().sum().backward()
    assert shared.grad.shape == (1,)


@pytest.mark.parametrize("alpha", [1.0, 1.0001, 1.25, 1.5, 1.75, 2.0, 4.0])
@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e4])
def test_sums_to_one_at_every_scale_in_float32(alpha, scale):
    x = scale * torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    for p in (entmax(x, alpha), entmax(x, torch.tensor(alpha))):
        assert_close(p.sum(-1), torch.ones(20), rtol=0, atol=2e-5)
        assert (p >= 0).all()


def test_zeros_come_before_sparsemax_and_a_blend_has_none():
    x = torch.tensor([2.0, 1.0, 0.0, 1.5], dtype=torch.float64)
    blend = (x.softmax(-1) + sparsemax(x)) / 2
    assert (entmax(x, 1.5) == 0).sum() == 1
    assert (blend == 0).sum() == 0


def test_the_reference_package_gives_the_same_value_and_gradient(scores):
    peer = pytest.importorskip("entmax", reason="entmax is an optional peer")
    x, w = scores(8, 9).requires_grad_(), scores(8, 9, seed=5)
    for alpha in (1.2, 1.5, 1.7):
        ours = entmax(x, alpha)
        theirs = peer.entmax15(x) if alpha == 1.5 else peer.entmax_bisect(x, alpha)
        assert_close(ours, theirs)
        assert_close(torch.autograd.grad((ours * w).sum(), x), torch.autograd.grad((theirs * w).sum(), x))


@pytest.mark.parametrize("alpha", [0.5, float("nan"), float("inf")])
def test_an_alpha_below_one_is_refused(alpha):
    with pytest.raises(ValueError, match="at least 1"):
        entmax(torch.zeros(3), alpha)


def test_an_alpha_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        entmax(torch.zeros(3, 4), torch.ones(3))


@pytest.mark.parametrize("plain", [entmax15, lambda x: entmax_bisect(x, 1.3), lambda x: entmax_bisect(x, 1.5)])
def test_second_derivatives_of_the_plain_forms_are_right_and_of_the_fast_one_refused(plain):
    x = torch.tensor([[1.0, 0.4, -0.3, -5.0], [0.2, 0.1, 0.0, 3.0]], dtype=torch.float64, requires_grad=True)
    assert (plain(x) == 0).any()
    assert torch.autograd.gradgradcheck(plain, (x,))
    (slope,) = torch.autograd.grad(entmax(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="not have been used in the graph|differentiate twice"):
        torch.autograd.grad(slope.sum(), x)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rows_sum_to_one_as_far_as_their_digits_go(dtype):
    x = torch.randn(20, 300, dtype=dtype, requires_grad=True)
    for alpha in (1.3, 1.5):
        p = entmax(x, alpha)
        assert p.dtype == dtype
        assert_close(p, entmax(x.double(), alpha).to(dtype), rtol=2e-2, atol=1e-6)
        assert (p.double().sum(-1) - 1).abs().max() < 4 * torch.finfo(dtype).eps
    assert torch.autograd.grad(p.square().sum(), x)[0].dtype == dtype


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_bisection_refuses_what_is_not_above_one(alpha):
    with pytest.raises(ValueError, match="must be above 1"):
        entmax_bisect(torch.zeros(3), alpha)
