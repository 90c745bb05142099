"""Q, K and V to begin with, for the reader of `AttentionMaps` to change."""

from __future__ import annotations

import math

_SENTENCE = "The cat sat on the mat because it was tired".split()
_TURN = [[round(math.cos(a), 2), round(math.sin(a), 2)] for a in (i * math.pi / 4 for i in range(-1, 6))]
PRESETS = [
    {
        "name": "Who is it?",
        "words": _SENTENCE,
        "dims": ["thing", "alive", "place", "doing"],
        "q": [
            *([1, 0, 0, 0], [0, 0, 0, 2], [2, 2, 0, 0], [0, 0, 2, 1], [2, 0, 1, 0]),
            *([0, 0, 2, 0], [0, 0, 0, 2], [2, 0, 0, 0], [0, 2, 0, 1], [1, 3, 0, 0]),
        ],
        "k": [
            *([0, 0, 0, 0], [2, 2, 0, 0], [0, 0, 0, 2], [0, 0, 1, 0], [0, 0, 0, 0]),
            *([2, -1, 2, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 1]),
        ],
        "v": [
            *([0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]),
            *([1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 1]),
        ],
        "mask": "causal",
        "at": [7, 1],
        "goal": "“it” asks for a thing, and the mat is one too. Change its query until “it” gives “cat” at least 90 %.",
        "check": [["weight", 7, 1, 0.9]],
    },
    {
        "name": "Mix a colour",
        "words": ["red", "green", "blue", "mix"],
        "dims": ["r", "g", "b"],
        "q": [[3, 0, 0], [0, 3, 0], [0, 0, 3], [0, 0, 0]],
        "k": [[3, 0, 0], [0, 3, 0], [0, 0, 3], [0, 0, 0]],
        "v": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]],
        "mask": "full",
        "at": [3, 0],
        "goal": "The output is a mix of the values. Change the query of “mix” until its output holds at least "
        "0.45 of r and of g.",
        "check": [["out", 3, 0, 0.45], ["out", 3, 1, 0.45]],
    },
    {
        "name": "The word before",
        "words": ["one", "two", "three", "four", "five", "six"],
        "dims": ["x", "y"],
        "q": [[round(5 * c, 2) for c in p] for p in _TURN[:6]],
        "k": [[round(2 * c, 2) for c in p] for p in _TURN[1:]],
        "v": [[i, i % 2] for i in range(1, 7)],
        "mask": "causal",
        "at": [3, 2],
        "goal": "Each key is a place on a circle, and each query points one place back. Turn the query of “five” to "
        "look at “two” with at least 80 %.",
        "check": [["weight", 4, 1, 0.8]],
    },
]
"""Q, K and V to begin with; a check names a cell of the weights, or of the output, and what it must reach."""
