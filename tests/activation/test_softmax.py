"""What only softmax and log-softmax must hold; and the checks that the whole family shares."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.activation import entmax, grid_softmax, masked_softmax, require_finite, sparsemax, temperature_softmax
from nnvocab.activation.softmax import log_softmax, log_softmax_fused, softmax, softmax_fused


@pytest.mark.oracle("softmax", by="brute force")
def test_is_the_exponentials_over_their_sum_one_by_one(scores):
    x = scores(3, 4)
    expected = [[math.exp(v) / sum(math.exp(w) for w in row) for v in row] for row in x.tolist()]
    assert_close(softmax(x), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.oracle("log-softmax", by="brute force")
def test_log_softmax_is_the_score_less_the_log_of_the_sum(scores):
    x = scores(3, 4)
    expected = [[v - math.log(sum(math.exp(w) for w in row)) for v in row] for row in x.tolist()]
    assert_close(log_softmax(x), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_both_forms_agree(agree, scores, dim):
    agree(softmax, softmax_fused, scores(3, 4, 5), dim=dim)
    agree(log_softmax, log_softmax_fused, scores(3, 4, 5), dim=dim)


def test_the_worked_example():
    p = softmax(torch.tensor([2.0, 1.0, 0.1]))
    assert [round(v, 3) for v in p.tolist()] == [0.659, 0.242, 0.099]
    assert_close(float(torch.tensor([2.0, 1.0, 0.1]).exp().sum()), 11.2125, rtol=1e-5, atol=0)


def test_the_jacobian_is_diagonal_less_outer_product(scores):
    x = scores(5)
    p = softmax(x)
    for form in (softmax, softmax_fused):
        assert_close(torch.autograd.functional.jacobian(form, x), torch.diag(p) - torch.outer(p, p))
    log_jacobian = torch.autograd.functional.jacobian(log_softmax, x)
    assert_close(log_jacobian, torch.eye(5).double() - p.expand(5, 5))


def test_a_shift_changes_nothing_and_large_scores_do_not_overflow(scores):
    x = scores(2, 5)
    assert_close(softmax(x + 1e4), softmax(x), rtol=1e-9, atol=1e-9)
    assert_close(softmax(torch.tensor([1e30, 0.0])), torch.tensor([1.0, 0.0]))
    saturated = softmax(torch.tensor([100.0, 0.0, 0.0], dtype=torch.float64))
    assert_close(saturated[1].item(), math.exp(-100), rtol=1e-9, atol=0)


def test_log_softmax_is_finite_where_the_log_of_the_softmax_is_not():
    x = torch.tensor([1000.0, 0.0])
    assert softmax(x).log().tolist() == [0.0, -math.inf]
    assert log_softmax(x).tolist() == [0.0, -1000.0]
    assert_close(-log_softmax(x)[1], F.cross_entropy(x[None], torch.tensor([1])))


FAMILY = [softmax, softmax_fused, log_softmax, log_softmax_fused, sparsemax, entmax, temperature_softmax]


@pytest.mark.parametrize("form", FAMILY, ids=lambda f: f.__name__)
def test_what_cannot_be_normalised_is_refused(form):
    with pytest.raises(ValueError, match="no score along axis -1"):
        form(torch.zeros(2, 0))
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        form(torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match="dim is 3"):
        form(torch.zeros(2, 2), dim=3)
    with pytest.raises(ValueError, match="a single number"):
        form(torch.zeros(()))


@pytest.mark.parametrize("form", FAMILY, ids=lambda f: f.__name__)
def test_a_nan_spoils_its_own_row_only(form):
    y = form(torch.tensor([[0.0, float("nan"), 1.0], [0.0, 1.0, 2.0]]))
    assert y[0].isnan().all()
    assert not y[1].isnan().any()


def test_require_finite_names_the_place():
    x = torch.zeros(2, 3)
    assert require_finite(x) is x
    x[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"scores has 1 of 6 .* at \(1, 2\)"):
        require_finite(x, "scores")


def test_the_family_is_reachable_and_takes_the_axis_last():
    x, rows = torch.randn(4, 3), 2
    for p in (softmax(x, 0), sparsemax(x, 0), entmax(x, 1.3, 0), masked_softmax(x, x < 9, 0)):
        assert_close(p.sum(0), torch.ones(3))
    assert_close(grid_softmax(x, rows, dim=0).sum(0), torch.full((3,), 2.0))


@pytest.mark.parametrize("form", [softmax, softmax_fused])
def test_a_score_of_minus_infinity_has_weight_zero_and_passes_no_gradient(form, scores):
    x = scores(2, 3)
    open_row = torch.cat([x, torch.full((2, 1), -math.inf, dtype=x.dtype)], -1).requires_grad_()
    y = form(open_row)
    assert_close(y, torch.cat([x.softmax(-1), torch.zeros(2, 1, dtype=x.dtype)], -1))
    y[:, 0].sum().backward()
    assert not open_row.grad[:, 3].any()
    assert form(torch.full((1, 2), -math.inf)).isnan().all()
