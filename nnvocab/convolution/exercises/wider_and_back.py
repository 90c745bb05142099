"""Exercises on dilated, transposed and deformable convolution."""

from __future__ import annotations

from typing import Any

from nnvocab.convolution.deformable import DeformConv2d
from nnvocab.convolution.exercises._answers import same_on_every_axis
from nnvocab.convolution.output_size import conv_transpose_output_size
from nnvocab.convolution.receptive_field import receptive_field
from nnvocab.exercises import exercise, number


@exercise("convolution/receptive-field", why="Each layer adds 2 dilations: 1 + 2 (1 + 2 + 4 + 8).")
def field(answer: Any) -> str | None:
    return number(
        same_on_every_axis(answer),
        receptive_field([(3, 1, d) for d in (1, 2, 4, 8)])[0],
        {
            receptive_field([(3, 1, 1)] * 4)[0]: "that is four layers without dilation.",
            receptive_field([(3, 1, 8)])[0]: "that is the last layer alone.",
            30: "the position in the middle counts too.",
            16: "each layer widens both sides.",
        },
        "begin with 1 and add d (k - 1) for each layer.",
    )


@exercise("convolution/output-padding", why="Without it the size is 15; stride 2 confuses 15 and 16, and 1 picks 16.")
def output_padding(answer: Any) -> str | None:
    base = conv_transpose_output_size(8, 3, stride=2, padding=1)
    return number(
        same_on_every_axis(answer),
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
