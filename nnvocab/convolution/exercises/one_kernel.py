"""Exercises on one kernel: its answers, its numbers, strides, padding, sizes and fields."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.convolution.conv2d import Conv2d
from nnvocab.convolution.exercises._answers import same_on_every_axis
from nnvocab.convolution.feature_maps import feature_map_report
from nnvocab.convolution.output_size import conv_output_size
from nnvocab.convolution.receptive_field import receptive_field
from nnvocab.exercises import array, exercise, number


@exercise("convolution/bar-response", why="On the bar the middle weight wins; just outside, a -1 touches it.")
def bar_response(answer: Any) -> str | None:
    row = torch.tensor([0.0, 0, 1, 1, 0, 0]).view(1, 1, 6)
    right = torch.nn.functional.conv1d(row, torch.tensor([[[-1.0, 2.0, -1.0]]]))[0, 0]
    given = torch.as_tensor(answer, dtype=torch.float64).flatten()
    if given.numel() == 6:
        return "there are six positions only with padding; without it a window of three fits in fewer places."
    if given.numel() == 4 and torch.equal(given, -right.double()):
        return "every sign is turned round: the middle weight is the positive one."
    return array(given, right, "write each window of three below the kernel, multiply, and add the three products.")


@exercise("convolution/parameters", why="64 kernels of 3 x 3 x 3 weights, and a bias for each kernel.")
def parameters(answer: Any) -> str | None:
    layer = Conv2d(3, 64, 3)
    weights = layer.weight.numel()
    return number(
        answer,
        weights + 64,
        {
            weights: "those are the weights; each kernel has one more number.",
            64 * 9 + 64: "a kernel has a slice for every input channel.",
            64 * 9: "a kernel has a slice for every input channel, and a bias.",
            weights + 3: "the bias belongs to the outputs, one for each kernel.",
        },
        "count the numbers in one kernel, over all input channels, then the kernels, then the biases.",
    )


@exercise("convolution/stride-shift", why="Each step of the output is two steps of the input.")
def stride_shift(answer: Any) -> str | None:
    return number(
        same_on_every_axis(answer),
        6 // 2,
        {
            6: "that would be stride 1; neighbouring outputs are how far apart in the input?",
            12: "it moves less, not more.",
        },
        "neighbouring outputs lie a stride apart in the input.",
    )


@exercise(
    "convolution/same-padding", why="The kernel spans 3 x 4 + 1 = 13 positions: 12 are missing, half on each side."
)
def same_padding(answer: Any) -> str | None:
    right = next(p for p in range(99) if conv_output_size(100, 5, padding=p, dilation=3) == 100)
    return number(
        same_on_every_axis(answer),
        right,
        {
            5 // 2: "half the kernel is enough without dilation only; how many positions does the kernel span?",
            2 * right: "that is what is missing in all; padding counts one side.",
            5 * 3 // 2: "count the gaps between the taps, not the taps: there is one gap fewer.",
        },
        "find the span of the dilated kernel; the size shrinks by the span less 1; half of that goes on each side.",
    )


@exercise("convolution/output-size", why="floor((28 + 4 - 4 - 1) / 2) + 1: the stride of 2 halves the 28 positions.")
def output_size(answer: Any) -> str | None:
    return number(
        same_on_every_axis(answer),
        conv_output_size(28, 5, stride=2, padding=2),
        {
            14.5: "a size is a whole number: what does the rule do with the remainder?",
            conv_output_size(28, 5, padding=2): "that is stride 1.",
            conv_output_size(28, 5, stride=2): "that is without padding.",
            15: "the division is rounded down, not up.",
            13: "padding is added on both ends, and the first window counts too.",
        },
        "put n = 28, k = 5, s = 2, p = 2, d = 1 into the rule above.",
    )


@exercise("convolution/multiply-adds", why="32 maps of 26 x 26 values, nine products for each value.")
def multiply_adds(answer: Any) -> str | None:
    (row,) = feature_map_report(torch.nn.Sequential(Conv2d(1, 32, 3)), torch.zeros(1, 1, 28, 28))
    return number(
        answer,
        row.multiply_adds,
        {
            28 * 28 * 9 * 32: "the maps are smaller than the image: there is no padding.",
            26 * 26 * 9: "that is one map.",
            2 * row.multiply_adds: "that counts multiplications and additions apart; a multiply-add is both.",
            26 * 26 * 32: "those are the values; how many products does each need?",
        },
        "values of one map, times products a value, times maps.",
    )


@exercise("convolution/field-strides", why="3, then 2 x 2 and 2 x 2 more: behind a stride of 2 each step counts twice.")
def field_behind_a_stride(answer: Any) -> str | None:
    return number(
        same_on_every_axis(answer),
        receptive_field([(3, 2, 1), (3, 1, 1), (3, 1, 1)])[0],
        {
            receptive_field([(3, 1, 1)] * 3)[
                0
            ]: "that is without the stride: how far apart are the first layer's outputs?",
            receptive_field([(3, 1, 1), (3, 2, 1), (3, 1, 1)])[
                0
            ]: "the first layer has the stride, so both later layers are spread.",
            receptive_field([(3, 2, 1)] * 3)[0]: "only the first layer has a stride.",
            14: "the field of the first layer is 3, whatever its stride.",
        },
        "begin with 3, and add 2 steps for each later layer: how long is a step?",
    )
