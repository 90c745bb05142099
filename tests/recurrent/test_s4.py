"""What S4 must hold: its diagonal system is scipy's, and its convolution is its recurrence."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import signal
from torch.testing import assert_close

from nnvocab.recurrent import (
    S4,
    diagonal_convolution,
    diagonal_kernel,
    diagonal_recurrence,
    diagonal_start,
    discretize_diagonal,
    hippo_legs,
)


@pytest.mark.oracle("s4", by="peer: scipy.signal.dlsim")
@pytest.mark.parametrize("method", ["zoh", "bilinear"])
@pytest.mark.parametrize("init", ["legs", "lin", "inv"])
def test_each_channel_is_scipys_simulation_of_its_system(method, init):
    """The complex pairs as one dense complex system a channel: scipy discretizes and simulates it."""
    layer = S4(2, d_state=6, dt_min=0.05, method=method, init=init).double()
    u = torch.randn(1, 30, 2, dtype=torch.float64)
    keep, write, C = layer.system()
    keep, write, C = keep.detach(), write.detach(), [c.detach() for c in C]
    y = diagonal_convolution(u, keep, write, C[0], layer.D)
    for c in range(2):
        A = torch.complex(-layer.log_A_real[c].exp(), layer.A_imag[c]).detach().numpy()
        both = np.diag(np.concatenate([A, A.conj()]))  # each eigenvalue and its conjugate
        out = np.concatenate([C[0][c].numpy(), C[0][c].numpy().conj()])[None]
        one, d = np.ones((6, 1)), layer.D[c].item()
        Ad, Bd, *_ = signal.cont2discrete((both, one, out, [[d]]), layer.log_dt[c].exp().item(), method=method)
        x, expected = np.zeros(6, complex), []
        for value in u[0, :, c].numpy():
            x = Ad @ x + Bd[:, 0] * value
            expected.append((out @ x).real.item() + d * value)
        assert_close(y[0, :, c].detach().numpy(), np.array(expected))


def test_convolution_agrees_with_the_recurrence_on_the_value_and_on_every_gradient():
    layer = S4(3, d_state=4).double()
    u, D = torch.randn(2, 17, 3, dtype=torch.float64, requires_grad=True), layer.D
    results = []
    for function in (diagonal_recurrence, diagonal_convolution):
        keep, write, C = layer.system()
        y = function(u, keep, write, C[0], D)
        loss = (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)).sum()
        sources = [u, D, layer.C, layer.log_dt, layer.log_A_real, layer.A_imag]
        results.append([y, *torch.autograd.grad(loss, sources)])
    assert_close(*results)


@pytest.mark.parametrize("method", ["zoh", "bilinear"])
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_step_by_step_is_the_whole_sequence(method, dtype, tol):
    layer, x = S4(4, d_state=16, method=method).to(dtype), torch.randn(2, 200, 4, dtype=dtype)
    state, outputs = None, []
    with torch.no_grad():
        for t in range(200):
            y, state = layer.step(x[:, t], state)
            outputs.append(y)
        assert_close(torch.stack(outputs, 1), layer(x), rtol=tol, atol=tol)
    assert state.shape == (2, 4, 8)


def test_legs_start_is_half_the_spectrum_of_the_normal_part_of_hippo():
    """Closed form: A + (I + p p^T) / 2 is skew-symmetric, so HiPPO's normal part is -1/2 + i times these numbers."""
    like = torch.zeros(1, dtype=torch.float64)
    A, p = hippo_legs(8, like=like)
    skew = A + (torch.eye(8, dtype=torch.float64) + p @ p.T) / 2
    assert_close(skew, -skew.T)
    expected = np.sort(np.linalg.eigvals(skew.numpy()).imag)[4:]
    assert_close(diagonal_start(8), torch.from_numpy(expected))
    assert_close(diagonal_start(8, "lin"), torch.pi * torch.arange(4, dtype=torch.float64))
    assert diagonal_start(8, "inv")[-1].item() == pytest.approx(8 / math.pi * 7)


def test_step_lengths_begin_in_the_range():
    dt = S4(500, d_state=2, dt_min=0.01, dt_max=0.2).log_dt.exp()
    assert dt.min() >= 0.0099 and dt.max() <= 0.201
    assert 0.3 < (dt < math.sqrt(0.01 * 0.2)).float().mean() < 0.7


def test_zero_order_hold_of_a_real_eigenvalue_is_the_closed_form():
    keep, write = discretize_diagonal(torch.tensor([[-1 + 0j]]), torch.tensor([math.log(2.0)]), "zoh")
    assert_close(keep.real, torch.tensor([[0.5]]))
    assert_close(write.real, torch.tensor([[0.5]]))


def test_the_kernel_dies_away():
    layer = S4(2, d_state=4, dt_min=0.5, dt_max=0.5)
    keep, write, C = layer.system()
    kernel = diagonal_kernel(keep, write, C[0], 100)
    assert kernel[:, -1].abs().max() < 1e-6 * kernel.abs().max()


def test_one_direction_never_looks_ahead_and_two_do():
    x = torch.randn(1, 10, 3)
    changed = x.clone()
    changed[:, 6:] += 1.0
    one, two = S4(3, 4), S4(3, 4, bidirectional=True)
    assert_close(one(x)[:, :6], one(changed)[:, :6], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(two(x)[:, :6], two(changed)[:, :6], atol=1e-4)


def test_the_second_direction_is_the_first_on_the_sequence_turned_around():
    layer, x = S4(3, 4, bidirectional=True).double(), torch.randn(1, 10, 3, dtype=torch.float64)
    other = S4(3, 4, bidirectional=True).double()
    other.load_state_dict(layer.state_dict())
    with torch.no_grad():
        other.C.copy_(layer.C.flip(0))
    assert_close(layer(x), other(x.flip(1)).flip(1))


def test_channels_mix_in_the_gated_unit_only():
    layer, x = S4(3, 4), torch.randn(1, 10, 3)
    keep, write, C = layer.system()
    y = diagonal_convolution(x, keep, write, C[0], layer.D)
    value, gate = layer.mix(F.gelu(y)).chunk(2, dim=-1)
    assert_close(layer(x), value * gate.sigmoid())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: S4(0), "d_model is 0"),
        (lambda: S4(3, 5), "even"),
        (lambda: diagonal_start(5), "even"),
        (lambda: diagonal_start(4, "random"), "'random'"),
        (lambda: discretize_diagonal(torch.zeros(1, 1) + 0j, torch.ones(1), "euler"), "'euler'"),
        (lambda: S4(3, 4).step(torch.randn(2, 1, 3)), "one step"),
        (lambda: S4(3, dt_min=0.2, dt_max=0.1), "dt_min"),
        (lambda: S4(3, init="random"), "'random'"),
        (lambda: S4(3, method="euler"), "'euler'"),
        (lambda: S4(3)(torch.randn(2, 3)), r"\(B, T, 3\)"),
        (lambda: S4(3)(torch.randn(2, 0, 3)), "at least one step"),
        (lambda: S4(3, bidirectional=True).step(torch.randn(2, 3)), "looks ahead"),
        (lambda: S4(3, 4).step(torch.randn(2, 3), torch.zeros(2, 3, 5)), "state has shape"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
