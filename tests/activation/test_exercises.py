"""The exercises: the right answer is accepted, every usual mistake gets its hint, and nothing gives the answer away."""

import math

import pytest

import nnvocab

CASES = {
    "activation/dead": (-0.8, {0.8: "awake", 0.0: "above 0", -0.5: "second input", 7: "largest"}),
    "activation/leaky-slope": (1e-6, {0.01: "one layer", 0.03: "multiply", 5: "below 0"}),
    "activation/prelu-gradient": (-3, {3.0: "sign", 0.5: "above 0", -0.75: "slope itself", 9: "Sum"}),
    "activation/elu-jump": (2, {3: "difference", 1: "above 0", 0: "meet", 9: "differentiate"}),
    "activation/swish-limit": (-2, {0: "other end", -4: "not 1", 2: "sign", 9: "beta = 0"}),
    "activation/sigmoid-chain": (0.25**5, {0.25: "one layer", 1.25: "add", 0.5**5: "value", 1: "tanh", 9: "steepest"}),
    "activation/gated-width": (2048, {3072: "three", 1536: "4 times", 9: "2/3"}),
    "activation/softmax-shift": (0.75, {0.25: "smaller", 3: "odds", 1: "gap", 9: "1000"}),
    "activation/temperature": (2 / math.log(9), {-1: "above 0", 2: "lower", 0.1: "raise"}),
    "activation/masked-row": (
        [0.5, 0, 0.5],
        {(0.4223, 0.1554, 0.4223): "not 0", (0.3, 0, 0.3): "sum to 1", (0.2, 0, 0.8): "leave", (1, 0): "shape"},
    ),
    "activation/sparsemax": (
        [0.7, 0.3, 0],
        {(0.5009, 0.3358, 0.1667): "softmax", (0.8333, 0.4333, -0.2667): "negative", (1, 0, 0): "two", (1, 0): "shape"},
    ),
    "activation/grid-sum": (3, {1: "every row", 4: "columns", 9: "how many"}),
}


@pytest.mark.parametrize("id", CASES)
def test_judges_know_right_answers_and_usual_mistakes(id):
    right, mistakes = CASES[id]
    assert nnvocab.check(id, right)
    assert nnvocab.check(id, ...).right is None
    for answer, hint in mistakes.items():
        verdict = nnvocab.check(id, list(answer) if isinstance(answer, tuple) else answer)
        assert not verdict
        assert hint in repr(verdict), repr(verdict)


def test_every_exercise_of_the_chapter_is_here():
    import nnvocab.activation.exercises  # noqa: F401
    from nnvocab import exercises

    assert {i for i in exercises._EXERCISES if i.startswith("activation/")} == set(CASES)
