"""Exercises about looking and heads."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.exercises import exercise, number


@exercise("attention/scale", why="A head is 512 / 8 = 64 wide, and the score is divided by the square root of that.")
def scale(answer: Any) -> str | None:
    width, heads = 512, 8
    return number(
        answer,
        (width / heads) ** 0.5,
        {
            width**0.5: "that is the root of the model's width; the dot product runs over the width of one head.",
            width / heads: "that is the width of a head; its dot product has that variance, so what has the deviation?",
            heads**0.5: "the number of heads does not matter by itself; how wide is one?",
        },
        "find the width of one head, then take what makes the variance of a dot product over it 1.",
    )


@exercise("attention/it-to-cat", why="The query points along the key of cat, so cat scores highest, and by enough.")
def it_to_cat(answer: Any) -> str | None:
    query = torch.as_tensor(answer, dtype=torch.float32).flatten()
    if query.shape != (4,):
        return f"a query here has 4 numbers (noun, animal, place, verb), and yours has {len(query)}."
    keys = sentence()[1]
    weights = (keys @ query / 2).softmax(-1)
    if weights.argmax() == 5:
        return "it looks at mat most; what do the keys of mat and cat not have in common?"
    if weights.argmax() != 1:
        return f"it looks at word {int(weights.argmax())} most; the key of cat is high in noun and in animal."
    if weights[1] < 0.6:
        return "cat is ahead, but with less than 0.6; a longer query in the same direction makes the softmax sharper."
    return None


def sentence() -> tuple[list[str], torch.Tensor]:
    """The words of the book's example sentence and their hand-made keys: noun, animal, place, verb.

    >>> words, keys = sentence()
    >>> words[1], keys[1].tolist()
    ('cat', [1.0, 1.0, 0.0, 0.0])
    """
    words = "The cat sat on the mat because it was tired".split()
    keys = torch.zeros(len(words), 4)
    keys[1, :2] = 1.0  # cat: a noun, an animal
    keys[5, 0] = keys[5, 2] = 1.0  # mat: a noun, a place
    keys[7, 0] = 0.5  # it: stands for a noun
    keys[2, 3] = keys[8, 3] = 1.0  # sat, was: verbs
    keys[3, 2] = 0.5  # on: points to a place
    return words, keys


@exercise("attention/self-weights", why="Three projections from 64 to 16 without bias: 3 * 64 * 16.")
def self_weights(answer: Any) -> str | None:
    width, d_k = 64, 16
    return number(
        answer,
        3 * width * d_k,
        {
            width * d_k: "that is one projection; which three does the layer have?",
            2 * width * d_k: "that is two projections; values are projected too.",
            3 * width * width: "the projections lead to width 16, not 64.",
            3 * d_k * d_k: "the projections come from width 64.",
        },
        "count the projections, and the size of one: from which width to which?",
    )


@exercise("attention/cross-shape", why="One row for each of 7 that ask, one column for each of 20 that are read.")
def cross_shape(answer: Any) -> str | None:
    given = tuple(int(n) for n in answer)
    if given == (2, 4, 7, 20):
        return None
    if given == (2, 4, 20, 7):
        return "rows belong to those who ask, columns to those who are read."
    if given == (2, 7, 20):
        return "that is one map for each sentence; every head has its own."
    return "the axes are: batch, heads, queries, keys."


@exercise("attention/mha-weights", why="Four projections of 512 by 512 with 512 biases, however many heads.")
def mha_weights(answer: Any) -> str | None:
    width = 512
    return number(
        answer,
        4 * (width * width + width),
        {
            4 * width * width: "those are the weights; the four projections have biases too.",
            3 * (width * width + width): "after the heads are put side by side there is one more projection.",
            8 * 4 * (width * width + width): "each head has only its share of the projections: 64 of 512 rows.",
        },
        "count the projections: queries, keys, values, output; each maps 512 to 512 and adds a bias.",
    )


@exercise("attention/dead-head", why="Another head does the same work: without one of them the other still does.")
def dead_head(answer: Any) -> str | None:
    letter = str(answer).lower().lstrip("( ")[:1]
    if letter == "c":
        return None
    if letter == "a":
        return "its output would be zero then, and its column in the figure as well; is that the only way to loss 0?"
    return "think of two heads that do the same: what happens when one goes, and when both go?"


@exercise("attention/bidirectional-count", why="Each of the 8 real tokens is seen from all 10 positions.")
def bidirectional_count(answer: Any) -> str | None:
    return number(
        answer,
        10 * 8,
        {
            100: "keys that are padding are hidden; how many keys are left?",
            64: "the mask hides keys; the rows of padded queries are computed all the same.",
            36: "nothing is causal here.",
        },
        "the mask has 10 rows, one for each query; how many columns does it leave?",
    )


@exercise("attention/causal-count", why="Row t has t + 1 weights: 1 + 2 + ... + 10.")
def causal_count(answer: Any) -> str | None:
    return number(
        answer,
        55,
        {
            100: "that is the whole square; half of it is hidden.",
            50: "the diagonal is seen: each position looks at itself too.",
            45: "the diagonal is seen: each position looks at itself too.",
        },
        "how many keys does the first position see, the second, ... the tenth?",
    )
