"""What only depthwise separable convolution must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.separable import DepthwiseSeparableConv2d, separable_conv2d, separable_conv2d_factored


def parts(multiplier=2):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 6, 5), (3 * multiplier, 1, 3, 2), (4, 3 * multiplier, 1, 1)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("depthwise-separable-convolution", by="brute force")
def test_is_a_filter_a_channel_and_then_a_mix_a_position():
    x, depthwise, pointwise = (t.detach() for t in parts())
    filtered = torch.zeros(2, 6, 4, 4, dtype=torch.float64)
    for b, m, u, v in torch.cartesian_prod(*map(torch.arange, filtered.shape)).tolist():
        filtered[b, m, u, v] = (depthwise[m, 0] * x[b, m // 2, u : u + 3, v : v + 2]).sum()
    expected = torch.zeros(2, 4, 4, 4, dtype=torch.float64)
    for b, o, u, v in torch.cartesian_prod(*map(torch.arange, expected.shape)).tolist():
        expected[b, o, u, v] = pointwise[o, :, 0, 0] @ filtered[b, :, u, v]
    assert_close(separable_conv2d_factored(x, depthwise, pointwise), expected)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"padding": "same"}], ids=str)
def test_factored_form_agrees_on_the_value_and_on_every_gradient(options, multiplier):
    inputs = parts(multiplier)
    plain, fast = (f(*inputs, **options) for f in (separable_conv2d, separable_conv2d_factored))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


def test_is_torchs_two_layers_in_a_row():
    layer = DepthwiseSeparableConv2d(3, 8, 3, stride=2, padding=1, multiplier=2, between=nn.ReLU())
    torchs = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3), nn.ReLU(), nn.Conv2d(6, 8, 1))
    torchs[0].load_state_dict(layer.depthwise.state_dict())
    torchs[2].load_state_dict(layer.pointwise.state_dict())
    x = torch.randn(2, 3, 7, 6)
    assert_close(layer(x), torchs(x))


def test_the_saving_is_one_over_outputs_plus_one_over_taps():
    layer, full = DepthwiseSeparableConv2d(64, 128, 3, bias=False), nn.Conv2d(64, 128, 3, bias=False)
    ours, theirs = (sum(p.numel() for p in m.parameters()) for m in (layer, full))
    assert ours / theirs == pytest.approx(1 / 128 + 1 / 9)


def test_a_full_kernel_of_higher_rank_is_out_of_reach():
    _, depthwise, pointwise = (t.detach() for t in parts(multiplier=1))
    full = pointwise[:, :, 0, 0][:, :, None, None] * depthwise[None, :, 0]  # (O, C, K, K')
    ranks = [int(torch.linalg.matrix_rank(full[:, c].flatten(1))) for c in range(3)]
    assert ranks == [1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [((3, 4, 3), {"multiplier": 0}, "multiplier is 0"), ((3, 0, 3), {}, "out_channels is 0")],
)
def test_arguments_that_make_no_layer_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        DepthwiseSeparableConv2d(*arguments, **options)


def test_an_input_with_other_channels_is_refused():
    with pytest.raises(ValueError, match="built for 3"):
        DepthwiseSeparableConv2d(3, 4, 3)(torch.zeros(1, 4, 5, 5))


@pytest.mark.parametrize("function", [separable_conv2d, separable_conv2d_factored])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 3, 5, 5), (4, 1, 3, 3), (8, 4, 1, 1)], {}, "for 3 channels"),
        ([(1, 3, 5, 5), (6, 1, 3, 3), (8, 3, 1, 1)], {}, "the second reads what the first gives"),
        ([(1, 3, 5, 5), (6, 1, 3, 3), (8, 6, 3, 3)], {}, "the second reads what the first gives"),
        ([(1, 3, 5, 5), (6, 1, 3), (8, 6, 1, 1)], {}, "4 axes are needed"),
        ([(3, 5, 5), (6, 1, 3, 3), (8, 6, 1, 1)], {}, "batch axis"),
    ],
)
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        function(*(torch.zeros(s) for s in shapes), **options)
