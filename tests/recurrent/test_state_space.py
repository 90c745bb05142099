"""What a state space model must hold: scipy's discretization and simulation, and three modes that agree."""

import numpy as np
import pytest
import torch
from scipy import signal
from torch.testing import assert_close

from nnvocab.recurrent import (
    StateSpace,
    discretize_bilinear,
    discretize_zoh,
    hippo_legs,
    ssm_convolution,
    ssm_kernel,
    ssm_recurrence,
    ssm_scan,
)

RULES = {"zoh": discretize_zoh, "bilinear": discretize_bilinear}


def system(N=4, P=2, Q=3):
    A, _ = hippo_legs(N, like=torch.zeros(1, dtype=torch.float64))
    return [v.requires_grad_() for v in (A, *(torch.randn(s, dtype=torch.float64) for s in [(N, P), (Q, N), (Q, P)]))]


@pytest.mark.parametrize("rule", RULES)
def test_discrete_systems_are_scipys(rule):
    A, B, C, D = (v.detach() for v in system())
    Ad, Bd, *_ = signal.cont2discrete([v.numpy() for v in (A, B, C, D)], 0.3, method=rule)
    assert_close(RULES[rule](A, B, 0.3), (torch.from_numpy(Ad), torch.from_numpy(Bd)))


@pytest.mark.oracle("state-space-model", by="peer: scipy.signal.dlsim")
@pytest.mark.parametrize("mode", ["recurrence", "convolution", "scan"])
@pytest.mark.parametrize("rule", RULES)
def test_the_layer_is_scipys_simulation(rule, mode):
    layer = StateSpace(2, 3, d_state=4, delta=0.2, method=rule, mode=mode).double()
    u = torch.randn(2, 20, 2, dtype=torch.float64)
    continuous = [v.detach().numpy() for v in (layer.A, layer.B, layer.C, layer.D)]
    delta = layer.log_delta.exp().item()
    Ad, Bd, *_ = signal.cont2discrete(continuous, delta, method=rule)
    for b in range(2):
        # dlsim writes y_t = C x_t + D u_t with x_{t+1} = A x_t + B u_t: C A and C B + D make it count as we do
        C, D = continuous[2], continuous[3]
        _, y, _ = signal.dlsim((Ad, Bd, C @ Ad, C @ Bd + D, delta), u[b].numpy())
        assert_close(layer(u)[b].detach().numpy(), y)


@pytest.mark.parametrize("fast", [ssm_convolution, ssm_scan])
@pytest.mark.parametrize("T", [1, 2, 7, 16])
def test_faster_forms_agree_on_the_value_and_on_every_gradient(fast, T):
    A, B, C, D = system()
    given = [
        torch.randn(2, T, 2, dtype=torch.float64, requires_grad=True),
        (A * 0.1).detach().requires_grad_(),
        B,
        C,
        D,
    ]
    results = []
    for function in (ssm_recurrence, fast):
        y = function(*given)
        loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum()
        results.append([y, *torch.autograd.grad(loss, given, materialize_grads=True, allow_unused=True)])
    assert_close(*results)


def test_the_kernel_is_the_answer_to_an_impulse():
    A, B, C, D = ((v.detach() * s) for v, s in zip(system(P=1, Q=1), (0.1, 1, 1, 0), strict=True))
    u = torch.zeros(1, 9, 1, dtype=torch.float64)
    u[0, 0] = 1.0
    assert_close(ssm_kernel(A, B, C, 9)[:, 0], ssm_recurrence(u, A, B, C, D)[0])


def test_zero_order_hold_is_exact_for_an_input_that_is_held():
    """Many short steps of the same input are one long step."""
    A, B, *_ = system()
    long, short = discretize_zoh(A, B, 0.5), discretize_zoh(A, B, 0.05)
    state = torch.zeros(4, 2, dtype=torch.float64)
    for _ in range(10):
        state = short[0] @ state + short[1]
    assert_close(state, long[1])
    assert_close(torch.matrix_power(short[0], 10), long[0])


@pytest.mark.parametrize(("rule", "order"), [("zoh", None), ("bilinear", 2)])
def test_bilinear_is_of_second_order(rule, order):
    A, B, *_ = (v.detach() for v in system())
    errors = [
        np.linalg.norm(torch.matrix_power(RULES[rule](A, B, 1 / n)[0], n) - torch.matrix_exp(A)) for n in (50, 100)
    ]
    if order is None:
        assert max(errors) < 1e-10
    else:
        assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.05)


@pytest.mark.parametrize("N", [1, 6])
def test_hippo_keeps_the_past_as_legendre_coefficients(N):
    """The closed form of LegS: a constant input settles at the coefficients of a constant, which are 1, 0, 0, ..."""
    A, B = hippo_legs(N, like=torch.zeros(1, dtype=torch.float64))
    assert_close(torch.linalg.solve(-A, B)[:, 0], torch.eye(N, dtype=torch.float64)[0])


def test_a_state_that_is_wider_is_not_read_louder():
    assert StateSpace(1, 400, d_state=64).C.std().item() * 64**0.5 == pytest.approx(1, abs=0.1)


def test_the_bilinear_rule_keeps_a_stable_system_stable():
    A, B, *_ = system()
    for delta in (0.01, 1.0, 100.0):
        assert torch.linalg.eigvals(discretize_bilinear(A, B, delta)[0]).abs().max() < 1


def test_it_is_linear_and_the_same_at_every_step():
    layer, u, v = StateSpace(1, 1, 4), torch.randn(1, 12, 1), torch.randn(1, 12, 1)
    assert_close(layer(2 * u - 3 * v), 2 * layer(u) - 3 * layer(v))
    late = torch.cat([torch.zeros(1, 5, 1), u], dim=1)
    assert_close(layer(late)[:, 5:], layer(u))


def test_the_convolution_does_not_wrap_around():
    layer, u = StateSpace(1, 1, 4, delta=0.001), torch.zeros(1, 10, 1)
    u[0, -1] = 1.0
    assert layer(u)[0, :-1].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StateSpace(0, 1), "must be positive"),
        (lambda: hippo_legs(0), "d_state is 0"),
        (lambda: discretize_zoh(torch.zeros(2, 3), torch.zeros(2, 1), 0.1), "A has shape"),
        (lambda: discretize_bilinear(torch.zeros(2, 2), torch.zeros(3, 1), 0.1), "and B"),
        (lambda: StateSpace(1, 1, delta=0.0), "must be positive"),
        (lambda: StateSpace(1, 1, method="euler"), "'euler'"),
        (lambda: StateSpace(1, 1, mode="fft"), "'fft'"),
        (lambda: StateSpace(1, 1)(torch.randn(2, 5)), "is needed"),
        (lambda: StateSpace(1, 1)(torch.randn(2, 0, 1)), "at least one step"),
        (lambda: StateSpace(1, 1)(torch.randn(2, 5, 3)), r"\(B, T, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
