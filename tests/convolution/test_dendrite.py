"""What only dendrite branches must hold; the contract tests run on every entry beside these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.conv4d import conv4d
from nnvocab.convolution.dendrite import DendriteBranches, soma_sum, soma_sum_stacked


@pytest.mark.oracle("dendrite-branches", by="brute force")
def test_is_the_weighted_sum_of_bent_branches():
    block = DendriteBranches(2, 3, dims=2, activation=torch.tanh).double()
    nn.init.normal_(block.soma_weight)
    nn.init.normal_(block.soma_bias)
    x = torch.randn(1, 2, 6, 7, dtype=torch.float64)
    expected = block.soma_bias.view(1, 3, 1, 1)
    for i, (k, d) in enumerate([(3, 1), (5, 1), (7, 1), (3, 4)]):
        branch = block.branches[i]
        z = F.conv2d(F.pad(x, [d * (k - 1) // 2] * 4), branch.weight, branch.bias, dilation=d)
        expected = expected + block.soma_weight[i].view(1, 3, 1, 1) * torch.tanh(z)
    assert_close(block(x), expected)


def test_stacked_sum_agrees_on_the_value_and_on_every_gradient():
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in [(4, 2, 3, 5, 6), (4, 3), (3,)]]
    plain, fast = (f(inputs[0].unbind(), *inputs[1:]) for f in (soma_sum, soma_sum_stacked))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


@pytest.mark.parametrize(("dims", "convolve"), [(1, F.conv1d), (2, F.conv2d), (3, F.conv3d), (4, conv4d)])
def test_without_a_nonlinearity_it_is_one_convolution(dims, convolve):
    block = DendriteBranches(
        1, 2, kernel_sizes=(3, 5, 3), dilations=(1, 1, 3), dims=dims, activation=nn.Identity()
    ).double()
    nn.init.normal_(block.soma_weight)
    nn.init.normal_(block.soma_bias)
    x = torch.randn(1, 1, *[5] * dims, dtype=torch.float64)
    kernel, bias = block.collapsed()
    assert kernel.shape == (2, 1, *[7] * dims)
    assert_close(block(x), convolve(x, kernel, bias, padding=3))
    block.activation = nn.ReLU()
    assert not torch.allclose(block(x), convolve(x, kernel, bias, padding=3))


def test_every_branch_keeps_the_size_and_the_soma_has_weights_of_its_own():
    block = DendriteBranches(1, 4, kernel_sizes=(3,) * 4, dilations=(1, 2, 4, 8), dims=2)
    x = torch.zeros(1, 1, 5, 6)
    assert {branch(x).shape for branch in block.branches} == {(1, 4, 5, 6)}
    assert_close(block.soma_weight.data, torch.full((4, 4), 0.25))  # it begins as the mean of its branches
    assert_close(block.soma_bias.data, torch.zeros(4))


def test_branches_without_padding_could_not_be_added_up():
    x = torch.zeros(1, 1, 20, 20, 20)
    a, b = (nn.Conv3d(1, 1, 3, dilation=d)(x) for d in (1, 2))
    assert (a.shape[-1], b.shape[-1]) == (18, 16)
    with pytest.raises(RuntimeError, match="size"):
        a + b


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_sizes": (3, 4), "dilations": (1, 1)}, "kernel size 4 with dilation 1 cannot keep the size"),
        ({"kernel_sizes": (0,), "dilations": (2,)}, "kernel size is 0"),
        ({"kernel_sizes": (3,), "dilations": (0,)}, "dilation is 0"),
        ({"kernel_sizes": (3, 5), "dilations": (1,)}, "2 kernel_sizes and 1 dilations"),
        ({"kernel_sizes": (), "dilations": ()}, "0 kernel_sizes"),
        ({"dims": 5}, "dims is 5"),
    ],
)
def test_arguments_that_make_no_block_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DendriteBranches(1, 2, **options)


def test_an_input_of_another_rank_is_refused():
    with pytest.raises(ValueError, match="5 axes are needed"):
        DendriteBranches(1, 2, dims=3)(torch.zeros(1, 1, 2, 3, 4, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_sizes": 3}, "kernel_sizes is 3, but a list is needed"),
        ({"dilations": 1}, "dilations is 1, but a list is needed"),
        ({"activation": "relu"}, "activation is 'relu', but a function"),
    ],
)
def test_arguments_of_another_kind_are_refused(options, message):
    with pytest.raises(TypeError, match=message):
        DendriteBranches(1, 2, **options)


@pytest.mark.parametrize("function", [soma_sum, soma_sum_stacked])
@pytest.mark.parametrize(
    ("branches", "weight", "bias", "message"),
    [
        ([], (0, 2), (2,), "all must have one shape"),
        ([(1, 2, 5), (1, 2, 1)], (2, 2), (2,), "all must have one shape"),
        ([(1, 2, 5), (1, 2, 5)], (3, 2), (2,), r"\(2, 2\) and \(2,\) are needed"),
        ([(1, 2, 5), (1, 2, 5)], (2, 2), (1,), r"bias \(1,\)"),
    ],
)
def test_branches_that_cannot_be_summed_are_refused_by_both_forms(function, branches, weight, bias, message):
    with pytest.raises(ValueError, match=message):
        function([torch.zeros(s) for s in branches], torch.zeros(weight), torch.zeros(bias))
