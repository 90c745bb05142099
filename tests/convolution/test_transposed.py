"""What only transposed convolution must hold; the contract tests run on every entry beside these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.transposed import TransposedConv2d, conv_transpose2d, conv_transpose2d_torch

CASES = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": 2, "padding": 1, "output_padding": 1},
    {"stride": (2, 3), "padding": (0, 2), "output_padding": (1, 0), "dilation": (1, 2)},
]


def parts():
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 2, 3, 4), (2, 3, 3, 4), (3,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("transposed-convolution", by="brute force")
@pytest.mark.parametrize("options", CASES, ids=str)
def test_every_input_value_stamps_the_kernel(options):
    x, weight, bias = (t.detach() for t in parts())
    two = {k: (v, v) if isinstance(v, int) else v for k, v in options.items()}
    s, p = two.get("stride", (1, 1)), two.get("padding", (0, 0))
    q, d = two.get("output_padding", (0, 0)), two.get("dilation", (1, 1))
    size = [(n - 1) * s[a] - 2 * p[a] + d[a] * (k - 1) + q[a] + 1 for a, (n, k) in enumerate([(3, 3), (4, 4)])]
    expected = bias.view(1, 3, 1, 1).repeat(2, 1, *size)
    for b, c, u, v in torch.cartesian_prod(*map(torch.arange, x.shape)).tolist():
        for o, i, j in torch.cartesian_prod(*map(torch.arange, (3, 3, 4))).tolist():
            row, column = s[0] * u + d[0] * i - p[0], s[1] * v + d[1] * j - p[1]
            if 0 <= row < size[0] and 0 <= column < size[1]:
                expected[b, o, row, column] += x[b, c, u, v] * weight[c, o, i, j]
    assert_close(conv_transpose2d(x, weight, bias, **options), expected)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_torch_form_agrees_on_the_value_and_on_every_gradient(options):
    inputs = parts()
    plain, fast = (f(*inputs, **options) for f in (conv_transpose2d, conv_transpose2d_torch))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


@pytest.mark.parametrize("options", CASES, ids=str)
def test_computes_what_torchs_layer_computes(options):
    ours, theirs = TransposedConv2d(2, 3, (3, 4), **options), nn.ConvTranspose2d(2, 3, (3, 4), **options)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 2, 3, 4)
    assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_is_the_adjoint_of_the_convolution(stride, padding):
    x, weight = torch.randn(1, 3, 9, 9, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    down = F.conv2d(x, weight, stride=stride, padding=padding)
    y = torch.randn_like(down)
    rest = 9 - (down.shape[-1] - 1) * stride + 2 * padding - 4
    up = conv_transpose2d(y, weight, stride=stride, padding=padding, output_padding=rest)
    assert_close((down * y).sum(), (x * up).sum())  # <A x, y> = <x, A' y>


def test_is_no_inverse():
    x, weight = torch.randn(1, 1, 8, 8, dtype=torch.float64), torch.randn(1, 1, 3, 3, dtype=torch.float64)
    back = conv_transpose2d(F.conv2d(x, weight), weight)
    scale = (back * x).sum() / (back * back).sum()  # the best that any factor could do
    assert back.shape == x.shape
    assert (scale * back - x).norm() > 0.3 * x.norm()


def test_positions_get_unequal_numbers_of_stamps_where_the_stride_does_not_divide_the_kernel():
    ones = torch.ones(1, 1, 6, 6)
    uneven = conv_transpose2d(ones, torch.ones(1, 1, 3, 3), stride=2)[0, 0, 2:-2, 2:-2]
    even = conv_transpose2d(ones, torch.ones(1, 1, 4, 4), stride=2)[0, 0, 2:-2, 2:-2]
    assert sorted(set(uneven.flatten().tolist())) == [1.0, 2.0, 4.0]
    assert set(even.flatten().tolist()) == {4.0}


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"output_padding": 1}, (1, 2, 4, 4), "less than stride or dilation"),
        ({"stride": 0}, (1, 2, 4, 4), "stride is 0"),
        ({"padding": 4}, (1, 2, 3, 3), "removes everything"),
        ({}, (2, 4, 4), "batch axis"),
        ({}, (1, 3, 4, 4), "x has 3 channels"),
    ],
)
def test_what_does_not_fit_is_refused(options, shape, message):
    with pytest.raises(ValueError, match=message):
        TransposedConv2d(2, 3, 3, **options)(torch.zeros(shape))


@pytest.mark.parametrize("function", [conv_transpose2d, conv_transpose2d_torch])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 3, 5, 5), (3, 6, 3)], {}, "4 axes are needed"),
        ([(1, 3, 5, 5), (3, 6, 3, 3), (3,)], {}, r"bias has shape \(3,\), but \(6,\) is needed"),
        ([(1, 3, 5, 5), (3, 6, 3, 3)], {"padding": "same"}, "padding is 'same'"),
    ],
)
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        function(*(torch.zeros(s) for s in shapes), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_padding": 1}, "less than stride or dilation"),
        ({"stride": (2, 1), "output_padding": (1, 1)}, "less than stride or dilation"),
        ({"stride": 0}, "stride is 0"),
        ({"padding": -1}, "padding is -1"),
    ],
)
def test_arguments_that_fit_no_input_are_refused_when_the_layer_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        TransposedConv2d(2, 3, 3, **options)


def test_begins_with_the_weights_of_torchs_layer_from_the_same_seed():
    states = []
    for kind in (TransposedConv2d, nn.ConvTranspose2d):
        torch.manual_seed(0)
        states.append(kind(2, 3, (3, 4)).state_dict())
    assert_close(states[0], states[1], rtol=0, atol=0)
