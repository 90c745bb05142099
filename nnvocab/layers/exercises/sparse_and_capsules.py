"""Exercises about sparse layers and capsules."""

from __future__ import annotations

from typing import Any

from nnvocab.exercises import exercise, number


@exercise(
    "layers/csr-bytes",
    why="20,000 weights are kept, each with 4 bytes for its value and 4 for its column, and 201 rows begin somewhere.",
)
def csr_bytes(answer: Any) -> str | None:
    rows, columns, kept = 200, 1000, 0.1
    count = round(rows * columns * kept)
    return number(
        answer,
        count * 8 + 4 * (rows + 1),
        {
            count * 4: "that counts the values; where they stand has to be stored too.",
            count * 8: "the columns are there; where each row begins is missing.",
            rows * columns * 4: "that is the full layer.",
            count * 4 + 4 * (rows + 1): "each value needs its column, too.",
        },
        "count the weights that are kept; each has a value and a column; and each row has a beginning, and the last an end.",
        rel=1e-6,
    )


@exercise(
    "layers/ticket-rounds",
    why="Each round keeps 0.6 of what is left: 0.6 ** 4 = 0.13, so 87 % are zero after 4 rounds.",
)
def ticket_rounds(answer: Any) -> str | None:
    keep = 0.6
    return number(
        answer,
        100 * (1 - keep**4),
        {
            100 * keep**4: "that is the share that is left.",
            1 - keep**4: "that is the share; per cent are hundredths.",
            100 * 4 * (1 - keep): "the rounds do not add up: each takes 40 % of what is left, not of all.",
            100 * (1 - keep): "that is one round.",
        },
        "multiply what each round leaves, four times, and subtract from one.",
        rel=5e-3,
    )


@exercise("layers/squash-length", why="A length of 2 becomes 4 / (1 + 4).")
def squash_length(answer: Any) -> str | None:
    length = 2.0
    return number(
        answer,
        length**2 / (1 + length**2),
        {
            length / (1 + length): "the lengths are squared, above and below.",
            1.0: "a length of 1 is never reached.",
            1 / (1 + length**2): "that is what is missing to 1.",
        },
        "put the length into the equation: square over one plus square.",
    )


@exercise(
    "layers/coupling-sum", why="Each of the 36 parts shares itself out among the wholes, and its couplings sum to 1."
)
def coupling_sum(answer: Any) -> str | None:
    parts, wholes = 36, 10
    return number(
        answer,
        parts,
        {
            wholes: "that would be a softmax over the parts, for each whole.",
            1.0: "that is the sum for one part.",
            parts * wholes: "that is how many couplings there are.",
        },
        "over which axis does the softmax run, and how many such sums are there?",
    )
