"""The exercises of the activation chapter: each judges an answer and hints at the usual mistakes."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.activation.grid_softmax import grid_softmax
from nnvocab.activation.masked_softmax import masked_softmax
from nnvocab.activation.prelu import prelu
from nnvocab.activation.sparsemax import sparsemax
from nnvocab.activation.swiglu import gated_hidden_width
from nnvocab.activation.temperature_softmax import temperature_softmax
from nnvocab.exercises import array, exercise, number


@exercise(
    "activation/dead", why="No input can bring it above 0: at best it is 0.5 + 0.3 - 1, and behind a ReLU that is 0."
)
def dead(answer: Any) -> str | None:
    right = -(0.5 + 0.3)
    return number(
        answer,
        right,
        {
            -right: "a large positive bias keeps the unit awake; which sign puts it to sleep?",
            0.0: "with bias 0 the input (1, 1) gives a sum above 0.",
            -0.5: "the second input can add 0.3 on top.",
        },
        "find the largest that the weighted sum can be, and the bias that brings just that to 0.",
    )


@exercise("activation/leaky-slope", why="On the way back every layer multiplies by 0.01.")
def leaky_slope(answer: Any) -> str | None:
    return number(
        answer,
        0.01**3,
        {0.01: "that is one layer; the gradient passes three.", 0.03: "slopes multiply, they do not add."},
        "what does one layer do to the gradient where its input is below 0?",
    )


@exercise("activation/prelu-gradient", why="The gradient of the slope is the sum of the inputs below 0: -2 and -1.")
def prelu_gradient(answer: Any) -> str | None:
    x, a = torch.tensor([-2.0, 3.0, -1.0, 0.5]), torch.tensor([0.25], requires_grad=True)
    prelu(x, a).sum().backward()
    return number(
        answer,
        float(a.grad),
        {
            3.0: "mind the sign: what is multiplied by the slope is negative.",
            0.5: "that adds the inputs above 0 too; the slope does not touch them.",
            -0.75: "that is what the slope adds to the output; its gradient does not hold the slope itself.",
        },
        "which inputs are multiplied by the slope? Sum them.",
    )


@exercise("activation/elu-jump", why="Just below 0 the slope of alpha (e^x - 1) is alpha, just above it is 1.")
def elu_jump(answer: Any) -> str | None:
    return number(
        answer,
        2.0,
        {
            3.0: "that is the slope below 0; the jump is the difference from the slope above.",
            1.0: "that is the slope above 0.",
            0.0: "the values meet at 0; the slopes do not.",
        },
        "differentiate both branches at 0 and subtract.",
    )


@exercise("activation/swish-limit", why="The sigmoid of 0 is one half, whatever x is.")
def swish_limit(answer: Any) -> str | None:
    return number(
        answer,
        -2.0,
        {
            0.0: "that is the other end, where beta is large and negative inputs vanish.",
            -4.0: "the sigmoid is not 1 at 0.",
            2.0: "mind the sign of x.",
        },
        "put beta = 0 into x times sigmoid(beta x).",
    )


@exercise(
    "activation/sigmoid-chain", why="The slope is at most a quarter, at 0, and the slopes of the layers multiply."
)
def sigmoid_chain(answer: Any) -> str | None:
    return number(
        answer,
        0.25**5,
        {
            0.25: "that is one layer; five of them multiply.",
            1.25: "slopes multiply, they do not add.",
            0.5**5: "one half is the value of the sigmoid at 0; its slope is s (1 - s).",
            1.0: "that would be tanh.",
        },
        "what is the steepest slope of one sigmoid? Five of them multiply.",
    )


@exercise("activation/gated-width", why="Three matrices of 8/3 of the width hold as much as two of 4 times the width.")
def gated_width(answer: Any) -> str | None:
    return number(
        answer,
        gated_hidden_width(768, multiple_of=64),
        {
            4 * 768: "that is the width for two matrices; a gated block has three.",
            2 * 768: "take 2/3 of 4 times 768, not of 3 times.",
        },
        "2/3 of four times the width, rounded up to a multiple of 64.",
    )


@exercise(
    "activation/softmax-shift", why="Only differences matter: the scores differ by log 3, so the odds are 3 to 1."
)
def softmax_shift(answer: Any) -> str | None:
    return number(
        answer,
        0.75,
        {
            0.25: "that is the weight of the smaller score.",
            3.0: "those are the odds; a weight is at most 1.",
            1.0: "the gap is only log 3, about 1.1.",
        },
        "take off the common 1000; what is e to the log 3, and what does it weigh beside e to the 0?",
    )


@exercise("activation/temperature", why="The odds are 9 to 1 where 2 / T is the logarithm of 9.")
def temperature(answer: Any) -> str | None:
    given = float(answer)
    if given <= 0:
        return "a temperature is above 0."
    p = temperature_softmax(torch.tensor([2.0, 0.0], dtype=torch.float64), given)[0]
    if abs(float(p) - 0.9) < 2e-3:
        return None
    return "that is too smooth: lower it." if p < 0.9 else "that is too sharp: raise it."


@exercise("activation/masked-row", why="The forbidden score is left out, and 1 and 1 share evenly.")
def masked_row(answer: Any) -> str | None:
    right = masked_softmax(torch.tensor([1.0, 5.0, 1.0]), torch.tensor([True, False, True]))
    given = torch.as_tensor(answer, dtype=torch.float32)
    if given.shape == (3,) and torch.allclose(given, torch.softmax(torch.tensor([1.0, 0.0, 1.0]), 0), atol=1e-3):
        return "a forbidden score is not 0: e to the 0 is 1, which still weighs."
    if given.shape == (3,) and abs(float(given.sum()) - 1) > 1e-3:
        return "the weights of the allowed positions sum to 1 among themselves."
    return array(given, right, "leave the forbidden score out and take the softmax of the other two.", tol=1e-3)


@exercise("activation/sparsemax", why="The threshold is (1.2 + 0.8 - 1) / 2 = 0.5; the third score lies below it.")
def sparsemax_by_hand(answer: Any) -> str | None:
    scores = torch.tensor([1.2, 0.8, 0.1])
    given = torch.as_tensor(answer, dtype=torch.float32)
    if given.shape == (3,) and torch.allclose(given, scores.softmax(0), atol=5e-3):
        return "that is the softmax; none of its weights is 0."
    if given.shape == (3,) and torch.allclose(given, (scores - 1.1 / 3), atol=5e-3):
        return "the third weight came out negative: take it out of the support and share among the other two."
    return array(
        given, sparsemax(scores), "try a support of two: take the same from both so that they sum to 1.", tol=5e-3
    )


@exercise("activation/grid-sum", why="Each of the three rows sums to 1 by itself.")
def grid_sum(answer: Any) -> str | None:
    right = float(grid_softmax(torch.zeros(12), rows=3).sum())
    return number(
        answer,
        right,
        {
            1.0: "that would be one softmax over all; here every row is one.",
            4.0: "there are 4 columns, but rows are normalised.",
        },
        "how many distributions are there?",
    )
