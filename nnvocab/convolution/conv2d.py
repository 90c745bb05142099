"""2D convolution: one small kernel slides over an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.convolution._shared import (
    add_bias,
    check_groups,
    new_parameters,
    pad_amounts,
    per_axis,
    prepare,
    symmetric,
    windows,
    zero_pad,
)
from nnvocab.vocabulary import Example, entry


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | str | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    r"""Lay each kernel on every window of an image and add up the products, as the equation is written.

    .. math::
        y_{o,u,v} = b_o + \sum_{c}\sum_{i,j} w_{o,c,i,j}\; x_{c,\; s u + d i - p,\; s v + d j - p}

    where :math:`s` is the stride, :math:`d` the dilation, :math:`p` the padding, and :math:`x` is 0 outside.

    Shapes:
        x: (B, C, H, W); weight: (O, C / groups, K, K'); bias: (O,). Returns (B, O, H', W').
    """
    kernel, strides, dilations, amounts = prepare(x, weight, bias, 2, stride, padding, dilation, groups)
    patches = windows(zero_pad(x, amounts), kernel, strides, dilations)  # (B, C, H', W', K, K')
    patches = patches.unflatten(1, (groups, -1))  # (B, g, C/g, H', W', K, K')
    kernels = weight.unflatten(0, (groups, -1))  # (g, O/g, C/g, K, K')
    y = torch.einsum("bgcuvij,gocij->bgouv", patches, kernels).flatten(1, 2)  # (B, O, H', W')
    return add_bias(y, bias)


def conv2d_torch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | str | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """The same function by torch's kernel, which never stores the windows."""
    _, strides, dilations, amounts = prepare(x, weight, bias, 2, stride, padding, dilation, groups)
    x, rest = symmetric(x, amounts)
    return F.conv2d(x, weight, bias, strides, rest, dilations, groups)


@entry(
    name="2D convolution",
    page="one_kernel",
    aliases=("spatial convolution", "2D convolution layer", "convolutional layer", "cross-correlation layer"),
    ids=("conv2d", "loom_conv2d"),
    paper="lecun1998gradient",
    peer="torch.nn.Conv2d",
    example=lambda: Example(Conv2d(4, 6, (3, 2), stride=(1, 2), padding=1, groups=2), (torch.randn(2, 4, 5, 6),)),
    related=("Kernel and weight sharing", "Stride", "Padding", "Output size", "Feature maps", "Receptive field"),
)
class Conv2d(nn.Module):
    r"""Layer that slides ``out_channels`` learned kernels over an image.

    .. math::
        y_{o,u,v} = b_o + \sum_{c}\sum_{i,j} w_{o,c,i,j}\; x_{c,\; s u + d i - p,\; s v + d j - p}

    Args:
        in_channels: channels C of the input: 1 for grey, 3 for colour.
        out_channels: kernels O, and so feature maps of the output.
        kernel_size: height K and width K' of a kernel; one number for both.
        stride: steps s between one window and the next.
        padding: zeros p on every side; ``"same"`` keeps the size at stride 1, ``"valid"`` is none.
        dilation: steps d between one tap and the next.
        groups: independent groups of channels; it must divide C and O.
        bias: add one learned number to each output channel.

    Shapes:
        x: (B, C, H, W). Returns (B, O, H', W'), H' = floor((H + 2p - d(K - 1) - 1) / s) + 1 and W' likewise.

    Notice:
        The kernel is not flipped: mathematics calls this cross-correlation. Weights are learned, so nothing is lost.

    Raises:
        ValueError: if channels do not divide, the input has another rank or number of channels, or the kernel
            reaches farther than the padded input.

    Source: LeCun et al. 1998, section II.A; arithmetic after Dumoulin and Visin 2016, section 2.

    >>> Conv2d(1, 32, kernel_size=3)(torch.zeros(1, 1, 28, 28)).shape
    torch.Size([1, 32, 26, 26])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | str | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, groups)
        self.kernel_size = per_axis(kernel_size, 2, "kernel_size")
        self.stride, self.dilation = per_axis(stride, 2, "stride"), per_axis(dilation, 2, "dilation")
        pad_amounts(padding, self.kernel_size, self.stride, self.dilation)
        self.padding, self.groups = padding, groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight, self.bias = new_parameters(shape, out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d_torch(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
