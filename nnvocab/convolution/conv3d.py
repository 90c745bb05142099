"""3D convolution: a small block of weights slides through a volume or a film."""

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

Three = tuple[int, int, int]


def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Three = 1,
    padding: int | str | Three = 0,
    dilation: int | Three = 1,
    groups: int = 1,
) -> Tensor:
    r"""Lay each kernel on every block of a volume and add up the products, as the equation is written.

    .. math::
        y_{o,a,u,v} = b_o + \sum_{c}\sum_{l,i,j} w_{o,c,l,i,j}\;
        x_{c,\; s a + d l - p,\; s u + d i - p,\; s v + d j - p}

    where :math:`s` is the stride, :math:`d` the dilation, :math:`p` the padding, and :math:`x` is 0 outside.

    Shapes:
        x: (B, C, D, H, W); weight: (O, C / groups, K, K', K''); bias: (O,). Returns (B, O, D', H', W').
    """
    kernel, strides, dilations, amounts = prepare(x, weight, bias, 3, stride, padding, dilation, groups)
    patches = windows(zero_pad(x, amounts), kernel, strides, dilations)  # (B, C, D', H', W', K, K', K'')
    patches = patches.unflatten(1, (groups, -1))  # (B, g, C/g, D', H', W', K, K', K'')
    kernels = weight.unflatten(0, (groups, -1))  # (g, O/g, C/g, K, K', K'')
    y = torch.einsum("bgcauvlij,goclij->bgoauv", patches, kernels).flatten(1, 2)  # (B, O, D', H', W')
    return add_bias(y, bias)


def conv3d_torch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Three = 1,
    padding: int | str | Three = 0,
    dilation: int | Three = 1,
    groups: int = 1,
) -> Tensor:
    """The same function by torch's kernel, which never stores the windows."""
    _, strides, dilations, amounts = prepare(x, weight, bias, 3, stride, padding, dilation, groups)
    x, rest = symmetric(x, amounts)
    return F.conv3d(x, weight, bias, strides, rest, dilations, groups)


@entry(
    name="3D convolution",
    page="one_and_three_axes",
    aliases=("volumetric convolution", "spatiotemporal convolution"),
    ids=("conv3d",),
    paper="tran2015c3d",
    peer="torch.nn.Conv3d",
    example=lambda: Example(
        Conv3d(2, 4, (2, 3, 3), stride=(1, 2, 1), padding=1, groups=2), (torch.randn(2, 2, 3, 4, 4),)
    ),
    related=("2D convolution", "4D dilated convolution"),
)
class Conv3d(nn.Module):
    r"""Layer that slides ``out_channels`` learned blocks through a volume, or through a film.

    .. math::
        y_{o,a,u,v} = b_o + \sum_{c}\sum_{l,i,j} w_{o,c,l,i,j}\;
        x_{c,\; s a + d l - p,\; s u + d i - p,\; s v + d j - p}

    Args:
        in_channels: channels C of the input: 1 for a CT volume, 3 for a colour film.
        out_channels: kernels O, and so channels of the output.
        kernel_size: depth (or time), height and width of a kernel; one number for all three.
        stride: steps s between one window and the next.
        padding: zeros p on every side; ``"same"`` keeps the size at stride 1, ``"valid"`` is none.
        dilation: steps d between one tap and the next.
        groups: independent groups of channels; it must divide C and O.
        bias: add one learned number to each output channel.

    Shapes:
        x: (B, C, D, H, W), where D is depth or time. Returns (B, O, D', H', W'), each axis by the same rule as in 2D.

    Notice:
        A kernel of 3 has 27 taps instead of 9. A kernel of (1, K, K) looks at each slice or frame alone.

    Raises:
        ValueError: if channels do not divide, the input has another rank or number of channels, or the kernel
            reaches farther than the padded input.

    Source: Tran et al. 2015, section 3; earlier Ji et al. 2013, section 2.

    >>> Conv3d(3, 8, kernel_size=(1, 3, 3))(torch.zeros(1, 3, 4, 6, 6)).shape
    torch.Size([1, 8, 4, 4, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Three,
        *,
        stride: int | Three = 1,
        padding: int | str | Three = 0,
        dilation: int | Three = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, groups)
        self.kernel_size = per_axis(kernel_size, 3, "kernel_size")
        self.stride, self.dilation = per_axis(stride, 3, "stride"), per_axis(dilation, 3, "dilation")
        pad_amounts(padding, self.kernel_size, self.stride, self.dilation)
        self.padding, self.groups = padding, groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight, self.bias = new_parameters(shape, out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        return conv3d_torch(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
