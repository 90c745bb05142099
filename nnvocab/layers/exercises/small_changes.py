"""Exercises about small changes and virtual tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnvocab.exercises import exercise, number


@exercise("layers/lora-count", why="Two projections a layer, each with 8 times 4096 numbers in A and in B.")
def lora_count(answer: Any) -> str | None:
    layers, width, r = 32, 4096, 8
    return number(
        answer,
        layers * 2 * r * 2 * width,
        {
            layers * 2 * r * width: "half of it is missing: each of two projections has both A and B.",
            2 * r * 2 * width: "that is one layer.",
            layers * 2 * width * width: "those are the frozen weights; what is trained goes through rank 8.",
        },
        "count A and B of one projection, then the projections of a layer, then the layers.",
    )


@exercise("layers/lora-scaling", why="The product is scaled by lora_alpha / r.")
def lora_scaling(answer: Any) -> str | None:
    return number(
        answer,
        8 / 16,
        {8: "alpha is divided by the rank.", 16: "that is the rank.", 2: "it is the other way round."},
        "which of the two numbers is divided by the other?",
    )


@exercise("layers/lora-looks", why="A score is a query times a key; values and output only decide what is taken.")
def lora_looks(answer: Any) -> str | None:
    given = set("".join(map(str, answer)).lower()) & set("qkvo")
    if given == {"q", "k"}:
        return None
    if "v" in given:
        return "a value is what is taken once the weights stand; what are the weights made from?"
    if "o" in given:
        return "the output projection comes last, when all has been looked at."
    return "the score has two sides: who asks, and who is asked."


@exercise("layers/adapter-count", why="Down and up have 768 times 64 weights each, and 64 and 768 biases.")
def adapter_count(answer: Any) -> str | None:
    layers, width, size = 12, 768, 64
    weights, biases = 2 * width * size, width + size
    return number(
        answer,
        layers * 2 * (weights + biases),
        {
            layers * 2 * weights: "those are the weights; the biases are trained too.",
            layers * (weights + biases): "each layer has two adapters.",
            2 * (weights + biases): "that is one layer.",
            layers * 2 * (width * size + biases): "an adapter has two weights, down and up.",
        },
        "count one adapter, both weights and both biases, then the adapters.",
    )


@exercise("layers/prefix-count", why="Keys and values, in 24 layers, of 10 positions, 1024 numbers each.")
def prefix_count(answer: Any) -> str | None:
    layers, width, length = 24, 1024, 10
    return number(
        answer,
        2 * layers * width * length,
        {
            layers * width * length: "each layer gets keys and values.",
            width * length: "that is a prompt, before the first layer only.",
            2 * width * length: "that is one layer.",
        },
        "what is learned for one layer and one position? Multiply by positions and layers.",
    )


@exercise("layers/prompt-labels", why="Nothing is to be predicted at the two places of the prompt, which come first.")
def prompt_labels(answer: Any) -> str | None:
    given = [int(n) for n in np.ravel(answer)]  # a list, a tensor or a batch of one
    if given == [-100, -100, 5, 6, 7]:
        return None
    if given == [5, 6, 7, -100, -100]:
        return "the prompt stands before the text."
    if given == [5, 6, 7]:
        return "the model gives five outputs now, and each needs a label."
    if sorted(given)[:2] == [0, 0]:
        return "0 is a class like any other; what does the loss ignore?"
    return "five labels: two to be ignored, then those of the text."
