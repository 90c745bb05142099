"""The exercises of the compose chapter: each judges an answer and hints at the usual mistakes."""

from __future__ import annotations

from typing import Any

import torch

from nnvocab.exercises import array, exercise, number


@exercise("compose/residual-chain", why="Each block returns x + x/2, so five of them 1.5 to the power of 5.")
def residual_chain(answer: Any) -> str | None:
    return number(
        answer,
        1.5**5,
        {
            0.5**5: "that is the row without the open roads; each block adds its input.",
            2.0**5: "that is so if the layers learned the identity; here they return half.",
            5 * 1.5: "the blocks stand one behind the other: each multiplies what the one before returned.",
            1.0: "the row is the identity only if the layers return zero.",
        },
        "by what does one block multiply its input? Five of them multiply in turn.",
    )


@exercise("compose/concat-gradient", why="The outputs lie behind one another, and branch 1 wrote places 3 and 4.")
def concat_gradient(answer: Any) -> str | None:
    given = torch.as_tensor(answer, dtype=torch.float32).flatten()
    if len(given) == 9:
        return "that is the whole gradient, which each branch gets in add mode; concat divides it."
    if len(given) == 2 and torch.equal(given, torch.tensor([10.0, 20.0])):
        return "those places belong to branch 0, the first three; branch 1 comes behind it."
    return array(
        given, torch.tensor([40.0, 50.0]), "count the places: branch 0 has three, then come those of branch 1."
    )


@exercise("compose/gate-temperature", why="The ratio 99 is the exponential of the gap 1 over T, so T = 1 / ln 99.")
def gate_temperature(answer: Any) -> str | None:
    right = 1 / float(torch.tensor(99.0, dtype=torch.float64).log())
    return number(
        answer,
        right,
        {
            0.1: "at that temperature the first weight is above 0.9999.",
            1 / right: "that is one over it: logits are divided by the temperature.",
            1.0: "at temperature 1 the weights are 0.731 and 0.269.",
        },
        "the ratio of the two weights is exp(gap / T); which ratio is 0.99 to 0.01?",
        rel=0.015,
    )


@exercise(
    "compose/stitch-count", why="Two stitches, 3*10+10 and 5*10+10, and the gate, 8*2+2; the experts stand still."
)
def stitch_count(answer: Any) -> str | None:
    stitches, gate = (3 * 10 + 10) + (5 * 10 + 10), 8 * 2 + 2
    return number(
        answer,
        stitches + gate,
        {
            gate: "that is the gate alone; the stitches are not frozen.",
            stitches: "the stitches are right; the gate trains too.",
            stitches + gate + (8 * 3 + 3) + (8 * 5 + 5): "that counts the experts, which are frozen.",
            3 * 10 + 5 * 10 + 8 * 2: "each of the three linear maps has offsets too.",
        },
        "count two stitches and a gate: from which size to which does each lead, and does it have an offset?",
    )


@exercise("compose/grid-joint", why="Each agent takes its first action with probability 1/4, independently: 1/4 cubed.")
def grid_joint(answer: Any) -> str | None:
    return number(
        answer,
        0.25**3,
        {
            1 / 12: "that would be one softmax over all twelve; each agent has its own.",
            0.25: "that is one agent; all three must do it.",
            0.75: "probabilities of things that must all happen multiply.",
        },
        "what is the probability for one agent, and for three that decide by themselves?",
        rel=0.03,
    )


@exercise("compose/shared-blocks", why="One block is used six times: 32 * 32 weights, 32 biases, 32 scales, once.")
def shared_blocks(answer: Any) -> str | None:
    one = 32 * 32 + 32 + 32
    return number(
        answer,
        one,
        {
            6 * one: "that is six copies; with share: true, how many sets of weights are there?",
            32 * 32 + 32: "the norm has one weight a feature.",
            32 * 32: "that is the matrix alone.",
        },
        "count the matrix, the bias and the norm's weights of one block.",
    )


@exercise("compose/graph-order", why="A node can be computed once all that it takes is known.")
def graph_order(answer: Any) -> str | None:
    takes = {"read": [], "left": ["read"], "right": ["read"], "sum": ["left", "right"]}
    if isinstance(answer, str) or not hasattr(answer, "__iter__"):
        return "give a list of the four names, the first one first."
    order = [str(name) for name in answer if name != "input"]
    if sorted(order) != sorted(takes):
        return f"the four nodes are {', '.join(takes)}, each once; you gave {', '.join(order) or 'none'}."
    for i, name in enumerate(order):
        missing = [other for other in takes[name] if other not in order[:i]]
        if missing:
            return f"{name} takes {missing[0]}, which has not been computed by then."
    return None


@exercise("compose/weighted-target", why="The first input feeds both outputs: 1 * 4 + 3 * 8, divided by |1| + |3|.")
def weighted_target(answer: Any) -> str | None:
    return number(
        answer,
        (1 * 4 + 3 * 8) / (1 + 3),
        {
            1 * 4 + 3 * 8: "divide by the sum of the absolute weights.",
            (1 * 4 - 2 * 8) / 3: "that goes along a row; the connections of an input are a column.",
            (-2 * 4 + 1 * 8) / 3: "that is the second input's.",
        },
        "take the column of the first input, weigh the targets with it, and divide by the sum of its absolute values.",
    )


@exercise(
    "compose/kmeans-experts-count",
    why="(4 + 2) centres of 10 numbers, (4 + 2) weights for each of 3 classes, and 3 biases.",
)
def kmeans_experts_count(answer: Any) -> str | None:
    centres, head, bias = (4 + 2) * 10, (4 + 2) * 3, 3
    return number(
        answer,
        centres + head + bias,
        {
            centres: "that is the centres alone.",
            centres + head: "the classes have a bias each.",
            head + bias: "the centres are trained too.",
            centres + 10 * 3 + bias: "the head reads the probabilities of the clusters, not the features.",
        },
        "add the centres, the weights from clusters to classes, and the biases.",
    )


@exercise(
    "compose/which-layer", why="The largest of all numbers is above the limit exactly if any was, whatever their order."
)
def which_layer(answer: Any) -> str | None:
    hints = {
        "dense": "it has a weight for every second; an hour later the same event meets other weights.",
        "convolution": "it notices the event wherever it is, but says so at that place; something must still gather the places.",
        "attention": "it can learn that, with weights of its own; which of the five needs none?",
        "lstm": "it can learn to remember that, step by step; which of the five needs no training?",
    }
    word = str(answer).strip().lower()
    if word in hints:
        return hints[word]
    word = "".join(c for c in word if c.isalpha())  # "max-pooling", "MaxPool1d" and "max pooling" are one answer
    return (
        None if word in {"maxpooling", "maxpool", "maxpoold", "globalmaxpooling"} else "choose one of the five words."
    )


@exercise(
    "compose/denoiser-calls", why="Each of the 12 steps asks the denoiser with the hidden state and without: 24 times."
)
def denoiser_calls(answer: Any) -> str | None:
    return number(
        answer,
        12 * 2,
        {
            12: "with a guidance scale other than 1 every step needs two guesses.",
            1000: "those are the steps of training; a token is drawn in fewer.",
            2000: "the steps of training are not all taken when a token is drawn.",
            13: "from pure noise to none there are as many steps as num_infer_steps says; and how often does each ask?",
        },
        "how many steps are taken, and how often does each ask the denoiser?",
    )
