"""The exercises of the convolution chapter: each judges an answer and hints at the usual mistakes."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.convolution.conv2d import Conv2d
from nnvocab.convolution.conv4d import Conv4d
from nnvocab.convolution.deformable import DeformConv2d
from nnvocab.convolution.dendrite import DendriteBranches
from nnvocab.convolution.feature_maps import feature_map_report
from nnvocab.convolution.grouped import GroupedConv2d
from nnvocab.convolution.hypergraph import line_hyperedges
from nnvocab.convolution.octave import octave_multiply_adds
from nnvocab.convolution.output_size import conv_output_size, conv_transpose_output_size
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
        answer,
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
        answer,
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
        answer,
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


@exercise("convolution/receptive-field", why="Each layer adds 2 dilations: 1 + 2 (1 + 2 + 4 + 8).")
def field(answer: Any) -> str | None:
    return number(
        answer,
        receptive_field([(3, 1, d) for d in (1, 2, 4, 8)])[0],
        {
            receptive_field([(3, 1, 1)] * 4)[0]: "that is four layers without dilation.",
            receptive_field([(3, 1, 8)])[0]: "that is the last layer alone.",
            30: "the position in the middle counts too.",
            16: "each layer widens both sides.",
        },
        "begin with 1 and add d (k - 1) for each layer.",
    )


@exercise("convolution/causal-padding", why="d (K - 1) zeros, all in front: the last tap then lies on the present.")
def causal_padding(answer: Any) -> str | None:
    taps, dilation = 4, 8
    return number(
        answer,
        dilation * (taps - 1),
        {
            dilation * taps: "there is one gap fewer than there are taps.",
            dilation * (taps - 1) // 2: "half on each side would let an output see the future.",
            taps - 1: "the taps stand 8 positions apart.",
        },
        "how far back does the first tap reach if the last lies on the present?",
    )


@exercise("convolution/film-weights", why="16 kernels of 3 channels x 5 frames x 3 x 3 taps.")
def film_weights(answer: Any) -> str | None:
    return number(
        answer,
        16 * 3 * 45,
        {
            16 * 45: "a colour film has three channels.",
            16 * 3 * 9: "the kernel has a third axis, time.",
            16 * 3 * 45 + 16: "without the bias, please.",
        },
        "output channels times input channels times taps.",
    )


@exercise("convolution/output-padding", why="Without it the size is 15; stride 2 confuses 15 and 16, and 1 picks 16.")
def output_padding(answer: Any) -> str | None:
    base = conv_transpose_output_size(8, 3, stride=2, padding=1)
    return number(
        answer,
        16 - base,
        {0: "without it the size is (8 - 1) 2 - 2 + 2 + 1; is that 16?", 2: "it must stay below the stride."},
        "compute the size without output_padding and compare it with 16.",
    )


@exercise("convolution/offset-channels", why="25 taps, each with two offsets and one mask value, for two groups.")
def offset_channels(answer: Any) -> str | None:
    layer = DeformConv2d(4, 4, 5, padding=2, offset_groups=2, modulated=True)
    right = layer.predict.weight.shape[0]
    return number(
        answer,
        right,
        {
            2 * right // 3: "those are the offsets; version 2 predicts something else for each tap.",
            right // 2: "that is one offset group.",
            right // 3: "each tap moves in two directions, and has a mask value.",
            25: "that is one number a tap; count what each tap needs.",
        },
        "taps of a 5 x 5 kernel, times numbers a tap, times offset groups.",
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


@exercise("convolution/taps-4d", why="16 kernels of 8 channels and 3 x 3 x 3 x 3 = 81 taps.")
def taps_4d(answer: Any) -> str | None:
    right = Conv4d(8, 16, 3, bias=False).weight.numel()
    return number(
        answer,
        right,
        {
            right // 3: "27 taps are a kernel with three axes.",
            81: "that is one slice of one kernel.",
            16 * 81: "each kernel has a slice for every input channel.",
            right + 16: "without the bias, please.",
        },
        "output channels times input channels times taps; a kernel of 3 with four axes has 3 to the power of 4.",
    )


@exercise("convolution/collapsed-reach", why="The dilated branch spans 4 x 2 + 1 = 9 positions, more than 7.")
def collapsed_reach(answer: Any) -> str | None:
    kernel, _ = DendriteBranches(1, 1, dims=1).collapsed()
    return number(
        answer,
        kernel.shape[-1],
        {
            7: "the largest kernel is not the widest branch.",
            17: "that would be dilation 8.",
            12: "count gaps between taps: a kernel of 3 has two.",
            3 + 5 + 7 + 3: "branches lie beside each other, not one after another.",
        },
        "which branch spans the most positions?",
    )


@exercise("convolution/memberships", why="Each of 8^4 positions belongs to one line an axis.")
def memberships(answer: Any) -> str | None:
    graph = line_hyperedges((8, 8, 8, 8))
    return number(
        answer,
        len(graph.nodes),
        {
            8**4: "each position belongs to more than one line.",
            graph.num_edges: "those are the hyperedges; how many members have they?",
            8**8: "that is attention between all pairs.",
        },
        "positions, times the lines through each.",
    )
