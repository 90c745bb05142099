"""What only partial RMS normalization must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.normalization.partial_rms_norm import PartialRMSNorm, partial_rms_norm, partial_rms_norm_by_length
from nnvocab.normalization.rms_norm import RMSNorm


@pytest.mark.oracle("partial-rms-normalization", by="brute force")
def test_is_the_root_mean_square_of_the_first_features_written_out():
    x = torch.randn(3, 4, 6, dtype=torch.float64)
    expected = torch.empty_like(x)
    for i in range(3):
        for j in range(4):
            rms = (sum(v * v for v in x[i, j, :2].tolist()) / 2 + 1e-5) ** 0.5
            expected[i, j] = x[i, j] / rms
    assert_close(partial_rms_norm(x, 2), expected)


def test_both_forms_agree_on_the_value_and_on_every_gradient():
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((3, 4, 6), (6,))]
    plain, fast = (f(inputs[0], 2, inputs[1]) for f in (partial_rms_norm, partial_rms_norm_by_length))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


def test_the_whole_is_rms_normalization():
    x = torch.randn(3, 6)
    assert_close(PartialRMSNorm(6, 1.0)(x), RMSNorm(6)(x))


def test_the_estimate_scatters_as_the_root_of_two_k():
    x = torch.randn(20_000, 256)
    for k in (8, 32):
        ratio = x[:, :k].square().mean(-1).sqrt() / x.square().mean(-1).sqrt()
        assert abs(ratio.std().item() * (2 * k) ** 0.5 - 1) < 0.15


def test_a_sixteenth_is_looked_at_unless_told_otherwise_and_at_least_one_feature():
    assert PartialRMSNorm(512).k == 32
    assert PartialRMSNorm(8, 0.01).k == 1
    assert PartialRMSNorm(8, 0.5).weight is not None
    assert PartialRMSNorm(8, 0.5, elementwise_affine=False).weight is None


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5])
def test_a_share_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        PartialRMSNorm(8, fraction)


def test_an_input_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"last axes must be \(8,\)"):
        PartialRMSNorm(8)(torch.zeros(2, 5))
    for form in (partial_rms_norm, partial_rms_norm_by_length):
        for k in (0, 6):
            with pytest.raises(ValueError, match=f"k is {k}"):
                form(torch.zeros(2, 5), k)
        assert_close(form(torch.full((1, 5), 2.0), 5), torch.ones(1, 5), rtol=1e-4, atol=0)
    with pytest.raises(ValueError, match="width of at least 1"):
        PartialRMSNorm(0)


@pytest.mark.parametrize("form", [partial_rms_norm, partial_rms_norm_by_length])
def test_half_precision_is_summed_in_float32(form):
    x = (300 * torch.randn(4, 512)).half()  # squares overflow float16
    assert_close(form(x, 64).float(), partial_rms_norm(x.float(), 64), rtol=2e-3, atol=2e-3)
