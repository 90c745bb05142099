"""What only 3D convolution must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.conv2d import conv2d
from nnvocab.convolution.conv3d import Conv3d, conv3d, conv3d_torch

CASES = [
    {},
    {"stride": (1, 2, 2), "padding": 1},
    {"padding": "same", "dilation": (1, 2, 1)},
    {"groups": 2, "padding": (0, 1, 2), "stride": 2},
]


def parts(groups=1):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 2, 4, 5, 4), (2, 2 // groups, 2, 3, 2), (2,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("3d-convolution", by="brute force")
@pytest.mark.parametrize("groups", [1, 2])
def test_is_the_sum_over_channels_and_taps_written_out(groups):
    x, weight, bias = (t.detach() for t in parts(groups))
    y = conv3d(x, weight, bias, stride=(1, 2, 1), padding=(1, 0, 1), dilation=(2, 1, 1), groups=groups)
    expected = torch.zeros_like(y)
    for b, o, a, u, v in torch.cartesian_prod(*map(torch.arange, y.shape)).tolist():
        total = bias[o].clone()
        for c in range(2 // groups):
            for l, i, j in torch.cartesian_prod(*map(torch.arange, (2, 3, 2))).tolist():
                place = (a + 2 * l - 1, 2 * u + i, v + j - 1)
                if all(0 <= p < n for p, n in zip(place, (4, 5, 4), strict=True)):
                    total += weight[o, c, l, i, j] * x[(b, o // (2 // groups) * (2 // groups) + c, *place)]
        expected[b, o, a, u, v] = total
    assert_close(y, expected)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_torch_form_agrees_on_the_value_and_on_every_gradient(options):
    inputs = parts(options.get("groups", 1))
    plain, fast = (f(*inputs, **options) for f in (conv3d, conv3d_torch))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


@pytest.mark.parametrize("options", CASES, ids=str)
def test_is_torchs_layer_from_the_same_seed(options):
    layers = []
    for kind in (Conv3d, nn.Conv3d):
        torch.manual_seed(0)
        layers.append(kind(2, 4, (2, 3, 2), **options))
    x = torch.randn(2, 2, 4, 5, 4)
    assert_close(layers[0].state_dict(), layers[1].state_dict(), rtol=0, atol=0)
    assert_close(layers[0](x), layers[1](x))


def test_a_flat_kernel_treats_each_frame_alone():
    x, weight, _ = (t.detach() for t in parts())
    frames = torch.stack([conv2d(x[:, :, a], weight[:, :, 0]) for a in range(4)], dim=2)
    assert_close(conv3d(x, weight[:, :, :1]), frames)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 4, 8, 8), "x has 3 channels, but the kernel reads 1"),
        ((1, 4, 8, 8), r"add the batch axis"),
        ((1, 1, 9, 9, 9, 9), "5 axes are needed: batch, channels, depth, height, width"),
        ((1, 1, 2, 8, 8), "spans 3 positions, but the padded input has 2"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        Conv3d(1, 2, 3)(torch.zeros(shape))


def test_kernel_sizes_need_a_number_an_axis():
    with pytest.raises(ValueError, match="kernel_size is .3, 3."):
        Conv3d(1, 2, (3, 3))


@pytest.mark.parametrize("function", [conv3d, conv3d_torch])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 4, 9, 9, 9), (6, 4, 3, 3), (6,)], {}, "but 5 axes are needed: outputs, inputs, depth, height, width"),
        ([(1, 4, 5, 5, 5), (6, 4, 3, 3, 3), (6, 1)], {}, r"bias has shape \(6, 1\)"),
    ],
)
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        function(*(torch.zeros(s) for s in shapes), **options)
