"""1D convolution: one small kernel slides along a sequence."""

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

WORDS = ("same", "valid", "causal")


def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int | str = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    r"""Slide each kernel along a sequence and add up the products, as the equation is written.

    .. math::
        y_{o,t} = b_o + \sum_{c}\sum_{k} w_{o,c,k}\; x_{c,\; s t + d k - p}

    where :math:`s` is the stride, :math:`d` the dilation, and :math:`x` is 0 outside of the sequence, which begins
    :math:`p` positions late because of the padding.

    Shapes:
        x: (B, C, T); weight: (O, C / groups, K); bias: (O,). Returns (B, O, T').
    """
    kernel, strides, dilations, amounts = prepare(x, weight, bias, 1, stride, padding, dilation, groups, WORDS)
    patches = windows(zero_pad(x, amounts), kernel, strides, dilations)  # (B, C, T', K)
    patches = patches.unflatten(1, (groups, -1))  # (B, g, C/g, T', K)
    kernels = weight.unflatten(0, (groups, -1))  # (g, O/g, C/g, K)
    y = torch.einsum("bgctk,gock->bgot", patches, kernels).flatten(1, 2)  # (B, O, T')
    return add_bias(y, bias)


def conv1d_torch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int = 1,
    padding: int | str = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """The same function by torch's kernel, which never stores the windows."""
    _, strides, dilations, amounts = prepare(x, weight, bias, 1, stride, padding, dilation, groups, WORDS)
    x, rest = symmetric(x, amounts)
    return F.conv1d(x, weight, bias, strides, rest, dilations, groups)


@entry(
    name="1D convolution",
    page="one_and_three_axes",
    aliases=("temporal convolution", "causal convolution", "1D convolution layer"),
    ids=("conv1d", "loom_conv1d"),
    paper="waibel1989tdnn",
    peer="torch.nn.Conv1d",
    example=lambda: Example(Conv1d(4, 6, 3, stride=2, padding="causal", dilation=2, groups=2), (torch.randn(2, 4, 9),)),
    related=("Dilated convolution", "2D convolution", "Output size"),
)
class Conv1d(nn.Module):
    r"""Layer that slides ``out_channels`` learned kernels along a sequence.

    .. math::
        y_{o,t} = b_o + \sum_{c}\sum_{k} w_{o,c,k}\; x_{c,\; s t + d k - p}

    Args:
        in_channels: channels C of the input.
        out_channels: kernels O, and so channels of the output.
        kernel_size: taps K of a kernel.
        stride: positions s between one window and the next.
        padding: zeros p on both sides; ``"same"`` keeps the length at stride 1, ``"valid"`` is none, and ``"causal"``
            puts d (K - 1) zeros in front only, so that an output sees no later input.
        dilation: positions d between one tap and the next.
        groups: independent groups of channels; it must divide C and O.
        bias: add one learned number to each output channel.

    Shapes:
        x: (B, C, T). Returns (B, O, T'), T' = floor((T + 2p - d(K - 1) - 1) / s) + 1.

    Notice:
        Recurrent and attention layers with ``batch_first`` want (B, T, C): in front of them, transpose axes 1 and 2.

    Raises:
        ValueError: if channels do not divide, the input has another rank or number of channels, or the kernel
            reaches farther than the padded input.

    Source: Waibel et al. 1989, section II (the time-delay neural network); causal padding as in van den Oord et al.
    2016, section 2.1.

    >>> Conv1d(2, 8, kernel_size=3, padding="causal")(torch.zeros(1, 2, 10)).shape
    torch.Size([1, 8, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, groups)
        self.kernel_size = per_axis(kernel_size, 1, "kernel_size")
        self.stride, self.dilation = per_axis(stride, 1, "stride"), per_axis(dilation, 1, "dilation")
        pad_amounts(padding, self.kernel_size, self.stride, self.dilation, WORDS)
        self.padding, self.groups = padding, groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight, self.bias = new_parameters(shape, out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        return conv1d_torch(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
