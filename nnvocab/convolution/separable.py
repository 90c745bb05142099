"""Depthwise separable convolution: first each channel in space, then all channels at each position."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.convolution._shared import check_input, check_weights
from nnvocab.convolution.conv2d import conv2d_torch
from nnvocab.convolution.depthwise import DepthwiseConv2d, depthwise_conv2d_torch
from nnvocab.convolution.pointwise import PointwiseConv2d, pointwise_conv2d_torch
from nnvocab.vocabulary import Example, entry

Two = tuple[int, int]


def separable_conv2d(
    x: Tensor, depthwise: Tensor, pointwise: Tensor, *, stride: int | Two = 1, padding: int | str | Two = 0
) -> Tensor:
    r"""One full convolution whose kernels are products of a spatial and a channel factor, as the equation is written.

    .. math::
        y_{o,u,v} = \sum_{c,i,j} W_{o,c,i,j}\; x_{c,\; s u + i - p,\; s v + j - p}, \qquad
        W_{o,c,i,j} = \sum_{m} q_{o,(c,m)}\; w_{c,m,i,j}

    Shapes:
        x: (B, C, H, W); depthwise: (C M, 1, K, K'); pointwise: (O, C M, 1, 1). Returns (B, O, H', W').
    """
    _check(x, depthwise, pointwise)
    spatial = depthwise.view(x.shape[1], -1, *depthwise.shape[2:])  # (C, M, K, K')
    mixing = pointwise.view(pointwise.shape[0], *spatial.shape[:2])  # (O, C, M)
    full = torch.einsum("ocm,cmij->ocij", mixing, spatial)  # (O, C, K, K')
    return conv2d_torch(x, full, stride=stride, padding=padding)


def separable_conv2d_factored(
    x: Tensor, depthwise: Tensor, pointwise: Tensor, *, stride: int | Two = 1, padding: int | str | Two = 0
) -> Tensor:
    """The same function factor by factor: the full kernels are never made, nor paid for."""
    _check(x, depthwise, pointwise)
    return pointwise_conv2d_torch(depthwise_conv2d_torch(x, depthwise, stride=stride, padding=padding), pointwise)


def _check(x: Tensor, depthwise: Tensor, pointwise: Tensor) -> None:
    """Refuse kernels that do not follow each other; the two convolutions check the rest."""
    check_weights(depthwise, None, 2)
    check_weights(pointwise, None, 2)
    check_input(x, 2, x.shape[1] if x.dim() == 4 else 0)
    C, maps = x.shape[1], depthwise.shape[0]
    if C < 1 or maps % C or depthwise.shape[1] != 1 or tuple(pointwise.shape[1:]) != (maps, 1, 1):
        raise ValueError(
            f"depthwise has shape {tuple(depthwise.shape)} and pointwise {tuple(pointwise.shape)}, but for {C} "
            f"channels ({C} * M, 1, K, K') and (O, {C} * M, 1, 1) are needed: the second reads what the first gives"
        )


@entry(
    name="Depthwise separable convolution",
    page="cheaper",
    aliases=("DSConv", "separable convolution"),
    ids=("depthwise_separable_conv",),
    paper="howard2017mobilenets",
    peer="torch.nn.Conv2d",
    example=lambda: Example(
        DepthwiseSeparableConv2d(3, 4, 3, padding=1, multiplier=2, between=nn.Sequential(nn.BatchNorm2d(6), nn.SiLU())),
        (torch.randn(2, 3, 4, 5),),
    ),
    related=("Depthwise convolution", "Pointwise convolution", "Grouped convolution"),
)
class DepthwiseSeparableConv2d(nn.Module):
    r"""Depthwise layer, then a pointwise layer, with room for a norm and an activation between.

    .. math::
        y = \operatorname{pointwise}\big(\phi(\operatorname{depthwise}(x))\big)

    Args:
        in_channels: channels C of the input.
        out_channels: channels O of the output.
        kernel_size: height K and width K' of the depthwise kernels; one number for both.
        stride: steps of the depthwise kernels.
        padding: zeros on every side, or ``"same"`` or ``"valid"``.
        multiplier: depthwise kernels M a channel.
        between: a module φ on (B, C M, H', W'), such as a norm and a ReLU; None leaves both linear.
        bias: add learned numbers after both layers.

    Shapes:
        x: (B, C, H, W). Returns (B, O, H', W').

    Notice:
        It costs 1/O + 1/(K K') of the full convolution for M = 1: for K = 3, eight to nine times less. Without
        ``between`` it is a full convolution whose kernels for one input channel are all multiples of M patterns.

    Raises:
        ValueError: if channels or multiplier are less than 1, or the input does not fit.

    Source: Howard et al. 2017, section 3.1; Chollet 2017, section 1; first in Sifre 2014.

    >>> sum(p.numel() for p in DepthwiseSeparableConv2d(64, 128, 3, bias=False).parameters())
    8768
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Two,
        *,
        stride: int | Two = 1,
        padding: int | str | Two = 0,
        multiplier: int = 1,
        between: nn.Module | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv2d(
            in_channels, kernel_size, multiplier=multiplier, stride=stride, padding=padding, bias=bias
        )
        self.between = nn.Identity() if between is None else between
        self.pointwise = PointwiseConv2d(in_channels * multiplier, out_channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.between(self.depthwise(x)))
