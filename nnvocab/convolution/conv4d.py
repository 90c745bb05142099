"""4D dilated convolution: a kernel with four axes, over time, depth, height and width."""

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
    windows,
    zero_pad,
)
from nnvocab.vocabulary import Example, entry

Four = tuple[int, int, int, int]


def conv4d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Four = 1,
    padding: int | str | Four = 0,
    dilation: int | Four = 1,
    groups: int = 1,
) -> Tensor:
    r"""Lay each four-axis kernel on every window and add up the products, as the equation is written.

    .. math::
        y_{o,\mathbf{n}} = b_o + \sum_{c}\; \sum_{\mathbf{k} \in K_1 \times K_2 \times K_3 \times K_4}
        w_{o,c,\mathbf{k}}\; x_{c,\; \mathbf{s} \odot \mathbf{n} + \mathbf{d} \odot \mathbf{k} - \mathbf{p}}

    where :math:`\mathbf{n}` and :math:`\mathbf{k}` have four coordinates, and stride, dilation and padding one an axis.

    Shapes:
        x: (B, C, T, D, H, W); weight: (O, C / groups, K1, K2, K3, K4); bias: (O,). Returns (B, O, T', D', H', W').
    """
    kernel, strides, dilations, amounts = prepare(x, weight, bias, 4, stride, padding, dilation, groups)
    patches = windows(zero_pad(x, amounts), kernel, strides, dilations)  # (B, C, T', D', H', W', K1, K2, K3, K4)
    patches = patches.unflatten(1, (groups, -1))  # (B, g, C/g, T', D', H', W', K1, K2, K3, K4)
    kernels = weight.unflatten(0, (groups, -1))  # (g, O/g, C/g, K1, K2, K3, K4)
    y = torch.einsum("bgctduvklij,gocklij->bgotduv", patches, kernels).flatten(1, 2)  # (B, O, T', D', H', W')
    return add_bias(y, bias)


def conv4d_slices(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Four = 1,
    padding: int | str | Four = 0,
    dilation: int | Four = 1,
    groups: int = 1,
) -> Tensor:
    """The same function as a sum of 3D convolutions, one for each tap along the first axis."""
    kernel, strides, dilations, amounts = prepare(x, weight, bias, 4, stride, padding, dilation, groups)
    x = zero_pad(x, amounts)
    spans = x.unfold(2, dilations[0] * (kernel[0] - 1) + 1, strides[0])  # a view: (B, C, T', D, H, W, span)
    total = None
    for tap, kernels in enumerate(weight.unbind(2)):  # (O, C/g, K2, K3, K4)
        frames = spans.select(-1, tap * dilations[0])  # (B, C, T', D, H, W)
        frames = frames.transpose(1, 2).flatten(0, 1)  # (B T', C, D, H, W)
        part = F.conv3d(frames, kernels, None, strides[1:], 0, dilations[1:], groups)
        total = part if total is None else total + part  # (B T', O, D', H', W')
    y = total.unflatten(0, (x.shape[0], -1)).transpose(1, 2)  # (B, O, T', D', H', W')
    return add_bias(y, bias if bias is None else bias.to(y.dtype))


@entry(
    name="4D dilated convolution",
    page="four_dimensions",
    aliases=("4D convolution", "base 4D dilated convolution"),
    ids=("dilated_conv4d",),
    paper="choy2019minkowski",
    peer="scipy.signal.correlate",
    example=lambda: Example(
        Conv4d(2, 2, (2, 3, 1, 2), stride=(1, 1, 2, 1), padding=(1, 2, 0, 0), dilation=(1, 2, 1, 1), groups=2),
        (torch.randn(2, 2, 3, 3, 3, 3),),
    ),
    related=("3D convolution", "Dilated convolution", "Dendritic hypergraph 4D convolution"),
)
class Conv4d(nn.Module):
    r"""Layer that slides ``out_channels`` learned four-axis kernels over volumes that change in time.

    .. math::
        y_{o,\mathbf{n}} = b_o + \sum_{c}\; \sum_{\mathbf{k} \in K_1 \times K_2 \times K_3 \times K_4}
        w_{o,c,\mathbf{k}}\; x_{c,\; \mathbf{s} \odot \mathbf{n} + \mathbf{d} \odot \mathbf{k} - \mathbf{p}}

    Args:
        in_channels: channels C of the input.
        out_channels: kernels O, and so channels of the output.
        kernel_size: taps along time, depth, height and width; one number for all four.
        stride: steps between one window and the next.
        padding: zeros on every side; ``"same"`` keeps the size at stride 1, ``"valid"`` is none.
        dilation: steps between one tap and the next.
        groups: independent groups of channels; it must divide C and O.
        bias: add one learned number to each output channel.

    Shapes:
        x: (B, C, T, D, H, W). Returns (B, O, T', D', H', W'), each axis by the same rule as in 2D.

    Notice:
        A kernel of 3 has 81 taps; at dilation 2 they span 5 positions an axis. torch has no such kernel: the work is
        done by 3D convolutions, K1 of them, which are added up.

    Raises:
        ValueError: if channels do not divide, the input has another rank or number of channels, or the kernel
            reaches farther than the padded input.

    Source: Choy et al. 2019, section 3, here on a dense grid instead of a sparse one.

    >>> Conv4d(1, 2, kernel_size=3, dilation=2, padding="same")(torch.zeros(1, 1, 5, 6, 7, 8)).shape
    torch.Size([1, 2, 5, 6, 7, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Four,
        *,
        stride: int | Four = 1,
        padding: int | str | Four = 0,
        dilation: int | Four = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, groups)
        self.kernel_size = per_axis(kernel_size, 4, "kernel_size")
        self.stride, self.dilation = per_axis(stride, 4, "stride"), per_axis(dilation, 4, "dilation")
        pad_amounts(padding, self.kernel_size, self.stride, self.dilation)
        self.padding, self.groups = padding, groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight, self.bias = new_parameters(shape, out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        return conv4d_slices(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )
