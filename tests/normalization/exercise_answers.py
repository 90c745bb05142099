"""Answers to the exercises of the chapter: right ones, the same in other forms, and usual mistakes with words of their hints."""

import torch

RIGHT = {
    "normalization/drift": 3325,
    "normalization/how-many-means": (16, 128, 32, 200),
    "normalization/running-mean": 1.9,
    "normalization/rms-of-two": [0.84853, 1.13137],
    "normalization/length-and-direction": [6.0, 8.0],
    "normalization/lipschitz": 3,
}
SAME = [
    ("normalization/rms-of-two", torch.tensor([3.0, 4.0]) / 12.5**0.5),
]
WRONG = [
    ("normalization/drift", 30, "multiplies what came"),
    ("normalization/drift", 2217, "enters the last"),
    ("normalization/drift", 5, "go on"),
    ("normalization/how-many-means", (16, 128, 32), "four counts"),
    ("normalization/how-many-means", (16, 128, 32, 8), "each position stands alone"),
    ("normalization/how-many-means", (1, 128, 32, 200), "for batch"),
    ("normalization/how-many-means", (16, 128, 16, 200), "for group"),
    ("normalization/running-mean", 1, "after one batch"),
    ("normalization/running-mean", 9.9, "newest"),
    ("normalization/running-mean", 2, "from 1"),
    ("normalization/running-mean", 10, "many"),
    ("normalization/running-mean", 5, "twice"),
    ("normalization/rms-of-two", (0.6, 0.8), "length"),
    ("normalization/rms-of-two", (-1.0, 1.0), "centred"),
    ("normalization/rms-of-two", (3.0, 4.0), "square"),
    ("normalization/rms-of-two", (1.0,), "shape"),
    ("normalization/length-and-direction", (30.0, 40.0), "multiplies v"),
    ("normalization/length-and-direction", (0.6, 0.8), "missing"),
    ("normalization/length-and-direction", (3.0, 4.0), "divide v"),
    ("normalization/lipschitz", 5.5, "sum"),
    ("normalization/lipschitz", 6, "shrinks"),
    ("normalization/lipschitz", 1, "after spectral"),
    ("normalization/lipschitz", 7, "how far"),
]
