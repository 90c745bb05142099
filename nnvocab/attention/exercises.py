"""The exercises of the attention chapter: each judges an answer and hints at the usual mistakes."""

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
            heads * width * size: "that is the keys alone; the cache holds something else besides.",
            2 * heads * width: "that counts numbers; how many bytes does one number in bf16 take?",
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
