"""What only masked softmax must hold."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.activation.masked_softmax import masked_softmax, masked_softmax_fused

both = pytest.mark.parametrize("form", [masked_softmax, masked_softmax_fused])


def mask_of(*shape):
    mask = torch.rand(*shape, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[..., 0] = True
    return mask


@pytest.mark.oracle("masked-softmax", by="brute force")
@both
def test_is_the_softmax_of_the_allowed_scores_alone(form, scores):
    x, mask = scores(4, 6), mask_of(4, 6)
    y = form(x, mask)
    for b in range(4):
        assert_close(y[b][mask[b]], x[b][mask[b]].softmax(0))
        assert not y[b][~mask[b]].any()


def test_torch_has_the_same_where_something_is_allowed(scores):
    x, mask = scores(4, 6), mask_of(4, 6)
    theirs = torch.masked.softmax(x, -1, mask=mask).masked_fill(~mask, 0)
    assert_close(masked_softmax(x, mask), theirs)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_both_forms_agree(agree, scores, dim):
    agree(masked_softmax, masked_softmax_fused, scores(4, 5, 6), mask_of(4, 5, 6), dim=dim)


def test_the_jacobian_is_closed_form_and_zero_for_what_is_forbidden(scores):
    x, mask = scores(6), torch.tensor([True, False, True, True, False, True])
    for form in (masked_softmax, masked_softmax_fused):
        p = form(x, mask)
        jacobian = torch.autograd.functional.jacobian(lambda v, f=form: f(v, mask), x)
        assert_close(jacobian, torch.diag(p) - torch.outer(p, p))
        assert not jacobian[~mask].any()
        assert not jacobian[:, ~mask].any()


@both
def test_a_row_without_anything_allowed_is_zeros_and_passes_no_gradient(form):
    x = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    with torch.autograd.set_detect_anomaly(True):
        y = form(x, mask)
        (y**2).sum().backward()
    assert y[1].tolist() == [0, 0, 0]
    assert x.grad[1].tolist() == [0, 0, 0]
    assert_close(y[0].sum(), torch.tensor(1.0))


@both
def test_what_is_forbidden_may_hold_anything(form):
    for bad in (float("nan"), float("inf"), 1e38):
        x = torch.tensor([1.0, bad, 1.0], requires_grad=True)
        y = form(x, torch.tensor([True, False, True]))
        (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
        assert y.tolist() == [0.5, 0.0, 0.5]
        assert x.grad.tolist() == [-0.5, 0.0, 0.5]


@both
@pytest.mark.parametrize("allowed", [[True, True, True], [True, True, False]])
def test_allowed_scores_at_minus_infinity_alone_have_no_softmax(form, allowed):
    x = torch.tensor([-torch.inf, -torch.inf, -torch.inf if all(allowed) else 1.0])
    assert form(x, torch.tensor(allowed))[:2].isnan().all()


@both
def test_a_mask_is_shared_where_it_has_length_one(form, scores):
    x, mask = scores(2, 3, 4), torch.tensor([True, False, True, True])
    assert_close(form(x, mask), form(x, mask.expand(2, 3, 4)))
    rows = torch.tensor([[True], [False], [True]])
    assert not form(x, rows)[:, 1].any()


@both
def test_a_mask_that_does_not_fit_is_refused(form):
    with pytest.raises(ValueError, match="does not broadcast"):
        form(torch.zeros(2, 3), torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="does not broadcast"):
        form(torch.zeros(3), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match="torch.bool"):
        form(torch.zeros(3), torch.ones(3))


def test_a_mask_that_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match="torch.tensor"):
        masked_softmax(torch.zeros(2), [True, False])
