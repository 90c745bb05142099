"""The exercises: the right answer is accepted, every usual mistake gets its hint, and nothing gives the answer away."""

import pytest
import torch

import nnvocab

CASES = {
    "normalization/drift": (3325, {30: "multiplies what came", 2217: "enters the last", 5: "go on"}),
    "normalization/how-many-means": (
        (16, 128, 32, 200),
        {
            (16, 128, 32): "four counts",
            (16, 128, 32, 8): "each position stands alone",
            (1, 128, 32, 200): "for batch",
            (16, 128, 16, 200): "for group",
        },
    ),
    "normalization/running-mean": (1.9, {1: "after one batch", 9.9: "newest", 2: "from 1", 10: "many", 5: "twice"}),
    "normalization/rms-of-two": (
        [0.84853, 1.13137],
        {(0.6, 0.8): "length", (-1.0, 1.0): "centred", (3.0, 4.0): "square", (1.0,): "shape"},
    ),
    "normalization/length-and-direction": (
        [6.0, 8.0],
        {(30.0, 40.0): "multiplies v", (0.6, 0.8): "missing", (3.0, 4.0): "divide v"},
    ),
    "normalization/lipschitz": (3, {5.5: "sum", 6: "shrinks", 1: "after spectral", 7: "how far"}),
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
    assert nnvocab.check("normalization/rms-of-two", torch.tensor([3.0, 4.0]) / 12.5**0.5)
