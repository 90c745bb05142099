"""Exercises on one, three and four axes, and on what is built of them."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.convolution.conv4d import Conv4d
from nnvocab.convolution.dendrite import DendriteBranches
from nnvocab.convolution.exercises._answers import same_on_every_axis
from nnvocab.convolution.hypergraph import line_hyperedges
from nnvocab.exercises import exercise, number


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
        same_on_every_axis(answer),
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


@exercise("convolution/lines-reach", why="Four lines of six cross in one position: 1 + 4 x 5.")
def lines_reach(answer: Any) -> str | None:
    graph = line_hyperedges((6, 6, 6, 6))
    lines = graph.edges[graph.nodes == 0]
    return number(
        answer,
        len(graph.nodes[torch.isin(graph.edges, lines)].unique()),
        {
            24: "each of the four lines holds the position itself: count it once.",
            20: "the position itself counts too.",
            16: "four axes, four lines.",
            6: "that is one line.",
            6**4: "one pass of messages stays on the lines through the position.",
        },
        "count the positions on the four lines through one position.",
    )
