"""Transposed convolution: every input value stamps the kernel into a larger output."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.convolution._shared import add_bias, check_groups, check_input, check_weights, new_parameters, per_axis
from nnvocab.convolution.output_size import conv_transpose_output_size
from nnvocab.vocabulary import Example, entry

Two = tuple[int, int]


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Two = 1,
    padding: int | Two = 0,
    output_padding: int | Two = 0,
    dilation: int | Two = 1,
) -> Tensor:
    r"""Stamp the kernels, weighted by each input value, into the output, as the equation is written.

    .. math::
        y_{o,\; s u + d i - p,\; s v + d j - p} \mathrel{+}= x_{c,u,v}\; w_{c,o,i,j}
        \qquad \text{for all } c, u, v, i, j, \text{ starting from } y = b

    where :math:`s` is the stride, :math:`d` the dilation, and what falls outside because of the padding :math:`p` is
    dropped.

    Shapes:
        x: (B, C, H, W); weight: (C, O, K, K'); bias: (O,). Returns (B, O, H', W').
    """
    s, p, d, q, size = _arguments(x, weight, bias, stride, padding, output_padding, dilation)
    (H, W), (kernel_h, kernel_w) = x.shape[2:], weight.shape[2:]
    full = x.new_zeros(x.shape[0], weight.shape[1], size[0] + 2 * p[0], size[1] + 2 * p[1])  # (B, O, H'+2p, W'+2p)
    for i in range(kernel_h):
        for j in range(kernel_w):
            stamp = torch.einsum("bcuv,co->bouv", x, weight[:, :, i, j])  # (B, O, H, W)
            rows = slice(d[0] * i, d[0] * i + s[0] * (H - 1) + 1, s[0])
            columns = slice(d[1] * j, d[1] * j + s[1] * (W - 1) + 1, s[1])
            full[:, :, rows, columns] += stamp
    y = full[:, :, p[0] : p[0] + size[0], p[1] : p[1] + size[1]]
    return add_bias(y, bias)


def conv_transpose2d_torch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: int | Two = 1,
    padding: int | Two = 0,
    output_padding: int | Two = 0,
    dilation: int | Two = 1,
) -> Tensor:
    """The same function by torch's kernel, which adds up every output value once."""
    s, p, d, q, _ = _arguments(x, weight, bias, stride, padding, output_padding, dilation)
    return F.conv_transpose2d(x, weight, bias, s, p, q, 1, d)


def _arguments(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Two,
    padding: int | Two,
    output_padding: int | Two,
    dilation: int | Two,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], list[int]]:
    check_weights(weight, bias, 2, weight.shape[1] if weight.dim() == 4 else None)
    check_input(x, 2, weight.shape[0])
    s, d = per_axis(stride, 2, "stride"), per_axis(dilation, 2, "dilation")
    p, q = per_axis(padding, 2, "padding", 0), per_axis(output_padding, 2, "output_padding", 0)
    size = [
        conv_transpose_output_size(
            x.shape[2 + a], weight.shape[2 + a], stride=s[a], padding=p[a], output_padding=q[a], dilation=d[a]
        )
        for a in range(2)
    ]
    return s, p, d, q, size


@entry(
    name="Transposed convolution",
    page="wider_and_back",
    aliases=("Deconvolution", "fractionally-strided convolution", "ConvTranspose2d", "upconvolution"),
    ids=("transposed_conv",),
    paper="zeiler2010deconvolutional",
    peer="torch.nn.ConvTranspose2d",
    example=lambda: Example(
        TransposedConv2d(2, 3, 3, stride=2, padding=1, output_padding=1), (torch.randn(2, 2, 3, 4),)
    ),
    related=("Convolution as a matrix", "Output size", "Stride"),
)
class TransposedConv2d(nn.Module):
    r"""Upsampling layer: each input value stamps ``out_channels`` learned kernels into a larger output.

    .. math::
        y_{o,\; s u + d i - p,\; s v + d j - p} \mathrel{+}= x_{c,u,v}\; w_{c,o,i,j}

    Args:
        in_channels: channels C of the input.
        out_channels: channels O of the output.
        kernel_size: height and width K of a stamp; one number for both.
        stride: distance s between two stamps.
        padding: positions p cut off on every side; the padding of the convolution that this one transposes.
        output_padding: positions added at the end of each axis; it picks one of the sizes that the stride confuses.
        dilation: distance d between two taps of a stamp.
        bias: add one learned number to each output channel.

    Shapes:
        x: (B, C, H, W). Returns (B, O, H', W'), H' = (H - 1)s - 2p + d(K - 1) + output_padding + 1.

    Notice:
        It is the transpose of a convolution's matrix, not its inverse: it brings back the size, not the values. Where
        the stride does not divide the kernel size, positions get unequal numbers of stamps: the checkerboard.

    Raises:
        ValueError: if output_padding is not below stride or dilation, nothing remains, or the input does not fit.

    Source: Zeiler et al. 2010, section 2; as a transpose, Dumoulin and Visin 2016, section 4.

    >>> TransposedConv2d(8, 3, kernel_size=4, stride=2, padding=1)(torch.zeros(1, 8, 7, 7)).shape
    torch.Size([1, 3, 14, 14])
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Two,
        *,
        stride: int | Two = 1,
        padding: int | Two = 0,
        output_padding: int | Two = 0,
        dilation: int | Two = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, 1)
        self.kernel_size = per_axis(kernel_size, 2, "kernel_size")
        self.stride, self.dilation = per_axis(stride, 2, "stride"), per_axis(dilation, 2, "dilation")
        self.padding = per_axis(padding, 2, "padding", 0)
        self.output_padding = per_axis(output_padding, 2, "output_padding", 0)
        for s, d, q in zip(self.stride, self.dilation, self.output_padding, strict=True):
            conv_transpose_output_size(1, 1, stride=s, output_padding=q, dilation=d)  # refuses what never fits
        shape = (in_channels, out_channels, *self.kernel_size)
        self.weight, self.bias = new_parameters(shape, out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        return conv_transpose2d_torch(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
        )
