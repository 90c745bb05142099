"""Exercises about linear layers, embeddings and gated blocks."""

from __future__ import annotations

from typing import Any

from nnvocab.exercises import exercise, number


@exercise("layers/dense-count", why="784 * 128 + 128 in the first layer, 128 * 10 + 10 in the head.")
def dense_count(answer: Any) -> str | None:
    pixels, neurons, classes = 784, 128, 10
    return number(
        answer,
        pixels * neurons + neurons + neurons * classes + classes,
        {
            pixels * neurons + neurons * classes: "those are the weights; each neuron and each output has a bias too.",
            pixels * neurons + neurons: "that is the first layer; the head is still missing.",
            (pixels + 1) * (neurons + 1): "the layers stand one after the other; count each by itself and add.",
        },
        "a layer from I to O has I times O weights and O biases.",
        rel=1e-6,
    )


@exercise("layers/bilinear-rank", why="The cube has 64 * 64 * 32 weights, the three factors 8 * (64 + 64 + 32).")
def bilinear_rank(answer: Any) -> str | None:
    first, second, out, rank = 64, 64, 32, 8
    return number(
        answer,
        first * second * out - rank * (first + second + out),
        {
            first * second * out: "that is the full layer; what does the other have?",
            rank * (first + second + out): "that is what the low-rank layer has, not what it saves.",
            first * second * out - rank * (first + second): "the projection out has weights too.",
        },
        "count the cube, count the three factors, subtract.",
        rel=1e-6,
    )


@exercise(
    "layers/rows-with-gradient", why="Rows 1, 2 and 5 are read; row 0 is padding, and reading twice is no new row."
)
def rows_with_gradient(answer: Any) -> str | None:
    ids, padding = [[2, 5, 2], [0, 5, 1]], 0
    read = {i for row in ids for i in row}
    return number(
        answer,
        len(read - {padding}),
        {
            len(read): "one of these is the padding row, whose gradient is blocked.",
            6: "a row that is read twice is one row.",
            5: "a row that is read twice is one row.",
        },
        "list the different numbers in the batch, and take out the padding.",
    )


@exercise("layers/dropout-survivor", why="With p = 0.2 survivors are divided by 0.8, so that the mean stays.")
def dropout_survivor(answer: Any) -> str | None:
    value, p = 8.0, 0.2
    return number(
        answer,
        value / (1 - p),
        {
            value: "that would lower the mean: a fifth of the numbers is gone.",
            value * (1 - p): "that shrinks it; the survivors have to make up for those that are gone.",
            value / p: "divide by the share that stays, not by the share that goes.",
        },
        "the mean has to stay the same: by what must the survivors grow?",
    )


@exercise("layers/gated-width", why="Three matrices of width F cost what two of width 3072 do at F = 2/3 * 3072.")
def width_of_the_gated_block(answer: Any) -> str | None:
    width = 768
    return number(
        answer,
        2 * 4 * width / 3,
        {
            4 * width: "at that width three matrices cost half as much again as two.",
            2 * width: "that is half of it; three matrices stand against two.",
            6 * width: "that is wider; a third matrix has to be paid for by a narrower one.",
        },
        "3 * 768 * F = 2 * 768 * 3072: solve for F.",
        rel=2e-3,
    )
