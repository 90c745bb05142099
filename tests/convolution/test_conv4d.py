"""What only 4D convolution must hold; the contract tests run on every entry beside these."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.conv3d import conv3d
from nnvocab.convolution.conv4d import Conv4d, conv4d, conv4d_slices
from nnvocab.convolution.receptive_field import measured_receptive_field

CASES = [
    {},
    {"padding": 1, "stride": (2, 1, 1, 2)},
    {"padding": "same", "dilation": (2, 1, 1, 2)},
    {"groups": 2, "padding": (1, 0, 2, 0), "stride": (1, 2, 1, 1), "dilation": (1, 1, 2, 1)},
]


def parts(groups=1):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 2, 4, 4, 3, 4), (4, 2 // groups, 2, 3, 2, 2), (4,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("4d-dilated-convolution", by="peer: scipy.signal.correlate")
@pytest.mark.parametrize("function", [conv4d, conv4d_slices])
@pytest.mark.parametrize(("dilation", "stride", "padding"), [(1, 1, 0), (2, 1, 1), (2, 2, 2)])
def test_is_scipys_correlation_with_zeros_between_the_taps(function, dilation, stride, padding):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 2, 6, 5, 5, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(2, 2, 3, 3, 3, 3, generator=generator, dtype=torch.float64)
    padded = np.pad(x.numpy(), [(0, 0), (0, 0)] + [(padding, padding)] * 4)
    expected = []
    for kernels in weight.numpy():
        total = 0
        for c in range(2):
            stuffed = np.zeros([2 * dilation + 1] * 4)
            stuffed[::dilation, ::dilation, ::dilation, ::dilation] = kernels[c]
            total = total + correlate(padded[0, c], stuffed, mode="valid", method="direct")
        expected.append(total[::stride, ::stride, ::stride, ::stride])
    y = function(x, weight, stride=stride, padding=padding, dilation=dilation)
    assert_close(y[0], torch.from_numpy(np.stack(expected)))


@pytest.mark.parametrize("options", CASES, ids=str)
def test_slices_agree_on_the_value_and_on_every_gradient(options):
    inputs = parts(options.get("groups", 1))
    plain, fast = (f(*inputs, **options) for f in (conv4d, conv4d_slices))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


def test_a_kernel_of_three_has_eighty_one_taps():
    layer = Conv4d(1, 1, 3, dilation=2, padding="same", bias=False)
    assert layer.weight.numel() == 3**4 == 81
    extent, strength = measured_receptive_field(layer, torch.randn(1, 1, 7, 7, 7, 7))
    assert extent == (5, 5, 5, 5)
    assert int((strength > 0).sum()) == 81


def test_one_frame_is_a_3d_convolution():
    x, weight, bias = (t.detach() for t in parts())
    assert_close(conv4d_slices(x[:, :, :1], weight[:, :, :1], bias)[:, :, 0], conv3d(x[:, :, 0], weight[:, :, 0], bias))


def test_autocast_chooses_the_width_as_for_a_3d_convolution():
    layer, x = Conv4d(1, 2, 3, padding=1), torch.randn(1, 1, 3, 4, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        assert y.dtype == nn.Conv3d(1, 2, 3)(x[:, :, 0]).dtype == torch.bfloat16
    assert_close(y.float(), layer(x), atol=5e-2, rtol=5e-2)


def test_torchs_3d_layer_has_no_fourth_axis():
    with pytest.raises(RuntimeError):
        nn.Conv3d(2, 8, 3)(torch.zeros(1, 2, 9, 9, 9, 9))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 2, 9, 9, 9), "6 axes are needed: batch, channels, time, depth, height, width; add the batch axis"),
        ((1, 3, 5, 5, 5, 5), "x has 3 channels, but the kernel reads 2"),
        ((1, 2, 4, 5, 5, 5), "spans 5 positions, but the padded input has 4"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        Conv4d(2, 2, 3, dilation=2)(torch.zeros(shape))


def test_channels_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="not a multiple of groups"):
        Conv4d(3, 4, 3, groups=2)


@pytest.mark.parametrize("function", [conv4d, conv4d_slices])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 4, 9, 9, 9), (6, 4, 3, 3, 3), (6,)], {}, "but 6 axes are needed: outputs, inputs, time, depth"),
        ([(1, 4, 3, 3, 3, 3), (6, 4, 3, 3, 3, 3), (5,)], {}, r"bias has shape \(5,\)"),
    ],
)
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        function(*(torch.zeros(s) for s in shapes), **options)
