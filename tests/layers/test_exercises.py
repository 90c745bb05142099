"""The exercises: the right answer is accepted, every usual mistake gets its hint, and nothing gives the answer away."""

import pytest
import torch

import nnvocab

CASES = {
    "layers/lora-count": (
        4194304,
        {2097152: "both A and B", 131072: "one layer", 1073741824: "frozen", 5: "count"},
    ),
    "layers/lora-scaling": (0.5, {8: "divided", 16: "rank", 2: "other way", 3: "which"}),
    "layers/lora-looks": ("qk", {"qv": "taken", "o": "last", "q": "two sides"}),
    "layers/adapter-count": (
        2379264,
        {2359296: "biases", 1189632: "two adapters", 198272: "one layer", 1199616: "down and up", 5: "count"},
    ),
    "layers/prefix-count": (491520, {245760: "values", 10240: "prompt", 20480: "one layer", 5: "learned"}),
    "layers/prompt-labels": (
        (-100, -100, 5, 6, 7),
        {(5, 6, 7, -100, -100): "before", (5, 6, 7): "five outputs", (0, 0, 5, 6, 7): "ignore", (1, 2): "five labels"},
    ),
    "layers/dense-count": (101770, {101632: "bias too", 100480: "head", 101265: "add", 5: "times"}),
    "layers/bilinear-rank": (129792, {131072: "full", 1280: "saves", 130048: "out", 5: "subtract"}),
    "layers/rows-with-gradient": (3, {4: "padding", 6: "twice", 5: "twice", 1: "different"}),
    "layers/dropout-survivor": (10, {8: "lower", 6.4: "shrinks", 40: "stays", 1: "mean"}),
    "layers/gated-width": (2048, {3072: "half as much", 1536: "half of it", 4608: "wider", 5: "solve"}),
    "layers/moe-capacity": (
        125,
        {63: "count choices", 100: "factor is missing", 32: "all sequences", 5: "whole batch"},
    ),
    "layers/balance-loss": (2.0, {0.5: "multiplied", 1.0: "balance", 4.0: "one expert", 9: "multiply"}),
    "layers/expert-load": (0.0625, {0.25: "divides by", 3: "sum to 1"}),
    "layers/expert-choice": (8, {4: "one expert a token", 2: "on average", 128: "together", 5: "share that out"}),
    "layers/moe-active": (50, {190: "stored", 50e6: "how many millions", 20: "attention", 23.75: "left out", 5: "add"}),
    "layers/csr-bytes": (
        160804,
        {80000: "where they stand", 160000: "begins", 800000: "full", 80804: "column", 5: "count"},
    ),
    "layers/ticket-rounds": (87.04, {12.96: "left", 0.8704: "per cent", 160: "add up", 40: "one round", 5: "multiply"}),
    "layers/squash-length": (0.8, {2 / 3: "squared", 1.0: "never", 0.2: "missing", 5: "equation"}),
    "layers/coupling-sum": (36, {10: "over the parts", 1: "one part", 360: "how many couplings", 5: "axis"}),
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


@pytest.mark.parametrize("kind", [list, torch.tensor, lambda given: torch.tensor([given])])
def test_labels_may_come_as_a_list_or_as_a_tensor(kind):
    assert nnvocab.check("layers/prompt-labels", kind([-100, -100, 5, 6, 7]))


@pytest.mark.parametrize("answer", ["qk", "k, q", ["q", "k"], ("Q", "K"), {"k", "q"}, "queries and keys"])
def test_letters_may_come_in_any_form(answer):
    assert nnvocab.check("layers/lora-looks", answer)
