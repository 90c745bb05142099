"""Dendrite branches: several convolutions side by side, each with its own nonlinearity, summed by a soma."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nnvocab.convolution._shared import check_groups, per_axis
from nnvocab.convolution.conv1d import Conv1d
from nnvocab.convolution.conv2d import Conv2d
from nnvocab.convolution.conv3d import Conv3d
from nnvocab.convolution.conv4d import Conv4d
from nnvocab.vocabulary import Example, entry

CONVOLUTIONS = {1: Conv1d, 2: Conv2d, 3: Conv3d, 4: Conv4d}


def soma_sum(branches: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    r"""Add up the branches with one learned weight a branch and channel, as the equation is written.

    .. math::
        y_c = b_c + \sum_{i} w_{i,c}\; z_{i,c}

    where :math:`z_i` is the output of branch :math:`i` after its nonlinearity.

    Shapes:
        branches: N tensors (B, C, sizes); weight: (N, C); bias: (C,). Returns (B, C, sizes).
    """
    _check(branches, weight, bias)
    shape = (-1, *[1] * (branches[0].dim() - 2))
    y = bias.view(shape)
    for w, z in zip(weight, branches, strict=True):
        y = y + w.view(shape) * z  # (B, C, sizes)
    return y


def soma_sum_stacked(branches: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """The same function as one contraction over all branches."""
    _check(branches, weight, bias)
    y = torch.einsum("nbc...,nc->bc...", torch.stack(list(branches)), weight)
    return y + bias.view(-1, *[1] * (y.dim() - 2))


def _check(branches: Sequence[Tensor], weight: Tensor, bias: Tensor) -> None:
    shapes = {tuple(z.shape) for z in branches}
    if len(shapes) != 1:
        raise ValueError(f"the branches have shapes {sorted(shapes)}, but all must have one shape to be added up")
    channels = next(iter(shapes))[1]
    if tuple(weight.shape) != (len(branches), channels) or tuple(bias.shape) != (channels,):
        raise ValueError(
            f"weight has shape {tuple(weight.shape)} and bias {tuple(bias.shape)}, but for {len(branches)} branches of "
            f"{channels} channels ({len(branches)}, {channels}) and ({channels},) are needed"
        )


@entry(
    name="Dendrite branches",
    page="four_dimensions",
    kind="block",
    aliases=("Dendrite branch processing", "dendritic branches", "soma integration"),
    ids=("dendrite_branches",),
    paper="poirazi2003pyramidal",
    evidence="speculative",
    example=lambda: Example(
        DendriteBranches(2, 2, kernel_sizes=(3, 1, 3), dilations=(1, 1, 2), dims=2, activation=torch.tanh),
        (torch.randn(2, 2, 3, 4),),
    ),
    related=("Dilated convolution", "4D dilated convolution", "Dendritic hypergraph 4D convolution"),
)
class DendriteBranches(nn.Module):
    r"""Block of parallel convolutions with unlike kernels, each bent by a nonlinearity before the soma adds them up.

    .. math::
        y = b + \sum_{i} w_i \odot \phi\big(W_i *_{d_i} x + b_i\big)

    Args:
        in_channels: channels C of the input.
        out_channels: channels O of the output and of each branch.
        kernel_sizes: the kernel size of each branch.
        dilations: the dilation d of each branch.
        dims: axes of the convolutions, 1 to 4.
        activation: the nonlinearity φ of each branch, any function of a tensor that keeps its shape.

    Shapes:
        x: (B, C, sizes) with ``dims`` sizes. Returns (B, O, sizes): every branch is padded by d (K - 1) / 2, so all
        outputs have one size.

    Notice:
        Without φ all branches together are one single convolution, and :meth:`collapsed` writes its kernel down.

    Raises:
        ValueError: if there are not as many dilations as kernels, d (K - 1) is odd, dims is not 1 to 4, or the input
            does not fit.
        TypeError: if kernel_sizes or dilations is no list, or activation no function.

    Source: Poirazi et al. 2003 (a pyramidal neuron as sigmoidal branches that feed one soma). That its branches be
    convolutions of unlike reach is no finding about neurons.

    >>> DendriteBranches(1, 4, dims=3)(torch.zeros(1, 1, 5, 6, 7)).shape
    torch.Size([1, 4, 5, 6, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_sizes: Sequence[int] = (3, 5, 7, 3),
        dilations: Sequence[int] = (1, 1, 1, 4),
        dims: int = 3,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, 1)
        if dims not in CONVOLUTIONS:
            raise ValueError(f"dims is {dims!r}, but must be 1, 2, 3 or 4: the axes after batch and channels")
        for name, given in (("kernel_sizes", kernel_sizes), ("dilations", dilations)):
            if not isinstance(given, Sequence):
                raise TypeError(f"{name} is {given!r}, but a list is needed: one whole number a branch")
        if not callable(activation):
            raise TypeError(f"activation is {activation!r}, but a function of a tensor is needed, such as torch.relu")
        if not kernel_sizes or len(kernel_sizes) != len(dilations):
            raise ValueError(
                f"there are {len(kernel_sizes)} kernel_sizes and {len(dilations)} dilations: give one of each a branch"
            )
        for k, d in zip(kernel_sizes, dilations, strict=True):
            per_axis(k, 1, "kernel size")
            per_axis(d, 1, "dilation")
            if d * (k - 1) % 2:
                raise ValueError(
                    f"kernel size {k} with dilation {d} cannot keep the size, and branches of unlike size cannot be "
                    f"added up: take an odd kernel or an even dilation"
                )
        self.kernel_sizes, self.dilations, self.dims = tuple(kernel_sizes), tuple(dilations), dims
        self.activation = activation
        self.branches = nn.ModuleList(
            CONVOLUTIONS[dims](in_channels, out_channels, k, padding=d * (k - 1) // 2, dilation=d)
            for k, d in zip(kernel_sizes, dilations, strict=True)
        )
        self.soma_weight = nn.Parameter(torch.full((len(kernel_sizes), out_channels), 1 / len(kernel_sizes)))
        self.soma_bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return soma_sum([self.activation(branch(x)) for branch in self.branches], self.soma_weight, self.soma_bias)

    def collapsed(self) -> tuple[Tensor, Tensor]:
        """Kernel and bias of the one convolution that the block is if φ does nothing: (O, C, sizes) and (O,)."""
        reach = max(d * (k - 1) for k, d in zip(self.kernel_sizes, self.dilations, strict=True)) + 1
        first = self.branches[0].weight
        kernel = first.new_zeros(*first.shape[:2], *[reach] * self.dims)
        bias = self.soma_bias.clone()
        for branch, w, k, d in zip(self.branches, self.soma_weight, self.kernel_sizes, self.dilations, strict=True):
            start = (reach - d * (k - 1) - 1) // 2
            taps = (slice(None), slice(None), *[slice(start, start + d * (k - 1) + 1, d)] * self.dims)
            kernel[taps] += w.view(-1, *[1] * (self.dims + 1)) * branch.weight
            bias = bias + w * branch.bias
        return kernel, bias
