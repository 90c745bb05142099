"""The selective scan: three ways to run one recurrence, held together on the value and on every gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.recurrent import selective_scan, selective_scan_chunked, selective_scan_parallel
from nnvocab.recurrent.scan import CHUNK


def inputs(T, dtype=torch.float64):
    shapes = [(2, T, 5), (2, T, 5), (5, 3), (2, T, 3), (2, T, 3), (5,), (2, 5, 3)]
    x, delta, A, B, C, D, state = (torch.randn(s, dtype=dtype) for s in shapes)
    return [v.requires_grad_() for v in (x, F.softplus(delta), -A.abs() - 0.1, B, C, D, state)]


def test_is_the_equation_written_out_number_by_number():
    x, delta, A, B, C, D, state = (v.detach() for v in inputs(4))
    h, y = state[0].tolist(), torch.empty(4, 5, dtype=torch.float64)
    for t in range(4):
        for e in range(5):
            for n in range(3):
                keep = torch.exp(delta[0, t, e] * A[e, n])
                h[e][n] = float(keep * h[e][n] + delta[0, t, e] * x[0, t, e] * B[0, t, n])
            y[t, e] = sum(C[0, t, n] * h[e][n] for n in range(3)) + D[e] * x[0, t, e]
    found, last = selective_scan(x, delta, A, B, C, D, state)
    assert_close(found[0], y)
    assert_close(last[0], torch.tensor(h, dtype=torch.float64))


@pytest.mark.parametrize("fast", [selective_scan_parallel, selective_scan_chunked])
@pytest.mark.parametrize("T", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
@pytest.mark.parametrize("with_state", [True, False])
def test_faster_forms_agree_on_the_value_and_on_every_gradient(fast, T, with_state):
    given = inputs(T)[: 7 if with_state else 6]
    results = []
    for function in (selective_scan, fast):
        y, last = function(*given)
        loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum() + last.square().sum()
        results.append([y, last, *torch.autograd.grad(loss, given, allow_unused=True, materialize_grads=True)])
    assert_close(*results)


def test_gradients_of_the_chunked_form_are_finite_differences():
    assert torch.autograd.gradcheck(selective_scan_chunked, inputs(CHUNK + 2), fast_mode=True)


@pytest.mark.parametrize("only", range(7))
def test_a_gradient_that_is_asked_for_alone_is_the_same(only):
    given = inputs(5)
    alone = [v.detach().requires_grad_(k == only) for k, v in enumerate(given)]
    expected = torch.autograd.grad(selective_scan(*given)[0].sum(), given, allow_unused=True)[only]
    assert_close(torch.autograd.grad(selective_scan_chunked(*alone)[0].sum(), alone[only])[0], expected)


def test_the_inputs_and_the_state_that_are_given_stay_as_they_are():
    given = [v.detach() for v in inputs(CHUNK + 3)]
    before = [v.clone() for v in given]
    selective_scan_chunked(*given)
    assert_close(given, before, rtol=0, atol=0)


@pytest.mark.parametrize("function", [selective_scan, selective_scan_parallel, selective_scan_chunked])
def test_it_goes_on_from_its_own_state(function):
    x, delta, A, B, C, D, state = inputs(9)
    whole, last = function(x, delta, A, B, C, D, state)
    first, middle = function(x[:, :4], delta[:, :4], A, B[:, :4], C[:, :4], D, state)
    second, end = function(x[:, 4:], delta[:, 4:], A, B[:, 4:], C[:, 4:], D, middle)
    assert_close((torch.cat([first, second], 1), end), (whole, last))


@pytest.mark.parametrize("function", [selective_scan, selective_scan_parallel, selective_scan_chunked])
def test_long_steps_that_forget_everything_stay_finite(function):
    x, delta, A, B, C, D, state = inputs(CHUNK * 2, torch.float32)
    y, last = function(x, delta + 500.0, A, B, C, D, state)
    gradients = torch.autograd.grad(y.sum() + last.sum(), (x, B, C, state))
    assert all(g.isfinite().all() for g in (y, last, *gradients))


def test_a_step_of_length_zero_changes_nothing():
    x, delta, A, B, C, D, state = inputs(6)
    assert_close(selective_scan(x, torch.zeros_like(delta), A, B, C, D, state)[1], state)
