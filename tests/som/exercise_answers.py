"""Answers to the exercises of the chapter: right ones, the same in other forms, and usual mistakes with words of their hints."""

import math

RIGHT = {
    "som/one-step": [0.5 * math.exp(-0.5) * 3, 2.5, 6 - 0.5 * math.exp(-0.5) * 3],
    "som/u-matrix": 2.5,
    "som/cube-neighbours": 11,
    "som/map-bytes": 864_000,
    "som/gng-units": 12,
    "som/soft-share": 1 / (1 + math.exp(-1.5)),
}
SAME = []
WRONG = [
    ("som/one-step", [1.5, 2.5, 4.5], "full rate"),
    ("som/one-step", [0, 2.5, 6], "only the winner"),
    ("som/one-step", [0.5 * math.exp(-1) * 3, 2.5, 6 - 0.5 * math.exp(-1) * 3], "lacks its 2"),
    ("som/one-step", [math.exp(-0.5) * 3, 2.5, 6 - math.exp(-0.5) * 3], "h alone"),
    ("som/one-step", [1.0, 2.0, 3.0], "find the winner"),
    ("som/one-step", [1.0, 2.0], "shape"),
    ("som/u-matrix", 5, "the sum"),
    ("som/u-matrix", 1, "lattice distance"),
    ("som/u-matrix", 3, "all pairs"),
    ("som/u-matrix", 9, "two neighbours"),
    ("som/cube-neighbours", 26, "in the middle"),
    ("som/cube-neighbours", 7, "in a corner"),
    ("som/cube-neighbours", 17, "of a face"),
    ("som/cube-neighbours", 4, "share a face"),
    ("som/cube-neighbours", 12, "not the cube itself"),
    ("som/cube-neighbours", 3, "how far"),
    ("som/map-bytes", 216_000, "counts numbers"),
    ("som/map-bytes", 32_000, "one cube"),
    ("som/map-bytes", 172_800, "flat"),
    ("som/map-bytes", 13_500, "as wide as"),
    ("som/map-bytes", 1, "count cubes"),
    ("som/gng-units", 10, "insertions"),
    ("som/gng-units", 11, "two ends"),
    ("som/gng-units", 1000, "insert_every"),
    ("som/gng-units", 5, "start from"),
    ("som/soft-share", 1 / (1 + math.exp(-0.5)), "square it"),
    ("som/soft-share", 1 / (1 + math.exp(-3)), "divide by 2"),
    ("som/soft-share", 1 / (1 + math.exp(-0.75)), "once, not twice"),
    ("som/soft-share", 1 / (1 + math.exp(1.5)), "further centre"),
    ("som/soft-share", 0.5, "softmax"),
]
