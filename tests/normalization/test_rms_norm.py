"""What only RMS normalization must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.normalization.layer_norm import layer_norm
from nnvocab.normalization.rms_norm import RMSNorm, rms_norm, rms_norm_fused


@pytest.mark.oracle("rms-normalization", by="brute force")
def test_is_the_root_mean_square_of_each_row_written_out():
    x, gamma = torch.randn(3, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    expected = torch.empty_like(x)
    for i in range(3):
        rms = (sum(v * v for v in x[i].tolist()) / 5 + 1e-3) ** 0.5
        for c in range(5):
            expected[i, c] = x[i, c] / rms * gamma[c]
    assert_close(rms_norm(x, (5,), gamma, 1e-3), expected)


@pytest.mark.oracle("rms-normalization", by="closed form")
def test_is_the_row_at_length_root_of_its_width():
    x = torch.randn(4, 9, dtype=torch.float64)
    assert_close(rms_norm(x, (9,), eps=0.0), nn.functional.normalize(x, dim=-1) * 3)


@pytest.mark.parametrize("shape", [(5,), (3, 4)])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(shape):
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, *shape), shape)]
    plain, fused = (f(inputs[0], shape, inputs[1]) for f in (rms_norm, rms_norm_fused))
    assert_close(plain, fused)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fused * weights).sum(), inputs)
    )


@pytest.mark.parametrize("affine", [True, False])
def test_is_torchs_layer(affine):
    ours, theirs = RMSNorm((3, 4), 1e-5, affine), nn.RMSNorm((3, 4), 1e-5, affine)
    x = torch.randn(2, 3, 4)
    assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    assert_close(ours(x), theirs(x))


def test_changes_with_a_shift_of_its_input_but_not_with_its_scale():
    x = torch.randn(5, 64, dtype=torch.float64)
    y = rms_norm(x, (64,), eps=0.0)
    assert_close(rms_norm(7 * x, (64,), eps=0.0), y)
    assert (rms_norm(x + 3, (64,), eps=0.0) - y).abs().max() > 0.5


def test_on_centred_input_it_is_layer_normalization():
    x = torch.randn(5, 64, dtype=torch.float64)
    x = x - x.mean(-1, keepdim=True)
    assert_close(rms_norm(x, (64,)), layer_norm(x, (64,)))


@pytest.mark.parametrize("form", [rms_norm, rms_norm_fused])
def test_epsilon_stands_below_the_root(form):
    x = torch.full((1, 4), 1e-3)
    assert_close(form(x, (4,), None, 1e-6), torch.full((1, 4), 0.5**0.5), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", [rms_norm, rms_norm_fused])
def test_a_row_of_zeros_stays_zero(form):
    assert_close(form(torch.zeros(2, 4), (4,)), torch.zeros(2, 4))


@pytest.mark.parametrize("form", [rms_norm, rms_norm_fused])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(form, dtype):
    x = (300 * torch.randn(4, 512)).to(dtype)  # squares overflow float16
    y = form(x, (512,))
    assert y.dtype == dtype
    assert_close(y.float(), rms_norm(x.float(), (512,)), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("form", [rms_norm, rms_norm_fused])
def test_keeps_its_digits_at_a_mean_of_ten_thousand(form):
    x = 1e4 + torch.randn(64, 256)
    assert (form(x, (256,)).double() - rms_norm(x.double(), (256,))).abs().max() < 1e-6


def test_an_input_of_another_width_is_refused():
    for call in (lambda x: RMSNorm(4)(x), lambda x: rms_norm(x, (4,))):
        with pytest.raises(ValueError, match=r"last axes must be \(4,\)"):
            call(torch.zeros(2, 5))
