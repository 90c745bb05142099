"""What only 2D convolution must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.conv2d import Conv2d, conv2d, conv2d_torch

CASES = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same", "dilation": (2, 1)},
    {"stride": (1, 2), "padding": (2, 0), "dilation": (1, 2)},
    {"groups": 2, "padding": 1, "stride": 2},
]


def parts(groups=1):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 4, 6, 7), (4, 4 // groups, 3, 2), (4,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("2d-convolution", by="brute force")
def test_is_the_walk_of_a_three_by_three_kernel_over_a_four_by_four_image():
    image = torch.arange(1.0, 17.0).view(1, 1, 4, 4)
    kernel = torch.tensor([[1.0, 2.0, 3.0], [5.0, 7.0, 11.0], [13.0, 17.0, 19.0]])
    expected = torch.zeros(1, 1, 2, 2)
    for u, v in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        for i in range(3):
            for j in range(3):
                expected[0, 0, u, v] += kernel[i, j] * image[0, 0, u + i, v + j]
    assert expected[0, 0, 0, 0] == 1 * 1 + 2 * 2 + 3 * 3 + 5 * 5 + 6 * 7 + 7 * 11 + 9 * 13 + 10 * 17 + 11 * 19
    assert_close(conv2d(image, kernel[None, None]), expected)
    assert_close(conv2d(image, kernel[None, None], padding=1)[..., 1:3, 1:3], expected)


@pytest.mark.oracle("2d-convolution", by="brute force")
@pytest.mark.parametrize("groups", [1, 2])
def test_is_the_sum_over_channels_and_taps_written_out(groups):
    x, weight, bias = (t.detach() for t in parts(groups))
    y = conv2d(x, weight, bias, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=groups)
    expected = torch.zeros_like(y)
    for b, o, u, v in torch.cartesian_prod(*map(torch.arange, y.shape)).tolist():
        total = bias[o].clone()
        for c in range(4 // groups):
            for i in range(3):
                for j in range(2):
                    row, column = 2 * u + i - 1, v + 2 * j - 2
                    if 0 <= row < 6 and 0 <= column < 7:
                        total += weight[o, c, i, j] * x[b, o // (4 // groups) * (4 // groups) + c, row, column]
        expected[b, o, u, v] = total
    assert y.shape == (2, 4, 3, 9)
    assert_close(y, expected)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_torch_form_agrees_on_the_value_and_on_every_gradient(options):
    inputs = parts(options.get("groups", 1))
    plain, fast = (f(*inputs, **options) for f in (conv2d, conv2d_torch))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


@pytest.mark.parametrize("options", CASES, ids=str)
def test_is_torchs_layer_from_the_same_seed(options):
    layers = []
    for kind in (Conv2d, nn.Conv2d):
        torch.manual_seed(0)
        layers.append(kind(4, 4, (3, 2), **options))
    x = torch.randn(2, 4, 6, 7)
    assert_close(layers[0].state_dict(), layers[1].state_dict(), rtol=0, atol=0)
    assert_close(layers[0](x), layers[1](x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 3}, "in_channels 4 is not a multiple of groups 3"),
        ({"stride": (1, 2, 3)}, r"stride is \(1, 2, 3\)"),
        ({"padding": "causal"}, "padding is 'causal'"),
        ({"padding": "same", "stride": 2}, "give padding as a number"),
        ({"padding": None}, "padding is None"),
        ({"dilation": 1.5}, "dilation is 1.5, but must be a whole number .* or 2 of them"),
    ],
)
def test_arguments_that_make_no_layer_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Conv2d(4, 4, 3, **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 6, 6), r"add the batch axis with x\[None\]"),
        ((1, 3, 6, 6), "x has 3 channels, but the kernel reads 4"),
        ((1, 4, 2, 6), "spans 3 positions, but the padded input has 2"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        Conv2d(4, 4, 3)(torch.zeros(shape))


@pytest.mark.parametrize("function", [conv2d, conv2d_torch])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 4, 9, 9), (6, 4, 3), (6,)], {}, "but 4 axes are needed: outputs, inputs, height, width"),
        ([(1, 4, 9, 9), (6, 4, 3, 3), (4,)], {}, r"bias has shape \(4,\), but \(6,\) is needed"),
    ],
)
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        function(*(torch.zeros(s) for s in shapes), **options)


def test_a_batch_without_images_gives_maps_without_images():
    layer, x = Conv2d(4, 6, 3, padding=1), torch.zeros(0, 4, 5, 5)
    assert layer(x).shape == conv2d(x, layer.weight, layer.bias, padding=1).shape == (0, 6, 5, 5)
