"""What only dilated convolution must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.dilated import DilatedConv2d, dilated_conv2d, dilated_conv2d_torch
from nnvocab.convolution.receptive_field import measured_receptive_field


def parts(kernel=(3, 3)):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 2, 7, 6), (3, 2, *kernel), (3,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("dilated-convolution", by="brute force")
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_is_the_sum_over_taps_that_stand_apart(dilation):
    x, weight, bias = (t.detach() for t in parts())
    expected = torch.zeros(2, 3, 7, 6, dtype=torch.float64)
    for b, o, u, v in torch.cartesian_prod(*map(torch.arange, expected.shape)).tolist():
        total = bias[o].clone()
        for c, i, j in torch.cartesian_prod(*map(torch.arange, (2, 3, 3))).tolist():
            row, column = u + (i - 1) * dilation, v + (j - 1) * dilation
            if 0 <= row < 7 and 0 <= column < 6:
                total += weight[o, c, i, j] * x[b, c, row, column]
        expected[b, o, u, v] = total
    assert_close(dilated_conv2d(x, weight, bias, dilation=dilation), expected)


@pytest.mark.parametrize(("kernel", "dilation"), [((3, 3), 1), ((3, 5), 2), ((2, 4), 2), ((1, 3), 4)])
def test_torch_form_agrees_on_the_value_and_on_every_gradient(kernel, dilation):
    inputs = parts(kernel)
    plain, fast = (f(*inputs, dilation=dilation) for f in (dilated_conv2d, dilated_conv2d_torch))
    assert plain.shape[2:] == (7, 6)
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


def test_is_plain_convolution_on_each_of_the_interleaved_grids():
    x, weight, _ = (t.detach() for t in parts())
    y, plain = dilated_conv2d(x, weight, dilation=2), nn.functional.conv2d
    for a, b in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        assert_close(y[:, :, a::2, b::2], plain(x[:, :, a::2, b::2], weight, padding=1))


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_the_field_is_k_plus_k_minus_one_times_r_minus_one(dilation):
    extent, strength = measured_receptive_field(DilatedConv2d(1, 1, 3, dilation), torch.randn(1, 1, 15, 15))
    assert extent == (3 + 2 * (dilation - 1),) * 2
    assert int((strength > 0).sum()) == 9


def test_stacked_with_doubled_dilations_the_field_doubles_a_layer():
    stack = nn.Sequential(*(DilatedConv2d(1, 1, 3, 2**i) for i in range(4)))
    assert measured_receptive_field(stack, torch.randn(1, 1, 41, 41))[0] == (31, 31)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((2, 3, 2, 1), "cannot share|two sides"), ((2, 3, 3, 0), "dilation is 0"), ((0, 3, 3, 1), "in_channels is 0")],
)
def test_arguments_that_make_no_layer_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DilatedConv2d(*arguments)


@pytest.mark.parametrize(("shape", "message"), [((2, 7, 6), "batch axis"), ((1, 3, 7, 6), "x has 3 channels")])
def test_inputs_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        DilatedConv2d(2, 3, 3, 2)(torch.zeros(shape))


@pytest.mark.parametrize("function", [dilated_conv2d, dilated_conv2d_torch])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 3, 5, 5), (6, 3, 3)], {}, "4 axes are needed"),
        ([(3, 5, 5), (6, 3, 3, 3)], {}, "batch axis"),
        ([(1, 3, 5, 5), (6, 3, 3, 3), (3,)], {}, r"bias has shape \(3,\)"),
        ([(1, 3, 5, 5), (6, 3, 3, 3)], {"dilation": 0}, "dilation is 0"),
        ([(1, 3, 5, 5), (6, 3, 2, 3)], {"dilation": 1}, "two sides cannot share"),
    ],
)
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        function(*(torch.zeros(s) for s in shapes), **options)
