"""Deformable convolution: every tap looks where the input tells it to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.convolution._shared import add_bias, check_groups, check_input, check_weights, new_parameters, per_axis
from nnvocab.convolution.conv2d import Conv2d
from nnvocab.convolution.output_size import conv_output_size
from nnvocab.vocabulary import Example, entry

Two = tuple[int, int]


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    stride: int | Two = 1,
    padding: int | Two = 0,
    dilation: int | Two = 1,
) -> Tensor:
    r"""Read the input at shifted taps, between its pixels too, as the equation is written.

    .. math::
        y(n) = b + \sum_{k} w_k\; m_k(n)\; x\big(s n + d k - p + \Delta_k(n)\big), \qquad
        x(r) = \sum_{q} \max(0, 1 - |r_1 - q_1|)\, \max(0, 1 - |r_2 - q_2|)\; x_q

    where :math:`\Delta` is the offset, :math:`m` the mask (1 without one), and the last sum runs over all pixels
    :math:`q`, of which at most four count.

    Shapes:
        x: (B, C, H, W); offset: (B, G K K' 2, H', W'), vertical before horizontal; weight: (O, C, K, K'); bias: (O,);
        mask: (B, G K K', H', W'). Returns (B, O, H', W'). G groups of channels have offsets of their own.
    """
    at_y, at_x, mask = _positions(x, offset, weight, bias, mask, stride, padding, dilation)  # (B, G, K, K', H', W')
    G = at_y.shape[1]
    rows = torch.arange(x.shape[2], device=x.device, dtype=at_y.dtype)
    columns = torch.arange(x.shape[3], device=x.device, dtype=at_x.dtype)
    near_y = (1 - (at_y.unsqueeze(-1) - rows).abs()).relu().to(x.dtype)  # (B, G, K, K', H', W', H)
    near_x = (1 - (at_x.unsqueeze(-1) - columns).abs()).relu().to(x.dtype)  # (B, G, K, K', H', W', W)
    pixels = x.unflatten(1, (G, -1))  # (B, G, C/G, H, W)
    taps = torch.einsum("bgchw,bgijuvh,bgijuvw->bgcijuv", pixels, near_y, near_x)
    if mask is not None:
        taps = taps * mask.unsqueeze(2)
    y = torch.einsum("bgcijuv,ogcij->bouv", taps, weight.unflatten(1, (G, -1)))  # (B, O, H', W')
    return add_bias(y, bias)


def deform_conv2d_gather(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    stride: int | Two = 1,
    padding: int | Two = 0,
    dilation: int | Two = 1,
) -> Tensor:
    """The same function by fetching only the four pixels round each tap, then one matrix product."""
    at_y, at_x, mask = _positions(x, offset, weight, bias, mask, stride, padding, dilation)  # (B, G, K, K', H', W')
    (H, W), G = x.shape[2:], at_y.shape[1]
    pixels = x.unflatten(1, (G, -1)).flatten(3)  # (B, G, C/G, H W)
    top, left = at_y.floor(), at_x.floor()
    taps = 0
    for row, part_y in ((top, 1 - (at_y - top)), (top + 1, at_y - top)):
        for column, part_x in ((left, 1 - (at_x - left)), (left + 1, at_x - left)):
            inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
            index = _whole(row, H) * W + _whole(column, W)
            index = index.flatten(2).unsqueeze(2).expand(-1, -1, pixels.shape[2], -1)  # (B, G, C/G, K K' H' W')
            share = (part_y * part_x * inside).to(x.dtype)
            if mask is not None:
                share = share * mask
            taps = taps + pixels.gather(3, index) * share.flatten(2).unsqueeze(2)
    taps = taps.flatten(1, 2).unflatten(2, (-1, offset.shape[2] * offset.shape[3]))  # (B, C, K K', H' W')
    y = (weight.flatten(1) @ taps.flatten(1, 2)).unflatten(2, offset.shape[2:])  # (B, O, H', W')
    return add_bias(y, bias)


def _whole(position: Tensor, size: int) -> Tensor:
    """A position as an index that exists: what lies outside, or is no number, has a share of 0 or NaN anyway."""
    return position.clamp(0, size - 1).nan_to_num(0.0).long()


def _positions(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: int | Two,
    padding: int | Two,
    dilation: int | Two,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Where each tap looks, vertically and horizontally, and the mask: each (B, G, K, K', H', W')."""
    check_weights(weight, bias, 2)
    check_input(x, 2, weight.shape[1])
    kernel = tuple(weight.shape[2:])
    s, d = per_axis(stride, 2, "stride"), per_axis(dilation, 2, "dilation")
    p = per_axis(padding, 2, "padding", 0)
    size = [conv_output_size(x.shape[2 + a], kernel[a], stride=s[a], padding=p[a], dilation=d[a]) for a in range(2)]
    taps = kernel[0] * kernel[1]
    groups = offset.shape[1] // (2 * taps) if offset.dim() == 4 else 0
    if groups < 1 or tuple(offset.shape) != (x.shape[0], 2 * taps * groups, *size) or x.shape[1] % groups:
        raise ValueError(
            f"offset has shape {tuple(offset.shape)}, but ({x.shape[0]}, G * {2 * taps}, {size[0]}, {size[1]}) is "
            f"needed: two numbers for each of {taps} taps, for G groups, where G divides the {x.shape[1]} channels"
        )
    if mask is not None:
        if tuple(mask.shape) != (x.shape[0], taps * groups, *size):
            raise ValueError(
                f"mask has shape {tuple(mask.shape)}, but {(x.shape[0], taps * groups, *size)} is needed: one a tap"
            )
        mask = mask.unflatten(1, (groups, *kernel))
    exact = torch.promote_types(offset.dtype, torch.float32)  # a position needs more digits than bfloat16 has
    shift = offset.to(exact).unflatten(1, (groups, *kernel, 2))  # (B, G, K, K', 2, H', W')
    at = []
    for a, view in enumerate(((-1, 1), (1, -1))):
        window = torch.arange(size[a], device=x.device, dtype=exact) * s[a] - p[a]
        tap = torch.arange(kernel[a], device=x.device, dtype=exact) * d[a]
        at.append(shift.select(4, a) + tap.view(*view, 1, 1) + window.view(1, 1, *view))
    return at[0], at[1], mask


def _example() -> Example:
    layer = DeformConv2d(2, 3, 3, padding=1, offset_groups=2, modulated=True)
    nn.init.uniform_(layer.predict.weight, -0.3, 0.3)
    nn.init.uniform_(layer.predict.bias, 0.2, 0.4)  # off the pixels' grid, where the derivative has no kink
    return Example(layer, (torch.randn(2, 2, 4, 3),))


@entry(
    name="Deformable convolution",
    page="wider_and_back",
    aliases=("DCN", "deformable convolution v2", "modulated deformable convolution"),
    ids=("deformable_conv",),
    paper="dai2017deformable",
    example=_example,
    related=("Dilated convolution", "2D convolution"),
)
class DeformConv2d(nn.Module):
    r"""Layer that predicts from its input where each tap of its kernel looks, and then convolves there.

    .. math::
        y(n) = b + \sum_{k} w_k\; m_k(n)\; x\big(s n + d k - p + \Delta_k(n)\big)

    Args:
        in_channels: channels C of the input.
        out_channels: channels O of the output.
        kernel_size: height K and width K' of the kernel; one number for both.
        stride: steps s between one window and the next.
        padding: zeros p on every side.
        dilation: steps d between two taps before they are shifted.
        offset_groups: groups G of channels with offsets of their own; it must divide C.
        modulated: version 2: predict a mask m between 0 and 1 for each tap as well.

    Shapes:
        x: (B, C, H, W). Returns (B, O, H', W'), of the size of the plain convolution.

    Notice:
        The predictor begins at zero, so the layer begins as a plain convolution (version 2: with all taps halved,
        since the mask is a sigmoid of 0). Positions outside of the image read 0.

    Raises:
        ValueError: if offset_groups does not divide C, or input, offset or mask do not fit.

    Source: Dai et al. 2017, section 2.1; Zhu et al. 2019, section 3.2, for the mask.

    >>> layer = DeformConv2d(4, 8, 3, padding=1)
    >>> layer(torch.zeros(1, 4, 6, 6)).shape, layer.predict.weight.shape[0]
    (torch.Size([1, 8, 6, 6]), 18)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Two,
        *,
        stride: int | Two = 1,
        padding: int | Two = 0,
        dilation: int | Two = 1,
        offset_groups: int = 1,
        modulated: bool = False,
    ) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, 1)
        per_axis(offset_groups, 1, "offset_groups")
        if in_channels % offset_groups:
            raise ValueError(f"in_channels {in_channels} is not a multiple of offset_groups {offset_groups}")
        kernel = per_axis(kernel_size, 2, "kernel_size")
        self.kernel_size, self.padding = kernel, per_axis(padding, 2, "padding", 0)
        self.stride, self.dilation = per_axis(stride, 2, "stride"), per_axis(dilation, 2, "dilation")
        self.shifts = 2 * kernel[0] * kernel[1] * offset_groups
        outputs = self.shifts + (self.shifts // 2 if modulated else 0)
        self.predict = Conv2d(in_channels, outputs, kernel, stride=stride, padding=padding, dilation=dilation)
        nn.init.zeros_(self.predict.weight)
        nn.init.zeros_(self.predict.bias)
        self.weight, self.bias = new_parameters((out_channels, in_channels, *kernel), out_channels, True)

    def offset_and_mask(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the layer predicts for an input: (B, G K K' 2, H', W') and, in version 2, (B, G K K', H', W')."""
        predicted = self.predict(x)
        offset, mask = predicted.split([self.shifts, predicted.shape[1] - self.shifts], dim=1)
        return offset, mask.sigmoid() if mask.shape[1] else None

    def forward(self, x: Tensor) -> Tensor:
        offset, mask = self.offset_and_mask(x)
        return deform_conv2d_gather(
            x,
            offset,
            self.weight,
            self.bias,
            mask=mask,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )
