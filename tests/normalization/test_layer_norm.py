"""What only layer normalization must hold; the contract tests run on every entry beside these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.normalization.layer_norm import LayerNorm, layer_norm, layer_norm_fused


def parts(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    sizes = [(3, 2, *shape), shape, shape]
    return [torch.randn(s, generator=generator, dtype=dtype, requires_grad=True) for s in sizes]


@pytest.mark.oracle("layer-normalization", by="brute force")
def test_is_the_mean_and_the_biased_variance_of_each_row_written_out():
    x, gamma, beta = (t.detach() for t in parts(4))
    expected = torch.empty_like(x)
    for i in range(3):
        for j in range(2):
            row = x[i, j].tolist()
            mu = sum(row) / 4
            variance = sum((v - mu) ** 2 for v in row) / 4
            for c in range(4):
                expected[i, j, c] = (row[c] - mu) / (variance + 1e-5) ** 0.5 * gamma[c] + beta[c]
    assert_close(layer_norm(x, (4,), gamma, beta), expected)


@pytest.mark.oracle("layer-normalization", by="closed form")
def test_the_example_of_four_numbers_has_mean_37_5_and_deviation_57_28():
    x = torch.tensor([100.0, -50.0, 25.0, 75.0])
    sigma = (13125 / 4) ** 0.5
    assert round(sigma, 2) == 57.28
    assert_close(layer_norm(x, (4,)), (x - 37.5) / sigma, rtol=1e-5, atol=1e-5)
    assert_close(layer_norm(x, (4,)), torch.tensor([1.091, -1.528, -0.218, 0.655]), rtol=0, atol=5e-4)


@pytest.mark.parametrize("shape", [(5,), (3, 4)])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(shape):
    inputs = parts(*shape)
    plain, fused = (f(inputs[0], shape, *inputs[1:]) for f in (layer_norm, layer_norm_fused))
    assert_close(plain, fused)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fused * weights).sum(), inputs)
    )


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"elementwise_affine": False}, {"eps": 0.1}], ids=str)
def test_is_torchs_layer(options):
    ours, theirs, x = LayerNorm((3, 4), **options), nn.LayerNorm((3, 4), **options), torch.randn(2, 3, 4)
    assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    assert_close(ours(x), theirs(x))
    assert_close(layer_norm(x, (3, 4), ours.weight, ours.bias, ours.eps), theirs(x))


@pytest.mark.parametrize("form", [layer_norm, layer_norm_fused])
def test_keeps_its_digits_at_a_mean_of_ten_thousand(form):
    x = 1e4 + torch.randn(64, 256)
    exact = F.layer_norm(x.double(), (256,))
    assert (form(x, (256,)).double() - exact).abs().max() < 5e-3
    variance_of_squares = x.square().mean(-1) - x.mean(-1).square()  # the way that cancels
    assert (variance_of_squares - x.double().var(-1, correction=0)).abs().max() > 1


@pytest.mark.parametrize("form", [layer_norm, layer_norm_fused])
def test_a_row_of_equal_numbers_becomes_zero(form):
    assert_close(form(torch.full((2, 4), 3.0), (4,)), torch.zeros(2, 4))


def test_changes_neither_with_scale_nor_with_shift_of_its_input():
    x = torch.randn(5, 64, dtype=torch.float64)
    assert_close(layer_norm(7 * x - 3, (64,), eps=0.0), layer_norm(x, (64,), eps=0.0))


def test_half_precision_is_summed_in_float32():
    x = (300 * torch.randn(4, 512)).half()  # squares overflow float16
    assert x.square().isinf().any()
    assert_close(layer_norm(x, (512,)).float(), F.layer_norm(x.float(), (512,)), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("shape", [0, (), (3, -1), 2.5, (3, 2.0), None])
def test_sizes_that_are_none_are_refused(shape):
    with pytest.raises(ValueError, match="normalized_shape is"):
        LayerNorm(shape)


def test_an_input_of_another_width_is_refused():
    for call in (lambda x: LayerNorm(4)(x), lambda x: layer_norm(x, (4,))):
        with pytest.raises(ValueError, match=r"last axes must be \(4,\)"):
            call(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="last axes must be"):
        layer_norm(torch.zeros(2, 5), ())
    for weight, bias in ((torch.ones(1), None), (None, torch.ones(5))):
        with pytest.raises(ValueError, match=r"must have the shape \(4,\)"):
            layer_norm(torch.zeros(2, 4), (4,), weight, bias)


def test_a_single_feature_is_its_own_mean():
    assert_close(LayerNorm(1)(torch.randn(3, 1)), torch.zeros(3, 1))


def test_no_sample_sees_another():
    x, layer = torch.randn(3, 5, 8), LayerNorm(8)
    assert_close(layer(x)[1, 2], layer(x[1, 2]))
    assert_close(layer.train()(x), layer.eval()(x), rtol=0, atol=0)
