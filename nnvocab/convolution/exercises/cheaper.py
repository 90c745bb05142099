"""Exercises on what the cheaper convolutions cost."""

from __future__ import annotations

from typing import Any

from nnvocab.convolution.depthwise import DepthwiseConv2d
from nnvocab.convolution.grouped import GroupedConv2d
from nnvocab.convolution.octave import octave_multiply_adds
from nnvocab.convolution.pointwise import PointwiseConv2d
from nnvocab.exercises import exercise, number


@exercise("convolution/pointwise-weights", why="One weight for each pair of an input and an output channel.")
def pointwise_weights(answer: Any) -> str | None:
    right = PointwiseConv2d(256, 64, bias=False).weight.numel()
    return number(
        answer,
        right,
        {
            9 * right: "that is a 3 x 3 kernel; this one has a single tap.",
            right + 64: "without the bias, please.",
            256: "that is one output channel.",
            64: "every output channel has a weight for every input channel.",
        },
        "input channels times output channels times taps: how many taps has a 1 x 1 kernel?",
    )


@exercise("convolution/depthwise-weights", why="16 channels, two kernels of 5 x 5 each.")
def depthwise_weights(answer: Any) -> str | None:
    right = DepthwiseConv2d(16, 5, multiplier=2, bias=False).weight.numel()
    return number(
        answer,
        right,
        {
            right // 2: "each channel has two kernels.",
            16 * right: "a depthwise kernel reads one channel, not all 16.",
            right + 32: "without the bias, please.",
            16 * 2 * 9: "the kernel is 5 x 5.",
        },
        "channels times kernels a channel times taps.",
    )


@exercise("convolution/separable-share", why="1/256 for the spatial part and 1/9 for the mixing.")
def separable_share(answer: Any) -> str | None:
    inputs, outputs, taps = 128, 256, 9
    right = (inputs * taps + inputs * outputs) / (inputs * outputs * taps)
    return number(
        answer,
        right,
        {
            1 / right: "that is how many times fewer; the share is its inverse.",
            1 / taps: "that is the pointwise part alone.",
            1 / outputs: "that is the depthwise part alone.",
            1 / inputs + 1 / taps: "the depthwise share is one over the output channels.",
            100 * right: "give the share as a number between 0 and 1.",
        },
        "add the weights of both parts and divide by those of the full kernels.",
        rel=5e-3,
    )


@exercise("convolution/grouped-weights", why="Each of 128 kernels reads the two channels of its own group.")
def grouped_weights(answer: Any) -> str | None:
    right = GroupedConv2d(64, 128, 3, 32, bias=False).weight.numel()
    return number(
        answer,
        right,
        {
            32 * right: "that is without groups.",
            right * 2: "how many input channels has each group?",
            right // 2: "each group has more than one input channel.",
            128 * 9: "each group has more than one input channel.",
            right + 128: "without the bias, please.",
        },
        "output channels times input channels of one group times taps.",
    )


@exercise(
    "convolution/octave-work",
    why="1 - 3/4 x 0.25 x 1.75: three of the four paths work on a quarter of the positions.",
)
def octave_work(answer: Any) -> str | None:
    count = octave_multiply_adds(64, 64, 3, (32, 32), 0.25, 0.25)
    return number(
        answer,
        count["total"] / count["plain"],
        {
            1 - count["total"] / count["plain"]: "that is what is saved.",
            0.75**2: "that is the H-H path alone.",
            0.75: "both inputs and outputs are split.",
        },
        "add the four paths: shares of inputs times shares of outputs, and a quarter where the map has half the side.",
        rel=5e-3,
    )
