"""Octave convolution: fine detail at full resolution, coarse shape at half."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.convolution._shared import add_bias, check_groups, new_parameters, per_axis
from nnvocab.convolution.conv2d import conv2d, conv2d_torch
from nnvocab.vocabulary import Example, entry

Pair = tuple[Tensor, Tensor | None]


def octave_conv2d(
    high: Tensor,
    low: Tensor | None,
    to_high: tuple[Tensor, Tensor | None],
    to_low: tuple[Tensor | None, Tensor | None] = (None, None),
    biases: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Pair:
    r"""Exchange between fine and coarse maps along four paths, as the equations are written.

    .. math::
        y^H = W^{HH} * x^H + \operatorname{up}\big(W^{LH} * x^L\big) + b^H, \qquad
        y^L = W^{LL} * x^L + W^{HL} * \operatorname{pool}\big(x^H\big) + b^L

    where :math:`*` is the convolution that keeps the size, pool averages 2 x 2 pixels into one, and up repeats each
    pixel 2 x 2 times. A path whose input or output is absent is left out.

    Shapes:
        high: (B, C', H, W); low: (B, C'', H/2, W/2) or None; to_high: kernels (HH, LH); to_low: kernels (HL, LL);
        biases: (high, low). Returns (B, O', H, W) and (B, O'', H/2, W/2) or None.
    """
    _check(high, low, to_high, to_low)
    (hh, lh), (hl, ll), (bias_high, bias_low) = to_high, to_low, biases
    y_high = conv2d(high, hh, padding="same")
    if low is not None:
        coarse = conv2d(low, lh, padding="same")
        y_high = y_high + coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    if hl is None:
        return add_bias(y_high, bias_high), None
    pooled = high.unflatten(3, (-1, 2)).mean(4).unflatten(2, (-1, 2)).mean(3)  # (B, C', H/2, W/2)
    y_low = conv2d(pooled, hl, padding="same")
    if low is not None:
        y_low = y_low + conv2d(low, ll, padding="same")
    return add_bias(y_high, bias_high), add_bias(y_low, bias_low)


def octave_conv2d_torch(
    high: Tensor,
    low: Tensor | None,
    to_high: tuple[Tensor, Tensor | None],
    to_low: tuple[Tensor | None, Tensor | None] = (None, None),
    biases: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Pair:
    """The same function by torch's kernels; paths with one output and one input size share a convolution."""
    _check(high, low, to_high, to_low)
    (hh, lh), (hl, ll), (bias_high, bias_low) = to_high, to_low, biases
    y_high = conv2d_torch(high, hh, bias_high, padding="same")
    if low is not None:
        y_high = y_high + F.interpolate(conv2d_torch(low, lh, padding="same"), scale_factor=2.0, mode="nearest")
    if hl is None:
        return y_high, None
    coarse, kernels = F.avg_pool2d(high, 2), hl
    if low is not None:
        coarse, kernels = torch.cat([coarse, low], 1), torch.cat([hl, ll], 1)
    return y_high, conv2d_torch(coarse, kernels, bias_low, padding="same")


def octave_multiply_adds(
    in_channels: int, out_channels: int, kernel_size: int, size: tuple[int, int], alpha_in: float, alpha_out: float
) -> dict[str, int]:
    """Count the multiply-adds of the four paths, their sum, and those of a plain convolution of the same width.

    Raises:
        ValueError: if a share is not in [0, 1), or a size is odd and so has no half.

    >>> count = octave_multiply_adds(64, 64, 3, (32, 32), 0.5, 0.5)
    >>> count["total"] / count["plain"]
    0.4375
    """
    for name, share in (("alpha_in", alpha_in), ("alpha_out", alpha_out)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} is {share}, but must be at least 0 and below 1: a share of the channels")
    if size[0] % 2 or size[1] % 2:
        raise ValueError(f"size is {tuple(size)}, but both must be even: the low part has half of each")
    c_low, o_low = int(alpha_in * in_channels), int(alpha_out * out_channels)
    c_high, o_high = in_channels - c_low, out_channels - o_low
    fine = kernel_size**2 * size[0] * size[1]
    coarse = kernel_size**2 * (size[0] // 2) * (size[1] // 2)
    paths = {"HH": c_high * o_high * fine, "HL": c_high * o_low * coarse}
    paths |= {"LH": c_low * o_high * coarse, "LL": c_low * o_low * coarse}
    return {**paths, "total": sum(paths.values()), "plain": in_channels * out_channels * fine}


def _check(
    high: Tensor,
    low: Tensor | None,
    to_high: tuple[Tensor, Tensor | None],
    to_low: tuple[Tensor | None, Tensor | None],
) -> None:
    if high.dim() != 4 or high.shape[2] % 2 or high.shape[3] % 2:
        raise ValueError(
            f"the high part has shape {tuple(high.shape)}, but (B, C, H, W) with even H and W is needed: the low part "
            f"has half of each"
        )
    if low is None:
        return
    half = (high.shape[2] // 2, high.shape[3] // 2)
    if low.dim() != 4 or low.shape[0] != high.shape[0] or tuple(low.shape[2:]) != half:
        raise ValueError(
            f"the low part has shape {tuple(low.shape)}, but ({high.shape[0]}, C, {half[0]}, {half[1]}) is needed: the "
            f"batch of the high part, and half its height and width, which must be {half}"
        )
    if to_high[1] is None or (to_low[0] is not None and to_low[1] is None):
        raise ValueError("a low part is given, but the kernels that read it (LH, and LL for a low output) are missing")


@entry(
    name="Octave convolution",
    page="cheaper",
    aliases=("OctConv",),
    ids=("octave_conv",),
    paper="chen2019octave",
    peer=None,
    example=lambda: Example(
        OctaveConv2d(4, 4, 3, alpha_in=0.5, alpha_out=0.25), (torch.randn(2, 2, 4, 6), torch.randn(2, 2, 2, 3))
    ),
    related=("2D convolution", "Depthwise separable convolution"),
)
class OctaveConv2d(nn.Module):
    r"""Layer that keeps a share of its channels at half resolution and lets both parts talk.

    .. math::
        y^H = W^{HH} * x^H + \operatorname{up}\big(W^{LH} * x^L\big) + b^H, \qquad
        y^L = W^{LL} * x^L + W^{HL} * \operatorname{pool}\big(x^H\big) + b^L

    Args:
        in_channels: channels C of the input, both parts together.
        out_channels: channels O of the output, both parts together.
        kernel_size: height and width K of all kernels; one number for both.
        alpha_in: share of C that is at half resolution; 0 in a first layer, which takes an ordinary image.
        alpha_out: share of O that is at half resolution; 0 in a last layer, which gives an ordinary map.
        bias: add one learned number to each output channel.

    Shapes:
        high: (B, C - floor(alpha_in C), H, W); low: (B, floor(alpha_in C), H/2, W/2), or None if alpha_in is 0.
        Returns a pair of the same kind for O and alpha_out; the high part alone if alpha_out is 0.

    Notice:
        With alpha_in = alpha_out = a the work is 1 - 3a(2 - a)/4 of a plain convolution. Sizes are kept; to halve
        them, pool both parts before.

    Raises:
        ValueError: if a share is not in [0, 1) or leaves a part empty, H or W is odd, or the parts do not fit.

    Source: Chen et al. 2019, section 3.2 and table 1.

    >>> first, last = OctaveConv2d(3, 8, 3, alpha_in=0, alpha_out=0.5), OctaveConv2d(8, 4, 3, alpha_in=0.5, alpha_out=0)
    >>> last(first(torch.zeros(1, 3, 8, 8))).shape
    torch.Size([1, 4, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        *,
        alpha_in: float = 0.5,
        alpha_out: float = 0.5,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_groups(in_channels, out_channels, 1)
        for name, share, channels in (
            ("alpha_in", alpha_in, in_channels),
            ("alpha_out", alpha_out, out_channels),
        ):
            if not 0 <= share < 1 or (share > 0 and int(share * channels) == 0):
                raise ValueError(
                    f"{name} is {share}, but must be 0, or from 1 / {channels} to below 1: both parts need a channel"
                )
        kernel = per_axis(kernel_size, 2, "kernel_size")
        self.low_in, self.low_out = int(alpha_in * in_channels), int(alpha_out * out_channels)
        self.high_in, self.high_out = in_channels - self.low_in, out_channels - self.low_out
        fan_in = (out_channels, in_channels, *kernel)  # both paths into an output count together
        weight, both = new_parameters(fan_in, out_channels, bias)
        high, low = weight.detach().split([self.high_out, self.low_out])
        (hh, lh), (hl, ll) = high.split([self.high_in, self.low_in], 1), low.split([self.high_in, self.low_in], 1)
        for name, kernels in (("hh", hh), ("lh", lh), ("hl", hl), ("ll", ll)):
            self.register_parameter(name, nn.Parameter(kernels.clone()) if kernels.numel() else None)
        parts = both.detach().split([self.high_out, self.low_out]) if bias else (None, None)
        self.bias_high = nn.Parameter(parts[0].clone()) if bias else None
        self.bias_low = nn.Parameter(parts[1].clone()) if bias and self.low_out else None

    def forward(self, high: Tensor | Pair, low: Tensor | None = None) -> Tensor | Pair:
        if isinstance(high, tuple):
            high, low = high  # the pair that an octave layer gave
        if (low is None) != (self.low_in == 0):
            needed = "no low part, since alpha_in is 0" if self.low_in == 0 else f"a low part of {self.low_in} channels"
            raise ValueError(f"the layer needs {needed}, but low is {'missing' if low is None else 'given'}")
        y_high, y_low = octave_conv2d_torch(
            high, low, (self.hh, self.lh), (self.hl, self.ll), (self.bias_high, self.bias_low)
        )
        return y_high if y_low is None else (y_high, y_low)
