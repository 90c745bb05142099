"""The exercises on long sequences: tiles, patterns, linear time and latents."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.exercises import array, exercise, number


@exercise("attention/online-softmax", why="The old sum shrinks by e^(1 - 3), and the new scores add 1 and e^-1.")
def online_softmax(answer: Any) -> str | None:
    old, new = torch.tensor([1.0, 0.0]), torch.tensor([3.0, 2.0])
    right = torch.exp(torch.cat([old, new]) - 3).sum().item()
    return number(
        answer,
        right,
        {
            (torch.exp(old - 1).sum() + torch.exp(new - 3).sum()).item(): "the two sums stand over different maxima; "
            "bring the old one over the new maximum first.",
            torch.exp(new - 3).sum().item(): "that forgets what the first tile summed.",
            torch.exp(torch.cat([old, new])).sum().item(): "that is the sum without a maximum taken off.",
        },
        "multiply the old sum by e to the old maximum minus the new one, then add the new tile's exponentials.",
    )


@exercise("attention/flash-double", why="Four times as many tiles of scores, so about four times the traffic.")
def flash_double(answer: Any) -> str | None:
    return number(
        answer,
        4,
        {
            2: "that is the memory that is held; every tile of queries still reads all keys.",
            1: "the text is longer, so more is read.",
        },
        "count the tiles: how many pairs of query tile and key tile are there before and after?",
    )


@exercise("attention/window-count", why="Three on each side and the position itself; causal, it and the two before it.")
def window_count(answer: Any) -> str | None:
    given = tuple(float(n) for n in answer)
    if given == (7, 3):
        return None
    if given[0] == 6:
        return "the position sees itself too."
    if given[:1] == (3,) or given[0] == 4:
        return "both-sided, the window reaches to both sides."
    if given == (7, 4):
        return "the causal window is [i - w + 1, i]: how many numbers is that?"
    return "list the positions that i = 50 sees: from 50 - w to 50 + w, and from 50 - w + 1 to 50."


@exercise("attention/layers-to-reach", why="99 steps of 8 positions a layer: 12 layers reach 96, 13 reach all.")
def layers_to_reach(answer: Any) -> str | None:
    return number(
        answer,
        -(-99 // 8),
        {
            12: "12 layers reach 96 positions away; which distance is the longest?",
            7: "that counts both sides of the window; on the way from one end to the other only one side counts.",
        },
        "how far is it from the first position to the last, and how far does one layer carry?",
    )


@exercise("attention/global-pairs", why="The row and the column of the global position: 10 + 10 - 1.")
def global_pairs(answer: Any) -> str | None:
    return number(
        answer,
        19,
        {
            10: "it sees all, and all see it: a row and a column.",
            20: "one pair was counted twice: the position with itself.",
        },
        "mark in a 10 by 10 grid what position 0 sees and who sees it.",
    )


@exercise("attention/dilated-groups", why="Positions that differ by a multiple of 4 meet, the others never: 4 groups.")
def dilated_groups(answer: Any) -> str | None:
    return number(
        answer,
        4,
        {1: "can position 0 ever hear of position 1?", 2: "how many different remainders by 4 are there?"},
        "start at position 0 and list where steps of 4 lead; which position is not on the list?",
    )


@exercise("attention/bigbird-row", why="3 in the window, 2 global and 3 drawn: 8 blocks of 64 tokens.")
def bigbird_row(answer: Any) -> str | None:
    return number(
        answer,
        8 * 64,
        {
            8: "those are blocks; how many keys is that?",
            7 * 64: "a window of 1 on each side is 3 blocks, its own included.",
            6 * 64: "the window has blocks on both sides, and the own one.",
        },
        "count the blocks: window, global, drawn; then the tokens in them.",
    )


@exercise("attention/fixed-row", why="Of its own row 12 and 13, and of the rows before their last cells: 3, 7 and 11.")
def fixed_row(answer: Any) -> str | None:
    return number(
        answer,
        5,
        {
            4: "the position sees itself too.",
            2: "that is its own row; what of the rows before?",
            3: "those are the summary cells; what of its own row?",
            7: "in its own row it looks back only; or was that the strided rule?",
            14: "that is all of the past.",
        },
        "write the positions in rows of 4 and mark 13: which of its own row, and which cell of each row before, is seen?",
    )


@exercise("attention/linear-state", why="8 heads, each 64 features by 64 values and one sum of features: 8 * 64 * 65.")
def linear_state(answer: Any) -> str | None:
    return number(
        answer,
        8 * 64 * 65,
        {
            8 * 64 * 64: "the denominator has a sum of its own.",
            64 * 65: "each of the heads has its own state.",
            1000 * 8 * 64 * 65: "the state is one sum; it does not grow with what was read.",
            2 * 1000 * 512: "that is what softmax attention would have to keep.",
        },
        "which two sums are kept in each head, and what are their shapes?",
    )


@exercise("attention/retention-half", why="Half is left after log(1/2) / log(31/32) steps, a little under 22.")
def retention_half(answer: Any) -> str | None:
    return number(
        answer,
        torch.log(torch.tensor(0.5)).item() / torch.log(torch.tensor(31 / 32)).item(),
        {16: "the decay multiplies, it does not subtract.", 32: "after 32 steps a good third is left."},
        "solve (31/32)^n = 1/2 for n.",
        rel=0.03,
    )


@exercise(
    "attention/rwkv-weights", why="The new token weighs e^0 by its bonus, the older ones e^0 and e^-1: a softmax."
)
def rwkv_weights(answer: Any) -> str | None:
    right = torch.tensor([-1.0, 0.0, 0.0]).softmax(0)
    given = torch.as_tensor(answer, dtype=torch.float32).flatten()
    if given.shape == (3,) and torch.allclose(given, torch.tensor([-2.0, -1.0, 0.0]).softmax(0), atol=1e-3):
        return "the decay starts to count one step later: the token just before is not faded yet."
    if given.shape == (3,) and torch.allclose(given, right.flip(0), atol=1e-3):
        return "the oldest comes first."
    return array(
        given, right, "write the three exponents, oldest first: -(t - 1 - s) w + k, and u + k; then softmax.", tol=1e-3
    )


@exercise("attention/axial-scores", why="Each of the 32 * 48 cells scores its row of 48 and its column of 32.")
def axial_scores(answer: Any) -> str | None:
    h, w = 32, 48
    return number(
        answer,
        h * w * (h + w),
        {
            (h * w) ** 2: "that is all cells with all cells.",
            h * w * h * w // 2: "that is half of all pairs.",
            h + w: "that is one cell; how many cells are there?",
            h * w * w: "that is the rows; the columns come too.",
        },
        "how many cells are in the row of one cell, and in its column?",
    )


@exercise("attention/perceiver-double", why="Reading is M by S, so it doubles; the latents among themselves stay.")
def perceiver_double(answer: Any) -> str | None:
    given = tuple(float(n) for n in answer)
    if given == (2, 1):
        return None
    if given == (1, 1):
        return "every latent still looks at every input."
    if given == (4, 1):
        return "the input does not look at itself."
    return "which of the two counts, M * S and M * M, has the length S of the input in it?"


@exercise("attention/oscillating-leak", why="From the second layer on: what it reads already knows all tokens.")
def oscillating_leak(answer: Any) -> str | None:
    return number(
        answer,
        1,
        {
            2: "layers count from 1, and the first looks both ways.",
            3: "the backward layer is not the first that looks ahead.",
            0: "the input itself knows only its own token.",
        },
        "go through the cycle: both ways, forward, backward; which is the first that sees a later token?",
    )
