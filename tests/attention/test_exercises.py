"""The exercises: the right answer is accepted, every usual mistake gets its hint, and nothing gives the answer away."""

import pytest
import torch

import nnvocab

CASES = {
    "attention/gqa-cache": (
        4096,
        {1024: "what else", 2048: "keys alone", 16384: "which heads", 7: "count the tensors"},
    ),
    "attention/mqa-saving": (
        1920,
        {960: "values are cached too", 2048: "whole cache", 128: "what is left", 1: "subtract"},
    ),
    "attention/chunk-mask": (
        [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
        {
            ((1, 0, 0, 0, 0), (1, 1, 0, 0, 0)): "starts at the first key",
            ((0, 0, 0, 0, 1), (0, 0, 0, 0, 0)): "may look",
            ((1, 1), (1, 1)): "shape",
            ((1, 1, 1, 1, 1), (1, 1, 1, 1, 1)): "which of the five",
        },
    ),
    "attention/scale": (8, {512**0.5: "one head", 64: "deviation", 8**0.5: "how wide", 3: "width of one head"}),
    "attention/it-to-cat": (
        [4.0, 6.0, -2.0, 0.0],
        {
            (1.0, 1.0, 1.0): "4 numbers",
            (4.0, 0.0, 4.0, 0.0): "mat",
            (0.0, 0.0, 0.0, 5.0): "word",
            (1.0, 1.0, 0.0, 0.0): "0.6",
        },
    ),
    "attention/self-weights": (3072, {1024: "one projection", 2048: "values", 12288: "16", 768: "64", 5: "count"}),
    "attention/cross-shape": ((2, 4, 7, 20), {(2, 4, 20, 7): "rows", (2, 7, 20): "head", (1, 1): "axes"}),
    "attention/mha-weights": (1050624, {1048576: "biases", 787968: "one more", 8404992: "share", 1: "count"}),
    "attention/dead-head": ("c", {"a": "zero", "b": "two heads"}),
    "attention/bidirectional-count": (80, {100: "padding", 64: "rows", 36: "causal", 5: "columns"}),
    "attention/causal-count": (55, {100: "square", 50: "diagonal", 45: "diagonal", 3: "how many"}),
    "attention/sinusoid-shift": (
        [[-0.98999, 0.14112], [-0.14112, -0.98999]],
        {((-0.98999, -0.14112), (0.14112, -0.98999)): "back", ((1, 0), (0, 1)): "expand", (1, 2): "shape"},
    ),
    "attention/last-position": (12, {11: "511", 512: "taken", 3: "which"}),
    "attention/alibi-slopes": (
        [0.25, 0.0625, 0.015625, 0.00390625],
        {(0.5, 0.25, 0.125, 0.0625): "eight heads", (1, 1, 1, 1): "power", (1, 2): "shape"},
    ),
    "attention/rope-distance": (100, {108: "before", 4: "distance", 7: "direction"}),
    "attention/rope-values": ("qk", {"v": "handed over", "x": "mixed", "q": "both sides"}),
    "attention/decoupled-head": ((4, 8), {(8, 4): "first", (64, 128): "left for one", (1, 1): "divide"}),
    "attention/gate-factors": (
        (1.5, 0.5),
        {(0.75, 0.25): "change nothing", (0.5, 1.5): "comes first", (1.0, 1.0): "sum to 2"},
    ),
    "attention/decoupled-cache": (
        1792,
        {384: "values are kept", 768: "alone", 896: "bytes", 2560: "once", 5: "widths"},
    ),
    "attention/wavelength": (628.3185, {6.2831853: "fast", 62831.853: "exponent", 100: "radians", 5: "power"}),
    "attention/block-weights": (
        34944,
        {34816: "norms", 16448: "first half", 35072: "no shift", 28800: "three", 5: "count"},
    ),
    "attention/online-softmax": (
        1.553,
        {2.7358: "different maxima", 1.36788: "forgets", 31.1929: "without a maximum", 9: "multiply the old sum"},
    ),
    "attention/flash-double": (4, {2: "memory", 1: "longer", 8: "count the tiles"}),
    "attention/window-count": (
        (7, 3),
        {(6, 3): "itself", (3, 3): "both sides", (7, 4): "how many numbers", (7.9, 3): "list the positions"},
    ),
    "attention/layers-to-reach": (13, {12: "longest", 7: "one side", 2: "how far"}),
    "attention/global-pairs": (19, {10: "column", 20: "twice", 3: "grid"}),
    "attention/dilated-groups": (4, {1: "ever hear", 2: "remainders", 7: "on the list"}),
    "attention/bigbird-row": (512, {8: "how many keys", 448: "own included", 384: "both sides", 3: "count the blocks"}),
    "attention/fixed-row": (
        5,
        {4: "itself", 2: "rows before", 3: "its own row", 7: "strided", 14: "all of the past", 9: "rows of 4"},
    ),
    "attention/linear-state": (
        33280,
        {32768: "denominator", 4160: "each of the heads", 33280000: "does not grow", 1024000: "softmax", 1: "two sums"},
    ),
    "attention/retention-half": (21.83, {16: "multiplies", 32: "good third", 3: "solve"}),
    "attention/rwkv-weights": (
        [0.1554, 0.4223, 0.4223],
        {
            (0.0900, 0.2447, 0.6652): "one step later",
            (0.4223, 0.4223, 0.1554): "oldest",
            (1, 1): "shape",
            (1, 1, 1): "exponents",
        },
    ),
    "attention/axial-scores": (
        122880,
        {2359296: "all cells", 1179648: "half", 80: "how many cells", 73728: "columns", 1: "in its column"},
    ),
    "attention/perceiver-double": (
        (2, 1),
        {(1, 1): "every latent", (4, 1): "look at itself", (2, 2): "which of the two", (2.5, 1): "which of the two"},
    ),
    "attention/oscillating-leak": (1, {2: "both ways", 3: "not the first", 0: "own token", 9: "cycle"}),
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


@pytest.mark.parametrize("name", CASES)
def test_without_an_answer_nothing_is_said(name):
    assert nnvocab.check(name, ...).right is None


def test_answers_may_be_tensors():
    assert nnvocab.check("attention/alibi-slopes", torch.tensor([0.25, 0.0625, 0.015625, 0.00390625]))
    assert nnvocab.check("attention/chunk-mask", torch.ones(2, 5, dtype=torch.bool).tril(3))
    assert nnvocab.check("attention/window-count", torch.tensor([7, 3]))
    assert nnvocab.check("attention/perceiver-double", [2.0, 1.0])


def test_a_choice_may_be_written_with_its_brackets_and_its_words():
    for answer in ("C", "(c)", "c)", "(c) Each does what the other does."):
        assert nnvocab.check("attention/dead-head", answer)
    assert "zero" in nnvocab.check("attention/dead-head", "(A) Both put out zeros.").text
