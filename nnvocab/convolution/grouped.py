"""Grouped convolution: the channels are dealt into groups that do not see each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.convolution._shared import (
    check_groups,
    new_parameters,
    pad_amounts,
    per_axis,
    prepare,
    symmetric,
)
from nnvocab.convolution.conv2d import conv2d
from nnvocab.vocabulary import Example, entry

Two = tuple[int, int]


def grouped_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    groups: int,
    stride: int | Two = 1,
    padding: int | str | Two = 0,
) -> Tensor:
    r"""Cut the channels into groups, convolve each alone, and join the results, as the equation is written.

    .. math::
        y = \big[\, w^{(1)} * x^{(1)},\; \dots,\; w^{(g)} * x^{(g)} \,\big] + b

    where :math:`x^{(a)}` holds the :math:`a`-th share of the channels, and :math:`*` is the 2D convolution.

    Shapes:
        x: (B, C, H, W); weight: (O, C / groups, K, K'); bias: (O,). Returns (B, O, H', W').
    """
    prepare(x, weight, bias, 2, stride, padding, 1, groups)
    shares = zip(x.chunk(groups, dim=1), weight.chunk(groups, dim=0), strict=True)
    y = torch.cat([conv2d(part, kernels, stride=stride, padding=padding) for part, kernels in shares], dim=1)
    return y if bias is None else y + bias[:, None, None]


def grouped_conv2d_torch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    groups: int,
    stride: int | Two = 1,
    padding: int | str | Two = 0,
) -> Tensor:
    """The same function by torch's kernel, all groups at once."""
    _, strides, dilations, amounts = prepare(x, weight, bias, 2, stride, padding, 1, groups)
    x, rest = symmetric(x, amounts)
    return F.conv2d(x, weight, bias, strides, rest, dilations, groups)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Deal the channels of each group to all groups, as ShuffleNet does: channel a n + b goes to place b g + a.

    Shapes:
        x: (B, C, ...), C a multiple of groups. Returns the same shape.

    Raises:
        ValueError: if groups does not divide the channels, or x has none.

    >>> channel_shuffle(torch.arange(6).view(1, 6), groups=2)
    tensor([[0, 3, 1, 4, 2, 5]])
    """
    if x.dim() < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}, but batch and channels are needed: (B, C, ...)")
    if groups < 1 or x.shape[1] % groups:
        raise ValueError(f"{x.shape[1]} channels are not a multiple of groups {groups}: every group has the same share")
    shares = x.unflatten(1, (groups, -1))  # (B, C, ...) -> (B, g, C/g, ...)
    return shares.transpose(1, 2).flatten(1, 2)  # (B, C/g, g, ...) -> (B, C, ...)


@entry(
    name="Grouped convolution",
    page="cheaper",
    aliases=("group convolution", "channel shuffle"),
    ids=("grouped_conv",),
    paper="krizhevsky2012alexnet",
    peer="torch.nn.Conv2d",
    example=lambda: Example(GroupedConv2d(4, 6, 3, groups=2, padding=1, shuffle=True), (torch.randn(2, 4, 4, 3),)),
    related=("Depthwise convolution", "Depthwise separable convolution"),
)
class GroupedConv2d(nn.Module):
    r"""Layer whose ``groups`` shares of the channels are convolved apart, and shuffled afterwards if you like.

    .. math::
        y = \big[\, w^{(1)} * x^{(1)},\; \dots,\; w^{(g)} * x^{(g)} \,\big] + b

    Args:
        in_channels: channels C of the input.
        out_channels: channels O of the output.
        kernel_size: height K and width K' of a kernel; one number for both.
        groups: number g of shares; it must divide C and O.
        stride: steps between one window and the next.
        padding: zeros on every side, or ``"same"`` or ``"valid"``.
        shuffle: deal each group's outputs to all groups of the next layer.
        bias: add one learned number to each output channel.

    Shapes:
        x: (B, C, H, W). Returns (B, O, H', W').

    Notice:
        Weights and work shrink by g. Without a shuffle, groups stacked on equal groups never exchange anything. One
        group is plain convolution, and C groups are depthwise convolution.

    Raises:
        ValueError: if groups does not divide the channels, or the input does not fit.

    Source: Krizhevsky et al. 2012, section 3.2; the shuffle: Zhang et al. 2018, section 3.1.

    >>> GroupedConv2d(64, 128, 3, groups=4).weight.shape
    torch.Size([128, 16, 3, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Two,
        groups: int,
        *,
        stride: int | Two = 1,
        padding: int | str | Two = 0,
        shuffle: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, groups)
        self.kernel_size, self.stride = per_axis(kernel_size, 2, "kernel_size"), per_axis(stride, 2, "stride")
        pad_amounts(padding, self.kernel_size, self.stride, (1, 1))
        self.groups, self.padding, self.shuffle = groups, padding, shuffle
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight, self.bias = new_parameters(shape, out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        y = grouped_conv2d_torch(
            x, self.weight, self.bias, groups=self.groups, stride=self.stride, padding=self.padding
        )
        return channel_shuffle(y, self.groups) if self.shuffle else y
