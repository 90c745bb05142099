"""Group normalization: the channels of a sample are centred and scaled in groups."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.normalization._shared import check_channels, check_width, per_channel, scale_and_shift, widen
from nnvocab.vocabulary import Example, entry


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    r"""Centre and scale each group of channels of each sample, as the equation is written.

    .. math::
        y_{b,c,s} = \gamma_c\, \frac{x_{b,c,s} - \mu_{b,g(c)}}{\sqrt{\sigma_{b,g(c)}^2 + \varepsilon}} + \beta_c,
        \qquad g(c) = \lfloor c\, G / C \rfloor

    where :math:`\mu_{b,g}` and the biased :math:`\sigma_{b,g}^2` run over the channels of group g and all positions.

    Shapes:
        x: (B, C, ...); weight and bias: (C,). Returns the shape of x.
    """
    _check_groups(x, num_groups)
    grouped = widen(x).unflatten(1, (num_groups, -1)).flatten(2)  # (B, G, C/G * positions)
    centred = grouped - grouped.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    y = (centred * (variance + eps).rsqrt()).reshape(x.shape)
    return scale_and_shift(y, per_channel(weight, x), per_channel(bias, x)).to(x.dtype)


def group_norm_fused(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """The same function by torch's kernel."""
    _check_groups(x, num_groups)
    return F.group_norm(x, num_groups, weight, bias, eps)


def _check_division(num_groups: int, num_channels: int) -> None:
    if num_groups < 1 or num_channels % num_groups:
        near = [g for g in range(1, num_channels + 1) if num_channels % g == 0]
        raise ValueError(f"num_channels {num_channels} is not a multiple of num_groups {num_groups}; try one of {near}")


def _check_groups(x: Tensor, num_groups: int) -> None:
    check_channels(x)
    _check_division(num_groups, x.shape[1])
    if x.shape[1:].numel() == num_groups:
        raise ValueError(
            f"x has the shape {tuple(x.shape)}: each of the {num_groups} groups has one value, which has no variance; "
            f"take fewer groups, or give (B, C, ...) with more than one position"
        )


@entry(
    name="Group normalization",
    page="over_which_axes",
    aliases=("GroupNorm", "GN"),
    ids=("group_norm",),
    paper="wu2018group",
    peer="torch.nn.GroupNorm",
    example=lambda: Example(GroupNorm(2, 6), (torch.randn(2, 6, 3, 4),)),
    related=("Instance normalization", "Layer normalization", "Batch normalization"),
)
class GroupNorm(nn.Module):
    r"""Layer that gives each group of channels of each sample mean 0 and variance 1.

    .. math::
        y_{b,c,s} = \gamma_c\, \frac{x_{b,c,s} - \mu_{b,g(c)}}{\sqrt{\sigma_{b,g(c)}^2 + \varepsilon}} + \beta_c

    Args:
        num_groups: groups G of neighbouring channels; it must divide C.
        num_channels: channels C.
        eps: :math:`\varepsilon` below the root.
        affine: learn a scale :math:`\gamma` and a shift :math:`\beta` for each channel.

    Shapes:
        x: (B, C, ...). Returns the same shape.

    Notice:
        As many groups as channels is instance normalization. One group is layer normalization over channels and
        positions together, which is not the layer normalization of a Transformer: that takes each position alone.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if G does not divide C, channels do not stand on axis 1, or a group has a single value.

    Source: Wu and He 2018, section 3.1.

    >>> GroupNorm(2, 6)(torch.randn(1, 6, 4, 4)).shape
    torch.Size([1, 6, 4, 4])
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        check_width(num_channels)
        _check_division(num_groups, num_channels)
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = nn.Parameter(torch.ones(num_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        check_channels(x, self.num_channels)
        return group_norm_fused(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.weight is not None}"
