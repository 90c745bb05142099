"""The exercises: the right answer is accepted, every usual mistake gets its hint, and nothing gives the answer away."""

import math

import pytest

import nnvocab

CASES = {
    "compose/residual-chain": (7.59375, {0.03125: "without", 32: "half", 7.5: "behind", 1: "zero", 3: "one block"}),
    "compose/concat-gradient": (
        [40, 50],
        {(10, 20): "branch 0", tuple(range(9)): "add mode", (1, 2): "count", (1,): "shape"},
    ),
    "compose/gate-temperature": (1 / math.log(99), {0.1: "0.9999", math.log(99): "one over", 1: "0.731", 7: "ratio"}),
    "compose/stitch-count": (118, {18: "alone", 100: "trains too", 190: "frozen", 96: "offsets", 1: "two stitches"}),
    "compose/grid-joint": (1 / 64, {1 / 12: "its own", 0.25: "all three", 0.75: "multiply", 0.5: "one agent"}),
    "compose/shared-blocks": (1088, {6528: "six copies", 1056: "norm", 1024: "matrix alone", 2: "count the matrix"}),
    "compose/weighted-target": (7, {28: "divide", -4: "along a row", 0: "second input", 1: "column"}),
    "compose/kmeans-experts-count": (
        81,
        {60: "centres alone", 78: "bias", 21: "trained too", 93: "probabilities", 1: "add"},
    ),
    "compose/which-layer": (
        "max pooling",
        {
            "dense": "every second",
            "convolution": "wherever",
            "attention": "weights",
            "lstm": "step by step",
            "x": "choose one",
        },
    ),
    "compose/denoiser-calls": (
        24,
        {12: "two guesses", 1000: "steps of training", 2000: "not all taken", 13: "how often does each", 1: "how many"},
    ),
    "compose/graph-order": (
        ["read", "right", "left", "sum"],
        {("sum", "read", "left", "right"): "not been computed", ("read",): "each once", "read": "give a list"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_right_answer_is_right_and_says_why(name):
    verdict = nnvocab.check(name, CASES[name][0])
    assert verdict and verdict.text.startswith("Right. ") and len(verdict.text) > 20


@pytest.mark.parametrize(("name", "wrong", "hint"), [(n, w, h) for n, (_, ws) in CASES.items() for w, h in ws.items()])
def test_a_wrong_answer_gets_its_hint(name, wrong, hint):
    verdict = nnvocab.check(name, wrong)
    assert verdict.right is False
    assert hint in verdict.text
    right = str(CASES[name][0])
    assert len(right) < 3 or right not in verdict.text


@pytest.mark.parametrize(
    ("name", "answer"),
    [("compose/gate-temperature", 0.22), ("compose/grid-joint", 0.0156), ("compose/grid-joint", 0.016)],
)
def test_an_answer_rounded_to_two_digits_is_right(name, answer):
    assert nnvocab.check(name, answer)


@pytest.mark.parametrize("name", CASES)
def test_without_an_answer_nothing_is_said(name):
    assert nnvocab.check(name, ...).right is None


@pytest.mark.parametrize("word", ["Max Pooling", "max-pooling", "MaxPool1d", "global max pooling"])
def test_a_layer_may_be_named_as_one_likes(word):
    assert nnvocab.check("compose/which-layer", word)
