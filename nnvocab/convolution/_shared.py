"""What the convolutions share: sizes per axis, checks that teach, the window view, and the initial weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AXES = {1: "length", 2: "height, width", 3: "depth, height, width", 4: "time, depth, height, width"}


def per_axis(value: int | Sequence[int], dims: int, name: str, least: int = 1) -> tuple[int, ...]:
    """One whole number for each axis: 3 -> (3, 3); a sequence must have one number an axis."""
    several = isinstance(value, Sequence) and not isinstance(value, str)
    numbers = tuple(value) if several else (value,) * dims
    if len(numbers) != dims or not all(isinstance(n, int) and n >= least for n in numbers):
        raise ValueError(
            f"{name} is {value!r}, but must be a whole number of at least {least}"
            + (f", or {dims} of them ({AXES[dims]})" if dims > 1 else "")
        )
    return numbers


def pad_amounts(
    padding: int | str | Sequence[int],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    words: tuple[str, ...] = ("same", "valid"),
) -> list[tuple[int, int]]:
    """Zeros before and after each axis, from a number, numbers or a word."""
    if not isinstance(padding, str):
        return [(p, p) for p in per_axis(padding, len(kernel), "padding", 0)]
    if padding not in words:
        raise ValueError(f"padding is {padding!r}, but must be whole numbers or one of {words}")
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "causal":
        return [(r, 0) for r in reach]
    if max(stride) > 1:
        raise ValueError(f"padding 'same' keeps the size, but stride {stride} shrinks it: give padding as a number")
    return [(r // 2, r - r // 2) for r in reach]


def zero_pad(x: Tensor, amounts: list[tuple[int, int]]) -> Tensor:
    """Zeros around the last axes; amounts are listed from the first of these axes to the last."""
    return F.pad(x, [n for pair in reversed(amounts) for n in pair]) if any(map(any, amounts)) else x


def check_input(x: Tensor, dims: int, channels: int) -> None:
    """Refuse an input of wrong rank or with another number of channels than the kernel reads."""
    if x.dim() != dims + 2:
        mend = "; add the batch axis with x[None]" if x.dim() == dims + 1 else ""
        raise ValueError(
            f"x has shape {tuple(x.shape)}, but {dims + 2} axes are needed: batch, channels, {AXES[dims]}{mend}"
        )
    if x.shape[1] != channels:
        raise ValueError(
            f"x has {x.shape[1]} channels, but the kernel reads {channels}: axis 1 of shape {tuple(x.shape)} must be "
            f"{channels}"
        )


def check_window(
    size: Sequence[int], amounts: list[tuple[int, int]], kernel: Sequence[int], dilation: Sequence[int]
) -> None:
    """Refuse a kernel that reaches farther than the padded input is long."""
    for n, (before, after), k, d in zip(size, amounts, kernel, dilation, strict=True):
        if n + before + after < d * (k - 1) + 1:
            raise ValueError(
                f"a kernel of {k} with dilation {d} spans {d * (k - 1) + 1} positions, but the padded input has "
                f"{n + before + after}: use a smaller kernel or dilation, or more padding"
            )


def check_groups(in_channels: int, out_channels: int, groups: int) -> None:
    """Refuse channels that the groups cannot share evenly."""
    per_axis(groups, 1, "groups")
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f"{name} is {channels!r}, but must be a whole number of at least 1")
        if channels % groups:
            raise ValueError(f"{name} {channels} is not a multiple of groups {groups}: every group has the same share")


def check_weights(weight: Tensor, bias: Tensor | None, dims: int, outputs: int | None = None) -> None:
    """Refuse kernels of another rank, and a bias that is not one number an output."""
    if weight.dim() != dims + 2:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}, but {dims + 2} axes are needed: outputs, inputs, {AXES[dims]}"
        )
    outputs = weight.shape[0] if outputs is None else outputs
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ValueError(
            f"bias has shape {tuple(bias.shape)}, but ({outputs},) is needed: one number an output channel"
        )


def windows(x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """All windows of the last axes, as a view: (B, C, *sizes) -> (B, C, *positions, *taps)."""
    first = x.dim() - len(kernel)
    for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        x = x.unfold(first + axis, d * (k - 1) + 1, s)[..., ::d]
    return x


def prepare(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    dims: int,
    stride: int | Sequence[int],
    padding: int | str | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
    words: tuple[str, ...] = ("same", "valid"),
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    """Check one convolution's arguments; returns kernel, stride and dilation per axis, and the padding."""
    check_weights(weight, bias, dims)
    per_axis(groups, 1, "groups")
    kernel = tuple(weight.shape[2:])
    strides, dilations = per_axis(stride, dims, "stride"), per_axis(dilation, dims, "dilation")
    amounts = pad_amounts(padding, kernel, strides, dilations, words)
    check_input(x, dims, weight.shape[1] * groups)
    check_groups(x.shape[1], weight.shape[0], groups)
    check_window(x.shape[2:], amounts, kernel, dilations)
    return kernel, strides, dilations, amounts


def symmetric(x: Tensor, amounts: list[tuple[int, int]]) -> tuple[Tensor, tuple[int, ...]]:
    """Leave equal padding to the kernel that torch calls, and pad here what differs before and after."""
    if all(before == after for before, after in amounts):
        return x, tuple(before for before, _ in amounts)
    return zero_pad(x, amounts), (0,) * len(amounts)


def add_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    """One number a channel, at every position."""
    return y if bias is None else y + bias.view(-1, *[1] * (y.dim() - 2))


def new_parameters(shape: tuple[int, ...], outputs: int, bias: bool) -> tuple[nn.Parameter, nn.Parameter | None]:
    """Weights and bias drawn as torch draws them: uniform within one over the root of the inputs to one output."""
    fan_in = 1
    for n in shape[1:]:
        fan_in *= n
    bound = fan_in**-0.5
    weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
    return weight, nn.Parameter(torch.empty(outputs).uniform_(-bound, bound)) if bias else None
