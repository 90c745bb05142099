"""The exercises of the attention chapter: each judges an answer and hints at the usual mistakes."""

from __future__ import annotations

from typing import Any

from nnvocab.exercises import exercise, number


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
