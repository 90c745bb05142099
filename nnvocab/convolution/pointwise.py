"""Pointwise convolution: a linear layer over the channels, the same at every position."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.convolution._shared import add_bias, check_groups, check_input, check_weights, new_parameters
from nnvocab.vocabulary import Example, entry


def pointwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Mix the channels at each position, as the equation is written.

    .. math::
        y_{o,u,v} = b_o + \sum_{c} w_{o,c}\; x_{c,u,v}

    Shapes:
        x: (B, C, H, W); weight: (O, C, 1, 1); bias: (O,). Returns (B, O, H, W).
    """
    _check(x, weight, bias)
    y = torch.einsum("bcuv,oc->bouv", x, weight[:, :, 0, 0])
    return add_bias(y, bias)


def pointwise_conv2d_torch(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same function by torch's kernel."""
    _check(x, weight, bias)
    return F.conv2d(x, weight, bias)


def _check(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    check_weights(weight, bias, 2)
    if tuple(weight.shape[2:]) != (1, 1):
        raise ValueError(f"weight has shape {tuple(weight.shape)}, but (O, C, 1, 1) is needed: one tap, no neighbours")
    check_input(x, 2, weight.shape[1])


@entry(
    name="Pointwise convolution",
    page="cheaper",
    aliases=("1x1 convolution", "network in network"),
    ids=("pointwise_conv",),
    paper="lin2014nin",
    peer="torch.nn.Conv2d",
    example=lambda: Example(PointwiseConv2d(3, 4), (torch.randn(2, 3, 2, 3),)),
    related=("Depthwise separable convolution", "Depthwise convolution"),
)
class PointwiseConv2d(nn.Module):
    r"""Layer that mixes channels by a 1 x 1 kernel and looks at no neighbour.

    .. math::
        y_{o,u,v} = b_o + \sum_{c} w_{o,c}\; x_{c,u,v}

    Args:
        in_channels: channels C of the input.
        out_channels: channels O of the output.
        bias: add one learned number to each output channel.

    Shapes:
        x: (B, C, H, W). Returns (B, O, H, W).

    Notice:
        It equals ``nn.Linear(C, O)`` on the channel axis, so it can widen, narrow or mix channels at any size of image.

    Raises:
        ValueError: if channels are less than 1, or the input has another rank or number of channels.

    Source: Lin et al. 2014, section 3.1 (cascaded cross-channel pooling).

    >>> PointwiseConv2d(64, 16)(torch.zeros(1, 64, 7, 7)).shape
    torch.Size([1, 16, 7, 7])
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, 1)
        self.kernel_size = (1, 1)
        self.weight, self.bias = new_parameters((out_channels, in_channels, 1, 1), out_channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        return pointwise_conv2d_torch(x, self.weight, self.bias)
