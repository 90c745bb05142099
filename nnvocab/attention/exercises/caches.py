"""Exercises about caches, fewer keys and decoupled paths."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.attention.masks import causal_mask
from nnvocab.exercises import array, exercise, number


@exercise("attention/gqa-cache", why="Keys and values, for each of the 8 heads that are kept, 128 numbers of 2 bytes.")
def gqa_cache(answer: Any) -> str | None:
    heads, width, size = 8, 128, 2
    return number(
        answer,
        2 * heads * width * size,
        {
            heads * width: "that counts the numbers of the keys; what else is kept, and how many bytes is a number?",
            2
            * heads
            * width: "that is the keys alone, or counts numbers; two tensors are kept, of two bytes a number.",
            2 * 32 * width * size: "that is the cache of multi-head attention; which heads are kept here?",
        },
        "count the tensors kept, times heads kept, times width, times bytes a number.",
    )


@exercise("attention/mqa-saving", why="15 of 16 heads go, from the keys and from the values, 64 numbers each.")
def mqa_saving(answer: Any) -> str | None:
    heads, width = 16, 64
    return number(
        answer,
        2 * (heads - 1) * width,
        {
            (heads - 1) * width: "that is what the keys save; the values are cached too.",
            2 * heads * width: "that is the whole cache of multi-head attention; one head of each stays.",
            2 * width: "that is what is left, not what is saved.",
        },
        "take the numbers that multi-head attention caches for one token, and subtract those of multi-query attention.",
    )


@exercise("attention/chunk-mask", why="The new tokens stand at positions 3 and 4: they see 4 and 5 keys.")
def chunk_mask(answer: Any) -> str | None:
    right = causal_mask(2, 5)
    given = torch.as_tensor(answer)
    if given.shape == (2, 5) and torch.equal(given.bool(), torch.ones(2, 5).tril().bool()):
        return "that mask starts at the first key; the queries are the last two of five positions, not the first two."
    if given.shape == (2, 5) and torch.equal(given.bool(), ~right):
        return "that marks what is hidden; True is to mean: may look."
    return array(answer, right, "which of the five positions had been read when the token at position 3 was read?")


@exercise("attention/decoupled-head", why="The widths are those of all 16 heads together: 64 / 16 and 128 / 16.")
def decoupled_head(answer: Any) -> str | None:
    given = [float(n) for n in torch.as_tensor(answer, dtype=torch.float64).flatten()]
    if given == [64 / 16, 128 / 16]:
        return None
    if given == [128 / 16, 64 / 16]:
        return "the content path comes first, and it is the narrower one."
    if given == [64, 128]:
        return "those are the widths over all heads together; what is left for one?"
    return "divide each width by the number of heads, and give two numbers."


@exercise("attention/gate-factors", why="The content score is taken 2 g times, the position score 2 - 2 g times.")
def gate_factors(answer: Any) -> str | None:
    g = 0.75
    given = torch.as_tensor(answer, dtype=torch.float64).flatten()
    if given.shape == (2,) and torch.allclose(given, torch.tensor([g, 1 - g], dtype=torch.float64)):
        return "then a gate of one half would halve both scores; at the start it is to change nothing."
    if given.shape == (2,) and torch.allclose(given, torch.tensor([2 - 2 * g, 2 * g], dtype=torch.float64)):
        return "a gate above one half is for content, which comes first."
    return array(given, [2 * g, 2 - 2 * g], "both factors are 1 where the gate is one half, and they sum to 2.")


@exercise("attention/decoupled-cache", why="Keys of both paths and values, 128 + 256 + 512 numbers of 2 bytes.")
def decoupled_cache(answer: Any) -> str | None:
    keys, values = 128 + 256, 512
    return number(
        answer,
        2 * (keys + values),
        {
            keys: "those are the numbers of the keys; the values are kept too, and a number has two bytes.",
            2 * keys: "those are the keys alone; the values are kept too.",
            keys + values: "those are numbers; how many bytes does one take in fp16?",
            2 * (2 * keys + values): "the keys are stored once; two tensors, keys and values, are not two of each.",
        },
        "add the widths of all that is kept, and multiply by the bytes of a number; heads do not matter here.",
    )


@exercise("attention/block-weights", why="4 * 64 * 64 for attention, 3 * 64 * 96 for the rest, 64 for each norm.")
def block_weights(answer: Any) -> str | None:
    width, hidden = 64, 96
    attention, feed_forward = 4 * width * width, 3 * width * hidden
    return number(
        answer,
        attention + feed_forward + 2 * width,
        {
            attention + feed_forward: "the norms have a weight for each number too.",
            attention + width: "that is the first half of the block.",
            attention + feed_forward + 4 * width: "a root-mean-square norm has a scale and no shift.",
            attention + 2 * width * hidden + 2 * width: "a gated feed-forward layer has three weights, not two.",
        },
        "count four square projections, three of 64 by 96, and one scale for each norm.",
    )
