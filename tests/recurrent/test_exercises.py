"""Each exercise takes the right answer, knows the usual mistakes, and gives nothing away without an answer."""

import math

import pytest
import torch

import nnvocab
from nnvocab.exercises import exercises
from nnvocab.recurrent import discretize_zoh, reverse_padded

RIGHT = {
    "two-steps": math.tanh(0.5 * math.tanh(1)),
    "state-size": 128,
    "shared-gradient": 12,
    "lstm-parameters": 2560,
    "cell-by-hand": [0.5, 0.0],
    "gru-step": 0.5,
    "half-life": 0.993092,
    "reverse-padded": [3, 2, 1, 0, 0],
    "tcn-levels": 8,
    "zoh": torch.tensor([0.5, 0.5]),
    "s4-memory": 2000,
    "mamba-state": 2432,
    "dt-weights": 147456,
    "break-even": 19,
}
MISTAKES = [
    ("two-steps", math.tanh(1), "after the first step"),
    ("two-steps", 0.5 * math.tanh(1), "tanh too"),
    ("two-steps", math.tanh(0.5), "not 1"),
    ("two-steps", 0.0, "h is not"),
    ("state-size", 64, "half of it"),
    ("state-size", 32, "one vector"),
    ("state-size", 640, "does not grow"),
    ("shared-gradient", 4, "how many copies"),
    ("shared-gradient", 8, "derivative"),
    ("shared-gradient", 3, "w = 1"),
    ("lstm-parameters", 640, "plain RNN"),
    ("lstm-parameters", 1920, "GRU"),
    ("lstm-parameters", 2480, "keeps two"),
    ("lstm-parameters", 2400, "leaves out"),
    ("cell-by-hand", [0.5, math.tanh(0.5)], "c is right"),
    ("cell-by-hand", [2.5, 0.0], "plus i times g"),
    ("cell-by-hand", 0.5, "shape"),
    ("gru-step", -0.5, "other convention"),
    ("gru-step", -1.0, "candidate"),
    ("gru-step", 0.75, "what comes in"),
    ("gru-step", -0.25, "what is kept"),
    ("half-life", 0.5, "one step"),
    ("half-life", 0.5**100, "keeps 0.5 is asked"),
    ("half-life", 0.995, "equal share"),
    ("half-life", 1.0, "everything"),
    ("reverse-padded", [0, 0, 3, 2, 1], "steps of padding"),
    ("reverse-padded", [1, 2, 3, 0, 0], "begins with the last true"),
    ("tcn-levels", 9, "one convolution"),
    ("tcn-levels", 7, "509"),
    ("tcn-levels", 250, "without dilation"),
    ("zoh", [0.5, math.log(2)], "first order only"),
    ("zoh", [0.5, 1.0], "times B"),
    ("s4-memory", 1000, "real part"),
    ("s4-memory", 2000 * math.log(2), "half-life"),
    ("s4-memory", 500, "divide"),
    ("mamba-state", 2048, "remembers something too"),
    ("mamba-state", 1024, "expand"),
    ("mamba-state", 2560, "d_conv - 1"),
    ("mamba-state", 1_280_000, "attention"),
    ("dt-weights", 73728, "count both matrices"),
    ("dt-weights", 1536**2, "full projection"),
    ("dt-weights", 2 * 96 * 1536, "inner width"),
    ("break-even", 38, "key and a value"),
    ("break-even", 16, "convolution"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_answer_is_right_and_says_why(name):
    verdict = nnvocab.check(f"recurrent/{name}", RIGHT[name])
    assert verdict and verdict.text.startswith("Right. ")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("zoh", discretize_zoh(torch.tensor([[-1.0]]), torch.tensor([[1.0]]), math.log(2))),
        ("reverse-padded", reverse_padded(torch.tensor([1, 2, 3, 0, 0]).view(1, 5, 1), torch.tensor([3]))),
        ("cell-by-hand", (torch.tensor([0.5]), torch.tensor([0.0]))),
        ("two-steps", torch.tensor([[0.5 * math.tanh(1)]]).tanh()),
    ],
)
def test_what_the_functions_of_the_page_return_is_taken_as_it_is(name, answer):
    assert nnvocab.check(f"recurrent/{name}", answer)


@pytest.mark.parametrize(("name", "answer", "hint"), MISTAKES)
def test_a_usual_mistake_gets_its_hint(name, answer, hint):
    verdict = nnvocab.check(f"recurrent/{name}", answer)
    assert not verdict and hint in verdict.text


@pytest.mark.parametrize("name", RIGHT)
def test_no_answer_is_neither_right_nor_wrong_and_another_is_wrong(name):
    assert nnvocab.check(f"recurrent/{name}", ...).right is None
    assert nnvocab.check(f"recurrent/{name}", -17.5).right is False


def test_every_exercise_of_the_chapter_is_tested():
    assert {n.split("/")[1] for n in exercises() if n.startswith("recurrent/")} == set(RIGHT)
