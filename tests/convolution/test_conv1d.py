"""What only 1D convolution must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.conv1d import Conv1d, conv1d, conv1d_torch

CASES = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": "same"},
    {"padding": "same", "dilation": 3},
    {"padding": "causal", "dilation": 2},
    {"padding": "causal", "stride": 2},
    {"groups": 2, "padding": 2, "dilation": 2, "stride": 3},
]


def parts(groups=1, K=3, T=11):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 4, T), (6, 4 // groups, K), (6,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("1d-convolution", by="brute force")
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_is_the_sum_of_products_written_out(options, kernel):
    s, d, g = (options.get(name, 1) for name in ("stride", "dilation", "groups"))
    x, weight, bias = (t.detach() for t in parts(g, kernel))
    reach = d * (kernel - 1)
    padding = options.get("padding", 0)
    before, after = {"same": (reach // 2, reach - reach // 2), "causal": (reach, 0)}.get(padding, (padding, padding))
    length = (11 + before + after - reach - 1) // s + 1
    expected = torch.zeros(2, 6, length, dtype=torch.float64)
    for b, o, t in [(b, o, t) for b in range(2) for o in range(6) for t in range(length)]:
        total = bias[o].clone()
        for c in range(4 // g):
            for k in range(kernel):
                position = s * t + d * k - before
                if 0 <= position < 11:
                    total += weight[o, c, k] * x[b, o // (6 // g) * (4 // g) + c, position]
        expected[b, o, t] = total
    assert_close(conv1d(x, weight, bias, **options), expected)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_torch_form_agrees_on_the_value_and_on_every_gradient(options):
    inputs = parts(options.get("groups", 1))
    plain, fast = (f(*inputs, **options) for f in (conv1d, conv1d_torch))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


@pytest.mark.parametrize("kernel", [2, 3, 4])
@pytest.mark.parametrize("padding", [0, 2, "same", "valid"])
def test_is_torchs_layer_from_the_same_seed(padding, kernel):
    layers = []
    for kind in (Conv1d, nn.Conv1d):
        torch.manual_seed(0)
        layers.append(kind(4, 6, kernel, padding=padding, groups=2))
    x = torch.randn(2, 4, 9)
    assert_close(layers[0].state_dict(), layers[1].state_dict(), rtol=0, atol=0)
    assert_close(layers[0](x), layers[1](x))


def test_a_causal_layer_sees_no_later_input():
    layer = Conv1d(1, 2, 3, padding="causal", dilation=2)
    x = torch.randn(1, 1, 12)
    changed = x.clone()
    changed[..., 7:] += 1.0
    assert layer(x).shape[-1] == 12
    assert_close(layer(x)[..., :7], layer(changed)[..., :7])
    assert not torch.allclose(layer(x)[..., 7:], layer(changed)[..., 7:])


def test_the_length_is_floored():
    assert Conv1d(1, 1, 2, stride=2)(torch.zeros(1, 1, 5)).shape[-1] == 2  # (5 - 2) / 2 + 1 would be 2.5


def test_half_the_kernel_size_keeps_the_length_of_odd_kernels_only():
    x = torch.zeros(1, 1, 10)
    assert Conv1d(1, 1, 3, padding=3 // 2)(x).shape[-1] == 10
    assert Conv1d(1, 1, 4, padding=4 // 2)(x).shape[-1] == 11
    assert Conv1d(1, 1, 3, padding=3 // 2, dilation=2)(x).shape[-1] == 8


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 4, 3), {"groups": 2}, "in_channels 3 is not a multiple of groups 2"),
        ((4, 3, 3), {"groups": 2}, "out_channels 3 is not a multiple of groups 2"),
        ((0, 3, 3), {}, "in_channels is 0"),
        ((4.0, 3, 3), {}, "in_channels is 4.0"),
        ((4, 4, 3), {"groups": 0}, "groups is 0"),
        ((4, 4, 3), {"groups": 1.5}, "groups is 1.5, but must be a whole number"),
        ((4, 4, 0), {}, "kernel_size is 0"),
        ((4, 4, 3), {"stride": 0}, "stride is 0"),
        ((4, 4, 3), {"padding": -1}, "padding is -1"),
        ((4, 4, 3), {"padding": "full"}, "one of .*causal"),
        ((4, 4, 3), {"padding": "same", "stride": 2}, "stride"),
    ],
)
def test_arguments_that_make_no_layer_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        Conv1d(*arguments, **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 9), r"add the batch axis with x\[None\]"),
        ((1, 1, 4, 9), "3 axes are needed"),
        ((2, 3, 9), "x has 3 channels, but the kernel reads 4"),
        ((2, 4, 2), "spans 3 positions, but the padded input has 2"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        Conv1d(4, 4, 3)(torch.zeros(shape))


@pytest.mark.parametrize("function", [conv1d, conv1d_torch])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 4, 9), (6, 4), (6,)], {}, r"weight has shape \(6, 4\), but 3 axes are needed: outputs, inputs, length"),
        ([(1, 4, 9, 9), (6, 4, 3, 3), (6,)], {}, "but 3 axes are needed: outputs"),
        ([(1, 4, 9), (6, 4, 3), (1,)], {}, r"bias has shape \(1,\), but \(6,\) is needed"),
        ([(1, 4, 9), (6, 4, 3), (6,)], {"groups": 0}, "groups is 0"),
        ([(1, 8, 9), (5, 4, 3), (5,)], {"groups": 2}, "out_channels 5 is not a multiple of groups 2"),
    ],
)
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        function(*(torch.zeros(s) for s in shapes), **options)
