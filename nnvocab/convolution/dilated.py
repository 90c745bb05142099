"""Dilated convolution: taps that stand apart, so that few weights see far."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.convolution._shared import (
    add_bias,
    check_groups,
    check_input,
    check_weights,
    new_parameters,
    per_axis,
    zero_pad,
)
from nnvocab.vocabulary import Example, entry


def dilated_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, dilation: int = 1) -> Tensor:
    r"""Add up shifted copies of the input, one a tap, as the equation is written; the size is kept.

    .. math::
        y[i] = b + \sum_{j} w[j]\; x[i + j r - p], \qquad p = \tfrac{r (K - 1)}{2}

    where :math:`i` and :math:`j` have two coordinates, :math:`r` is the dilation, and :math:`x` is 0 outside.

    Shapes:
        x: (B, C, H, W); weight: (O, C, K, K'); bias: (O,). Returns (B, O, H, W).
    """
    amounts = _amounts(x, weight, bias, dilation)
    H, W = x.shape[2:]
    x = zero_pad(x, amounts)
    y = 0
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            shifted = x[:, :, i * dilation : i * dilation + H, j * dilation : j * dilation + W]  # (B, C, H, W)
            y = y + (weight[:, :, i, j] @ shifted.flatten(2)).unflatten(2, (H, W))  # (B, O, H, W)
    return add_bias(y, bias)


def dilated_conv2d_torch(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, dilation: int = 1) -> Tensor:
    """The same function by torch's kernel, which makes no shifted copies."""
    padding = [before for before, _ in _amounts(x, weight, bias, dilation)]
    return F.conv2d(x, weight, bias, 1, padding, dilation)


def _amounts(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> list[tuple[int, int]]:
    check_weights(weight, bias, 2)
    check_input(x, 2, weight.shape[1])
    return _even_reach(tuple(weight.shape[2:]), dilation)


def _even_reach(kernel: tuple[int, ...], dilation: int) -> list[tuple[int, int]]:
    (dilation,) = per_axis(dilation, 1, "dilation")
    for k in kernel:
        if dilation * (k - 1) % 2:
            raise ValueError(
                f"kernel_size {k} with dilation {dilation} needs {dilation * (k - 1)} zeros in all, which two sides "
                f"cannot share: take an odd kernel_size or an even dilation"
            )
    return [(dilation * (k - 1) // 2,) * 2 for k in kernel]


@entry(
    name="Dilated convolution",
    page="wider_and_back",
    aliases=("Atrous convolution", "convolution with holes"),
    ids=("dilated_conv",),
    paper="yu2016dilated",
    peer="torch.nn.Conv2d",
    example=lambda: Example(DilatedConv2d(2, 3, 3, dilation=2), (torch.randn(2, 2, 5, 6),)),
    related=("Receptive field", "1D convolution", "4D dilated convolution"),
)
class DilatedConv2d(nn.Module):
    r"""Layer whose kernel's taps stand ``dilation`` positions apart, with the padding that keeps the size.

    .. math::
        y[i] = b + \sum_{j} w[j]\; x[i + j r - p], \qquad p = \tfrac{r (K - 1)}{2}

    Args:
        in_channels: channels C of the input.
        out_channels: channels O of the output.
        kernel_size: taps K an axis; one number for both.
        dilation: distance r between two taps; 1 is plain convolution.
        bias: add one learned number to each output channel.

    Shapes:
        x: (B, C, H, W). Returns (B, O, H, W).

    Notice:
        It sees K + (K - 1)(r - 1) positions an axis with the weights of a K kernel. Stacked with dilations 1, 2, 4, 8
        the field doubles a layer; with one dilation throughout, neighbouring outputs never share an input.

    Raises:
        ValueError: if r (K - 1) is odd, the channels are less than 1, or the input does not fit.

    Source: Yu and Koltun 2016, sections 2 and 3.

    >>> DilatedConv2d(3, 8, 3, dilation=4)(torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 8, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        dilation: int,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, 1)
        self.kernel_size, self.dilation = per_axis(kernel_size, 2, "kernel_size"), dilation
        _even_reach(self.kernel_size, dilation)
        shape = (out_channels, in_channels, *self.kernel_size)
        self.weight, self.bias = new_parameters(shape, out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        return dilated_conv2d_torch(x, self.weight, self.bias, dilation=self.dilation)
