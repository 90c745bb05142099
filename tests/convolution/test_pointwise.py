"""What only pointwise convolution must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.feature_maps import feature_map_report
from nnvocab.convolution.pointwise import PointwiseConv2d, pointwise_conv2d, pointwise_conv2d_torch


@pytest.mark.oracle("pointwise-convolution", by="peer: torch.nn.Linear")
def test_is_a_linear_layer_over_the_channels():
    layer, linear = PointwiseConv2d(3, 4).double(), nn.Linear(3, 4).double()
    linear.weight.data, linear.bias.data = layer.weight.data[:, :, 0, 0], layer.bias.data
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    assert_close(layer(x), linear(x.movedim(1, -1)).movedim(-1, 1))


def test_torch_form_agrees_on_the_value_and_on_every_gradient():
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in [(2, 3, 4, 5), (4, 3, 1, 1), (4,)]]
    plain, fast = (f(*inputs) for f in (pointwise_conv2d, pointwise_conv2d_torch))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


def test_looks_at_no_neighbour():
    layer, x = PointwiseConv2d(2, 3), torch.randn(1, 2, 4, 4)
    changed = x.clone()
    changed[..., 1, 2] += 1
    assert (layer(x) != layer(changed)).any(dim=1).nonzero().tolist() == [[0, 1, 2]]


def test_a_report_sees_one_position_and_one_product_for_each_pair_of_channels():
    (row,) = feature_map_report(nn.Sequential(PointwiseConv2d(3, 8)), torch.zeros(1, 3, 5, 6))
    assert (row.receptive_field, row.multiply_adds) == ((1, 1), 3 * 8 * 5 * 6)


@pytest.mark.parametrize(("shape", "message"), [((3, 4, 5), "batch axis"), ((1, 4, 4, 5), "x has 4 channels")])
def test_inputs_that_do_not_fit_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        PointwiseConv2d(3, 4)(torch.zeros(shape))


def test_a_layer_without_channels_is_refused():
    with pytest.raises(ValueError, match="out_channels is 0"):
        PointwiseConv2d(3, 0)


@pytest.mark.parametrize("function", [pointwise_conv2d, pointwise_conv2d_torch])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 3, 5, 5), (4, 3, 3, 3)], {}, r"\(O, C, 1, 1\) is needed"),
        ([(1, 3, 5, 5), (4, 3)], {}, "4 axes are needed"),
        ([(1, 3, 5, 5), (4, 3, 1, 1), (3,)], {}, r"bias has shape \(3,\)"),
    ],
)
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        function(*(torch.zeros(s) for s in shapes), **options)
