"""What only grouped convolution must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.grouped import GroupedConv2d, channel_shuffle, grouped_conv2d, grouped_conv2d_torch


def parts(groups):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 4, 5, 6), (8, 4 // groups, 3, 2), (8,)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("grouped-convolution", by="brute force")
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_an_output_sums_over_its_own_group_only(groups):
    x, weight, bias = (t.detach() for t in parts(groups))
    expected = torch.zeros(2, 8, 3, 5, dtype=torch.float64)
    share = 4 // groups
    for b, o, u, v in torch.cartesian_prod(*map(torch.arange, expected.shape)).tolist():
        first = o // (8 // groups) * share
        expected[b, o, u, v] = bias[o] + (weight[o] * x[b, first : first + share, u : u + 3, v : v + 2]).sum()
    assert_close(grouped_conv2d(x, weight, bias, groups=groups), expected)


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"padding": "same"}], ids=str)
def test_torch_form_agrees_on_the_value_and_on_every_gradient(options):
    inputs = parts(2)
    plain, fast = (f(*inputs, groups=2, **options) for f in (grouped_conv2d, grouped_conv2d_torch))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


def test_shuffling_is_torchs_and_shuffling_by_the_other_factor_undoes_it():
    x = torch.randn(2, 6, 3, 3)
    assert_close(channel_shuffle(x, 2), nn.functional.channel_shuffle(x, 2))
    assert_close(channel_shuffle(channel_shuffle(x, 2), 3), x)


@pytest.mark.parametrize("shuffle", [False, True])
def test_stacked_groups_exchange_nothing_unless_shuffled(shuffle):
    stack = nn.Sequential(*(GroupedConv2d(4, 4, 1, groups=2, shuffle=shuffle) for _ in range(2)))
    x = torch.randn(1, 4, 1, 1)
    jacobian = torch.autograd.functional.jacobian(lambda z: stack(z).flatten(), x).view(4, 4)
    crosses = (jacobian[:2, 2:] != 0).any() if not shuffle else (jacobian != 0).all()
    assert bool(crosses) is shuffle


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"bias": False}], ids=str)
def test_computes_what_torchs_layer_computes(options):
    ours, theirs = GroupedConv2d(4, 8, (3, 2), 2, **options), nn.Conv2d(4, 8, (3, 2), groups=2, **options)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 6, 7)
    assert_close(ours(x), theirs(x))


def test_parameters_shrink_by_the_groups():
    sizes = [GroupedConv2d(64, 128, 3, groups=g, bias=False).weight.numel() for g in (1, 4, 32)]
    assert sizes[0] == 4 * sizes[1] == 32 * sizes[2]


@pytest.mark.parametrize(("arguments", "message"), [((4, 6, 3, 4), "out_channels 6"), ((4, 8, 3, 3), "in_channels 4")])
def test_channels_that_do_not_divide_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GroupedConv2d(*arguments)


def test_a_shuffle_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="6 channels are not a multiple of groups 4"):
        channel_shuffle(torch.zeros(1, 6), 4)
    with pytest.raises(ValueError, match="batch and channels are needed"):
        channel_shuffle(torch.zeros(6), 2)


@pytest.mark.parametrize("function", [grouped_conv2d, grouped_conv2d_torch])
@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(1, 4, 5, 5), (6, 2, 3)], {"groups": 2}, "4 axes are needed"),
        ([(1, 4, 5, 5), (6, 2, 3, 3), (2,)], {"groups": 2}, r"bias has shape \(2,\)"),
        ([(1, 4, 5, 5), (6, 2, 3, 3)], {"groups": 0}, "groups is 0"),
        ([(1, 4, 5, 5), (6, 2, 3, 3)], {"groups": 1}, "x has 4 channels, but the kernel reads 2"),
    ],
)
def test_kernels_and_biases_that_do_not_fit_are_refused_by_both_forms(function, shapes, options, message):
    with pytest.raises(ValueError, match=message):
        function(*(torch.zeros(s) for s in shapes), **options)
