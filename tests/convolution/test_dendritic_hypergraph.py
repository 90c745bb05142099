"""What only the dendritic hypergraph block must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.conv3d import Conv3d
from nnvocab.convolution.conv4d import Conv4d, conv4d
from nnvocab.convolution.dendritic_hypergraph import DendriticHypergraph4DConv


@pytest.mark.oracle("dendritic-hypergraph-4d-convolution", by="brute force")
def test_is_branches_summed_by_the_soma_and_then_messages_along_lines():
    block = DendriticHypergraph4DConv(1, 4, num_branches=2, kernel_sizes=(3, 1), dilations=(1, 1), num_heads=2).double()
    nn.init.normal_(block.dendrites.soma_weight)
    x = torch.randn(1, 1, 2, 3, 2, 2, dtype=torch.float64)
    z = block.dendrites.soma_bias.view(1, 4, 1, 1, 1, 1)
    for branch, w, p in zip(block.dendrites.branches, block.dendrites.soma_weight, (1, 0), strict=True):
        z = z + w.view(1, 4, 1, 1, 1, 1) * torch.relu(conv4d(x, branch.weight, branch.bias, padding=p))
    tips, expected = block.tips, z.clone()
    for place in torch.cartesian_prod(*map(torch.arange, (2, 3, 2, 2))).tolist():
        for axis in range(4):
            line = [slice(None) if a == axis else n for a, n in enumerate(place)]
            members = z[(0, slice(None), *line)].T  # (members, O)
            powers = tips.score(members).exp()
            weights = (powers / powers.sum(0)).repeat_interleave(2, dim=1)
            message = tips.psi((weights * tips.f(members)).sum(0))
            expected[(0, slice(None), *place)] = expected[(0, slice(None), *place)] + tips.alpha * message
    assert_close(block(x), expected)


def test_the_branches_are_really_four_dimensional():
    block = DendriticHypergraph4DConv(1, 2)
    kernels = [(b.kernel_size, b.dilation) for b in block.dendrites.branches]
    assert kernels == [((k,) * 4, (d,) * 4) for k, d in [(3, 1), (5, 1), (7, 1), (3, 4)]]
    assert all(isinstance(b, Conv4d) for b in block.dendrites.branches)
    more = DendriticHypergraph4DConv(1, 1, 6, dims=3).dendrites
    assert (more.kernel_sizes, more.dilations) == ((3, 5, 7, 3, 3, 3), (1, 1, 1, 4, 8, 16))


@pytest.mark.parametrize("num_branches", [1, 2, 6])
def test_num_branches_counts_and_the_soma_weighs_each(num_branches):
    block = DendriticHypergraph4DConv(1, 2, num_branches, dims=3)
    assert len(block.dendrites.branches) == len(block.dendrites.soma_weight) == num_branches
    names = {name for name, _ in block.named_parameters()}
    assert {"dendrites.soma_weight", "dendrites.soma_bias", "tips.alpha"} <= names


def test_three_axes_work_as_four_do():
    block = DendriticHypergraph4DConv(2, 4, num_heads=4, dims=3)
    assert all(isinstance(b, Conv3d) for b in block.dendrites.branches)
    assert block(torch.zeros(1, 2, 3, 4, 5)).shape == (1, 4, 3, 4, 5)


def test_every_parameter_learns():
    block = DendriticHypergraph4DConv(1, 4, num_branches=2, kernel_sizes=(1, 3), dilations=(1, 1), num_heads=2)
    block(torch.randn(2, 1, 3, 3, 3, 3)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in block.parameters())


def test_two_blocks_connect_two_positions_of_one_plane():
    x = torch.randn(1, 1, 1, 6, 6)
    x.requires_grad_()
    options = {"num_branches": 1, "kernel_sizes": (1,), "dilations": (1,), "dims": 3, "activation": nn.Identity()}
    blocks = [DendriticHypergraph4DConv(1, 4, **options), DendriticHypergraph4DConv(4, 4, **options)]
    seen = []
    y = x
    for block in blocks:
        nn.init.constant_(block.tips.psi[0].bias, 9.0)  # every ReLU open, so that nothing hides by chance
        y = block(y)
        (gradient,) = torch.autograd.grad(y[..., 0, 1, 2].sum(), x, retain_graph=True)
        seen.append(int((gradient != 0).sum()))
    assert seen[0] <= 11 < seen[1] == 36


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, 12), {"num_heads": 8}, "channels 12 is not a multiple of num_heads 8"),
        ((3, 8, 0), {}, "num_branches is 0"),
        ((3, 8, 3), {"kernel_sizes": (3, 5)}, "kernel_sizes has 2 numbers for 3 branches"),
        ((3, 8, 3), {"dilations": (1, 1)}, "dilations has 2 numbers for 3 branches"),
        ((3, 8), {"dims": 2}, "dims is 2"),
        ((3, 8, 1), {"kernel_sizes": (4,)}, "cannot keep the size"),
    ],
)
def test_arguments_that_make_no_block_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        DendriticHypergraph4DConv(*arguments, **options)


def test_an_input_of_another_rank_is_refused():
    with pytest.raises(ValueError, match="6 axes are needed"):
        DendriticHypergraph4DConv(1, 2, 1)(torch.zeros(1, 1, 3, 3, 3))


def test_kernel_sizes_that_are_no_list_are_refused():
    with pytest.raises(TypeError, match="kernel_sizes is 3, but a list is needed"):
        DendriticHypergraph4DConv(1, 2, kernel_sizes=3)
