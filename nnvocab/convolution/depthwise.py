"""Depthwise convolution: every channel has a kernel of its own and sees no other channel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.convolution._shared import (
    add_bias,
    new_parameters,
    pad_amounts,
    per_axis,
    prepare,
    symmetric,
    windows,
    zero_pad,
)
from nnvocab.vocabulary import Example, entry

Two = tuple[int, int]


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Two = 1,
    padding: int | str | Two = 0,
    dilation: int | Two = 1,
) -> Tensor:
    r"""Convolve each channel with its own kernels, as the equation is written.

    .. math::
        y_{c m,\, u,v} = b_{cm} + \sum_{i,j} w_{c,m,i,j}\; x_{c,\; s u + d i - p,\; s v + d j - p}

    where :math:`m` counts the kernels of channel :math:`c`. No sum runs over channels.

    Shapes:
        x: (B, C, H, W); weight: (C M, 1, K, K'); bias: (C M,). Returns (B, C M, H', W').
    """
    kernel, strides, dilations, amounts, channels = _arguments(x, weight, bias, stride, padding, dilation)
    patches = windows(zero_pad(x, amounts), kernel, strides, dilations)  # (B, C, H', W', K, K')
    kernels = weight.view(channels, -1, *kernel)  # (C, M, K, K')
    y = torch.einsum("bcuvij,cmij->bcmuv", patches, kernels).flatten(1, 2)  # (B, C M, H', W')
    return add_bias(y, bias)


def depthwise_conv2d_torch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Two = 1,
    padding: int | str | Two = 0,
    dilation: int | Two = 1,
) -> Tensor:
    """The same function by torch's kernel: a grouped convolution with one input channel a group."""
    _, strides, dilations, amounts, channels = _arguments(x, weight, bias, stride, padding, dilation)
    x, rest = symmetric(x, amounts)
    return F.conv2d(x, weight, bias, strides, rest, dilations, channels)


def _arguments(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int | Two, padding: int | str | Two, dilation: int | Two
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], list[tuple[int, int]], int]:
    """What ``prepare`` returns for one group a channel, and the number of channels."""
    channels = x.shape[1] if x.dim() == 4 else 1
    if weight.dim() == 4 and (weight.shape[1] != 1 or channels < 1 or weight.shape[0] % channels):
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}, but (M * {channels}, 1, K, K') is needed: M kernels for each of "
            f"{channels} channels"
        )
    return (*prepare(x, weight, bias, 2, stride, padding, dilation, channels), channels)


@entry(
    name="Depthwise convolution",
    page="cheaper",
    aliases=("per-channel convolution",),
    ids=("depthwise_conv",),
    paper="howard2017mobilenets",
    peer="torch.nn.Conv2d",
    example=lambda: Example(DepthwiseConv2d(3, 3, multiplier=2, stride=2, padding=1), (torch.randn(2, 3, 5, 4),)),
    related=("Depthwise separable convolution", "Pointwise convolution", "Grouped convolution"),
)
class DepthwiseConv2d(nn.Module):
    r"""Layer that filters each channel by ``multiplier`` kernels of its own and mixes none.

    .. math::
        y_{c m,\, u,v} = b_{cm} + \sum_{i,j} w_{c,m,i,j}\; x_{c,\; s u + d i - p,\; s v + d j - p}

    Args:
        channels: channels C of the input.
        kernel_size: height K and width K' of a kernel; one number for both.
        multiplier: kernels M for each channel.
        stride: steps s between one window and the next.
        padding: zeros p on every side, or ``"same"`` or ``"valid"``.
        dilation: steps d between one tap and the next.
        bias: add one learned number to each output channel.

    Shapes:
        x: (B, C, H, W). Returns (B, C M, H', W'); outputs c M to c M + M - 1 come from channel c.

    Notice:
        The derivative of output channels by input channels is block diagonal: M rows a channel, and 0 elsewhere.

    Raises:
        ValueError: if channels or multiplier are less than 1, or the input does not fit.

    Source: Howard et al. 2017, section 3.1, equation 3.

    >>> DepthwiseConv2d(16, kernel_size=3).weight.shape
    torch.Size([16, 1, 3, 3])
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int | Two,
        *,
        multiplier: int = 1,
        stride: int | Two = 1,
        padding: int | str | Two = 0,
        dilation: int | Two = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        per_axis(channels, 1, "channels")
        per_axis(multiplier, 1, "multiplier")
        self.kernel_size = per_axis(kernel_size, 2, "kernel_size")
        self.stride, self.dilation = per_axis(stride, 2, "stride"), per_axis(dilation, 2, "dilation")
        pad_amounts(padding, self.kernel_size, self.stride, self.dilation)
        self.channels, self.padding = channels, padding
        shape = (channels * multiplier, 1, *self.kernel_size)
        self.weight, self.bias = new_parameters(shape, channels * multiplier, bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4 and x.shape[1] != self.channels:
            raise ValueError(f"x has {x.shape[1]} channels, but the layer was built for {self.channels}")
        return depthwise_conv2d_torch(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, dilation=self.dilation
        )
