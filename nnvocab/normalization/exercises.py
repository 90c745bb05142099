"""The exercises of the normalization chapter: each judges an answer and hints at the usual mistakes."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.exercises import array, exercise, number


@exercise(
    "normalization/drift", why="Each layer multiplies once more: 1.5 to the power of 20, more than three thousand."
)
def drift(answer: Any) -> str | None:
    factor, layers = 1.5, 20
    return number(
        answer,
        factor**layers,
        {
            factor * layers: "that adds the factor twenty times; each layer multiplies what came before.",
            factor ** (layers - 1): "that is what enters the last layer; it multiplies too.",
        },
        "the first layer makes 1.5 of 1, the second 1.5 of that; go on until the twentieth.",
        rel=1e-2,
    )


@exercise("normalization/how-many-means", why="16 channels; 8 x 16; 8 x 4 groups; 8 x 5 x 5 positions.")
def how_many_means(answer: Any) -> str | None:
    B, C, H, W, G = 8, 16, 5, 5, 4
    right = (C, B * C, B * G, B * H * W)
    given = tuple(int(n) for n in answer)
    if len(given) != 4:
        return f"four counts are asked for, and yours has {len(given)}."
    if given == right:
        return None
    if given[:3] == right[:3] and given[3] == B:
        return "one mean a sample is layer normalization over channels and positions; here each position stands alone."
    names = ("batch", "instance", "group", "layer")
    first = next(n for n, a, b in zip(names, given, right, strict=True) if a != b)
    return f"the count for {first} normalization is not right; which axes are left when the mean has been taken?"


@exercise("normalization/running-mean", why="After the first batch 1, after the second 0.9 * 1 + 0.1 * 10.")
def running_mean(answer: Any) -> str | None:
    momentum, batch, running = 0.1, 10.0, 0.0
    for _ in range(2):
        running = (1 - momentum) * running + momentum * batch
    return number(
        answer,
        running,
        {
            1.0: "that is after one batch; the second moves it too.",
            9.9: "the momentum is the share of the newest batch, not of the old average.",
            2.0: "the second batch moves the average from 1, not from 0: what was there counts 0.9 times.",
            10.0: "it gets there after many batches only.",
        },
        "new average = 0.9 * old average + 0.1 * mean of the batch, twice.",
    )


@exercise(
    "normalization/rms-of-two", why="The mean square of 3 and 4 is 12.5, and its root is what both are divided by."
)
def rms_of_two(answer: Any) -> str | None:
    x = torch.tensor([3.0, 4.0])
    given = torch.as_tensor(answer, dtype=torch.float32)
    if given.shape == (2,) and torch.allclose(given, x / 5, atol=1e-3):
        return "that divides by the length, whose square is the sum; the root mean square has the mean."
    if given.shape == (2,) and torch.allclose(given, torch.tensor([-1.0, 1.0]), atol=1e-3):
        return "that is layer normalization: nothing is centred here."
    return array(given, x / x.square().mean().sqrt(), "square, take the mean, take the root, divide.", tol=1e-2)


@exercise("normalization/length-and-direction", why="v has the length 5, so its direction is [0.6, 0.8], times 10.")
def length_and_direction(answer: Any) -> str | None:
    given = torch.as_tensor(answer, dtype=torch.float32)
    if given.shape == (2,) and torch.allclose(given, torch.tensor([30.0, 40.0])):
        return "that multiplies v by g; v has to be brought to length 1 first."
    if given.shape == (2,) and torch.allclose(given, torch.tensor([0.6, 0.8])):
        return "that is the direction; g is still missing."
    return array(given, [6.0, 8.0], "divide v by its length, then multiply by g.")


@exercise(
    "normalization/lipschitz", why="The largest singular values multiply, and ReLU stretches nothing: 3 * 2 * 0.5."
)
def lipschitz(answer: Any) -> str | None:
    return number(
        answer,
        3 * 2 * 0.5,
        {
            5.5: "that is their sum; one layer stretches what the layer before has stretched.",
            3.0 * 2: "the third layer shrinks: that counts too.",
            1.0: "that would be so after spectral normalization of all three.",
        },
        "how far can the first layer stretch a difference, and the second that, and the third?",
    )
