"""What only deformable convolution must hold; the contract tests run on every entry beside these."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.convolution.conv2d import conv2d
from nnvocab.convolution.deformable import DeformConv2d, deform_conv2d, deform_conv2d_gather

OPTIONS = {"stride": (1, 2), "padding": (1, 0), "dilation": (2, 1)}
BOTH = pytest.mark.parametrize("function", [deform_conv2d, deform_conv2d_gather])


def parts(groups=2, scale=1.5):
    generator = torch.Generator().manual_seed(0)

    def new(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, weight, bias = new(2, 4, 6, 5), new(3, 4, 3, 2), new(3)
    offset, mask = scale * new(2, groups * 12, 4, 2), new(2, groups * 6, 4, 2).sigmoid()
    return [t.requires_grad_() for t in (x, offset, weight, bias, mask)]


def between_pixels(image, row, column):
    """Bilinear interpolation as it is taught: the four pixels round a point, 0 outside."""
    top, left = math.floor(row), math.floor(column)
    total = 0.0
    for r, part in ((top, top + 1 - row), (top + 1, row - top)):
        for c, share in ((left, left + 1 - column), (left + 1, column - left)):
            if 0 <= r < image.shape[0] and 0 <= c < image.shape[1]:
                total += part * share * image[r, c].item()
    return total


@pytest.mark.oracle("deformable-convolution", by="brute force")
@BOTH
@pytest.mark.parametrize("masked", [False, True])
def test_each_tap_reads_between_the_pixels_it_is_sent_to(function, masked):
    x, offset, weight, bias, mask = (t.detach() for t in parts())
    expected = torch.zeros(2, 3, 4, 2, dtype=torch.float64)
    for b, u, v in torch.cartesian_prod(*map(torch.arange, (2, 4, 2))).tolist():
        for c, i, j in torch.cartesian_prod(*map(torch.arange, (4, 3, 2))).tolist():
            tap = (c // 2) * 6 + i * 2 + j  # offset group, then tap
            row = u + 2 * i - 1 + offset[b, 2 * tap, u, v].item()
            column = 2 * v + j + offset[b, 2 * tap + 1, u, v].item()
            value = between_pixels(x[b, c], row, column) * (mask[b, tap, u, v] if masked else 1.0)
            expected[b, :, u, v] += weight[:, c, i, j] * value
    expected += bias.view(3, 1, 1)
    assert_close(function(x, offset, weight, bias, mask=mask if masked else None, **OPTIONS), expected)


@pytest.mark.parametrize("groups", [1, 4])
def test_gathering_agrees_on_the_value_and_on_every_gradient(groups):
    *inputs, mask = parts(groups)
    plain, fast = (f(*inputs, mask=mask, **OPTIONS) for f in (deform_conv2d, deform_conv2d_gather))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    every = [*inputs, mask]
    assert_close(
        torch.autograd.grad((plain * weights).sum(), every), torch.autograd.grad((fast * weights).sum(), every)
    )


@BOTH
def test_is_plain_convolution_where_nothing_is_shifted(function):
    x, offset, weight, bias, _ = (t.detach() for t in parts())
    assert_close(function(x, torch.zeros_like(offset), weight, bias, **OPTIONS), conv2d(x, weight, bias, **OPTIONS))


@BOTH
def test_a_common_whole_offset_is_a_shift_of_the_input(function):
    x, _, weight, _, _ = (t.detach() for t in parts())
    offset = torch.tensor([1.0, -2.0], dtype=torch.float64).repeat(6).view(1, 12, 1, 1).expand(2, -1, 4, 4)
    moved = F.pad(x, (2, -2, -1, 1))  # row r of it is row r + 1 of x, column c is column c - 2
    assert_close(function(x, offset, weight), conv2d(moved, weight))


def test_begins_as_a_plain_convolution_and_version_two_at_half_strength():
    x = torch.randn(2, 4, 6, 6)
    for modulated, strength in ((False, 1.0), (True, 0.5)):
        layer = DeformConv2d(4, 3, 3, padding=1, modulated=modulated, offset_groups=2)
        bias = layer.bias.view(-1, 1, 1)
        assert_close(layer(x) - bias, strength * (F.conv2d(x, layer.weight, padding=1)))


def test_the_offsets_learn_from_their_zero_start():
    layer = DeformConv2d(1, 1, 3, padding=1)
    layer(torch.randn(1, 1, 8, 8)).square().sum().backward()
    assert layer.predict.weight.grad.abs().max() > 0
    assert layer.predict.bias.grad.shape == (18,)


def test_positions_keep_their_digits_in_bfloat16():
    x = torch.zeros(1, 1, 1, 400)
    x[..., 301] = 1
    offset = torch.zeros(1, 2, 1, 400)
    y = deform_conv2d_gather(x.bfloat16(), offset.bfloat16(), torch.ones(1, 1, 1, 1).bfloat16())
    assert_close(y.float(), x)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((4, 3, 3), {"offset_groups": 3}, "not a multiple of offset_groups 3"),
        ((4, 3, 3), {"offset_groups": 0}, "offset_groups is 0"),
        ((4, 3, 3), {"padding": "same"}, "padding is 'same'"),
        ((4, 0, 3), {}, "out_channels is 0"),
    ],
)
def test_arguments_that_make_no_layer_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        DeformConv2d(*arguments, **options)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 4, 6, 6), (2, 17, 4, 4), None), r"G \* 18, 4, 4\) is needed"),
        (((2, 4, 6, 6), (2, 18, 6, 6), None), r"G \* 18, 4, 4\) is needed"),
        (((2, 4, 6, 6), (2, 54, 4, 4), None), "G divides the 4 channels"),
        (((2, 4, 6, 6), (2, 18, 4, 4), (2, 8, 4, 4)), "one a tap"),
        (((2, 3, 6, 6), (2, 18, 4, 4), None), "x has 3 channels"),
        (((2, 4, 2, 6), (2, 18, 4, 4), None), "spans 3 positions"),
    ],
)
def test_what_does_not_fit_is_refused(shapes, message):
    x, offset, mask = (None if s is None else torch.zeros(s) for s in shapes)
    with pytest.raises(ValueError, match=message):
        deform_conv2d(x, offset, torch.zeros(3, 4, 3, 3), mask=mask)


@BOTH
def test_an_offset_that_is_no_number_spoils_its_own_position_only(function):
    x, weight = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3)
    offset = torch.zeros(1, 18, 3, 3)
    offset[0, 5, 1, 2] = float("nan")
    spoiled = function(x, offset, weight).isnan()
    assert spoiled[:, :, 1, 2].all() and spoiled.sum() == 3


@BOTH
def test_a_tap_sent_far_outside_reads_zero(function):
    x, weight = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3)
    for distance in (-1e9, 1e9):
        assert function(x, torch.full((1, 18, 3, 3), distance), weight).abs().max() == 0


def test_a_pixel_of_a_large_image_is_found():
    x = torch.zeros(1, 1, 4097, 4097, dtype=torch.bfloat16)
    x[..., 4096, 5] = 1.0  # its flat index is odd and above 2 to the power of 24: float32 has no such number
    offset = torch.tensor([4096.0, 5.0]).view(1, 2, 1, 1)
    y = deform_conv2d_gather(x, offset, torch.ones(1, 1, 1, 1, dtype=torch.bfloat16), stride=4097)
    assert y.item() == 1.0


@BOTH
@pytest.mark.parametrize(("weight", "bias", "message"), [((3, 4, 3), None, "4 axes"), ((3, 4, 3, 3), (4,), "bias has")])
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, weight, bias, message):
    with pytest.raises(ValueError, match=message):
        function(
            torch.zeros(2, 4, 6, 6),
            torch.zeros(2, 18, 4, 4),
            torch.zeros(weight),
            None if bias is None else torch.zeros(bias),
        )
