"""What only depthwise convolution must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.depthwise import DepthwiseConv2d, depthwise_conv2d, depthwise_conv2d_torch

CASES = [{}, {"stride": 2, "padding": 1}, {"padding": "same", "dilation": (1, 2)}]


def parts(multiplier=2):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 6, 5), (3 * multiplier, 1, 3, 2), (3 * multiplier,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("depthwise-convolution", by="brute force")
def test_each_channel_meets_its_own_kernels_only():
    x, weight, bias = (t.detach() for t in parts())
    expected = torch.zeros(2, 6, 4, 4, dtype=torch.float64)
    for b, o, u, v in torch.cartesian_prod(*map(torch.arange, expected.shape)).tolist():
        expected[b, o, u, v] = bias[o] + (weight[o, 0] * x[b, o // 2, u : u + 3, v : v + 2]).sum()
    assert_close(depthwise_conv2d(x, weight, bias), expected)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_torch_form_agrees_on_the_value_and_on_every_gradient(options, multiplier):
    inputs = parts(multiplier)
    plain, fast = (f(*inputs, **options) for f in (depthwise_conv2d, depthwise_conv2d_torch))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


def test_is_torchs_layer_with_as_many_groups_as_channels():
    layers = []
    for make in (
        lambda: DepthwiseConv2d(3, 3, multiplier=2, padding=1),
        lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3),
    ):
        torch.manual_seed(0)
        layers.append(make())
    x = torch.randn(2, 3, 5, 5)
    assert_close(layers[0].state_dict(), layers[1].state_dict(), rtol=0, atol=0)
    assert_close(layers[0](x), layers[1](x))


def test_the_jacobian_by_channels_is_block_diagonal():
    layer = DepthwiseConv2d(3, 3, multiplier=2, padding=1)
    jacobian = torch.autograd.functional.jacobian(layer, torch.randn(1, 3, 4, 4))  # (1, 6, 4, 4, 1, 3, 4, 4)
    talks = (jacobian[0, :, :, :, 0] != 0).any(dim=(1, 2), keepdim=False).flatten(2).any(dim=2)  # (6, 3)
    expected = torch.eye(3, dtype=torch.bool).repeat_interleave(2, dim=0)
    assert torch.equal(talks, expected)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 3), {"multiplier": 0}, "multiplier is 0"),
        ((0, 3), {}, "^channels is 0"),
        ((3, 0), {}, "kernel_size is 0"),
        ((3, 3), {"multiplier": 1.5}, "multiplier is 1.5"),
    ],
)
def test_arguments_that_make_no_layer_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        DepthwiseConv2d(*arguments, **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((3, 5, 5), "batch axis"), ((1, 6, 5, 5), "built for 3"), ((1, 3, 2, 5), "spans 3 positions")],
)
def test_inputs_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        DepthwiseConv2d(3, 3)(torch.zeros(shape))


@pytest.mark.parametrize("function", [depthwise_conv2d, depthwise_conv2d_torch])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 3, 5, 5), (6, 3, 3, 3)], {}, r"\(M \* 3, 1, K, K'\) is needed"),
        ([(1, 3, 5, 5), (4, 1, 3, 3)], {}, r"\(M \* 3, 1, K, K'\) is needed"),
        ([(1, 3, 5, 5), (6, 3, 3)], {}, "4 axes are needed"),
        ([(1, 3, 5, 5), (6, 1, 3, 3), (3,)], {}, r"bias has shape \(3,\)"),
        ([(3, 5, 5), (6, 1, 3, 3)], {}, "batch axis"),
    ],
)
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        function(*(torch.zeros(s) for s in shapes), **options)
