"""Right answers pass, usual mistakes get their hint, and no answer yet is said kindly."""

import numpy as np
import pytest
import torch

from nnvocab import check

RIGHT = {
    "bar-response": [-1, 1, 1, -1],
    "parameters": 64 * (27 + 1),
    "stride-shift": 3,
    "same-padding": 6,
    "output-size": 14,
    "multiply-adds": 26 * 26 * 9 * 32,
    "receptive-field": 31,
    "causal-padding": 24,
    "film-weights": 16 * 3 * 45,
    "output-padding": 1,
    "offset-channels": 150,
    "separable-share": 1 / 256 + 1 / 9,
    "grouped-weights": 128 * 2 * 9,
    "octave-work": 0.671875,
    "taps-4d": 16 * 8 * 81,
    "collapsed-reach": 9,
    "memberships": 4 * 8**4,
    "field-strides": 11,
    "lines-reach": 21,
    "pointwise-weights": 256 * 64,
    "depthwise-weights": 800,
}
MISTAKES = [
    ("bar-response", [1, -1, -1, 1], "sign is turned round"),
    ("bar-response", [0, -1, 1, 1, -1, 0], "without it a window"),
    ("bar-response", [1, 2], "shape"),
    ("bar-response", [0, 1, 1, 0], "write each window"),
    ("parameters", 1728, "one more number"),
    ("parameters", 640, "slice for every input channel"),
    ("parameters", 576, "and a bias"),
    ("parameters", 1731, "belongs to the outputs"),
    ("stride-shift", 6, "stride 1"),
    ("stride-shift", 12, "less, not more"),
    ("same-padding", 2, "how many positions does the kernel span"),
    ("same-padding", 12, "one side"),
    ("same-padding", 7, "gaps between the taps"),
    ("output-size", 14.5, "whole number"),
    ("output-size", 28, "stride 1"),
    ("output-size", 12, "without padding"),
    ("output-size", 13, "padding is added on both ends"),
    ("output-size", 15, "rounded down"),
    ("multiply-adds", 28 * 28 * 9 * 32, "smaller than the image"),
    ("multiply-adds", 26 * 26 * 9, "one map"),
    ("multiply-adds", 2 * 26 * 26 * 9 * 32, "a multiply-add is both"),
    ("multiply-adds", 26 * 26 * 32, "how many products"),
    ("receptive-field", 9, "without dilation"),
    ("receptive-field", 17, "last layer alone"),
    ("receptive-field", 30, "middle counts"),
    ("receptive-field", 16, "both sides"),
    ("causal-padding", 32, "one gap fewer"),
    ("causal-padding", 12, "see the future"),
    ("causal-padding", 3, "8 positions apart"),
    ("film-weights", 720, "three channels"),
    ("film-weights", 432, "third axis, time"),
    ("film-weights", 2176, "without the bias"),
    ("output-padding", 0, "is that 16"),
    ("output-padding", 2, "below the stride"),
    ("offset-channels", 100, "something else"),
    ("offset-channels", 75, "one offset group"),
    ("offset-channels", 50, "two directions"),
    ("offset-channels", 25, "one number a tap"),
    ("separable-share", 1 / (1 / 256 + 1 / 9), "its inverse"),
    ("separable-share", 1 / 9, "pointwise part alone"),
    ("separable-share", 1 / 256, "depthwise part alone"),
    ("separable-share", 1 / 128 + 1 / 9, "output channels"),
    ("grouped-weights", 64 * 128 * 9, "without groups"),
    ("grouped-weights", 1152, "more than one input channel"),
    ("grouped-weights", 2432, "without the bias"),
    ("octave-work", 0.328125, "what is saved"),
    ("octave-work", 0.5625, "H-H path alone"),
    ("octave-work", 0.75, "inputs and outputs are split"),
    ("taps-4d", 3456, "three axes"),
    ("taps-4d", 81, "one slice"),
    ("taps-4d", 1296, "slice for every input channel"),
    ("collapsed-reach", 7, "not the widest branch"),
    ("collapsed-reach", 17, "dilation 8"),
    ("collapsed-reach", 18, "beside each other"),
    ("memberships", 4096, "more than one line"),
    ("memberships", 2048, "those are the hyperedges"),
    ("memberships", 8**8, "all pairs"),
    ("field-strides", 7, "without the stride"),
    ("field-strides", 9, "both later layers"),
    ("field-strides", 15, "only the first layer"),
    ("field-strides", 14, "is 3, whatever"),
    ("field-strides", 12, "how long is a step"),
    ("lines-reach", 24, "count it once"),
    ("lines-reach", 20, "itself counts too"),
    ("lines-reach", 16, "four axes"),
    ("lines-reach", 6, "one line"),
    ("lines-reach", 1296, "stays on the lines"),
    ("pointwise-weights", 9 * 16384, "a single tap"),
    ("pointwise-weights", 16448, "without the bias"),
    ("pointwise-weights", 256, "one output channel"),
    ("pointwise-weights", 64, "for every input channel"),
    ("depthwise-weights", 400, "two kernels"),
    ("depthwise-weights", 12800, "reads one channel"),
    ("depthwise-weights", 832, "without the bias"),
    ("depthwise-weights", 288, "5 x 5"),
    ("output-size", (14, 13), "could not be read"),
]


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_answer_is_right_and_none_is_no_answer(name):
    assert check(f"convolution/{name}", RIGHT[name])
    assert check(f"convolution/{name}", ...).right is None


@pytest.mark.parametrize(("name", "answer", "hint"), MISTAKES)
def test_a_usual_mistake_gets_its_hint_and_not_the_answer(name, answer, hint):
    import re

    verdict = check(f"convolution/{name}", answer)
    assert not verdict and re.search(hint, verdict.text)


@pytest.mark.parametrize("form", [float, torch.tensor, np.array, lambda n: (n, n), lambda n: torch.tensor([n, n])])
@pytest.mark.parametrize("name", ["stride-shift", "same-padding", "output-size", "output-padding", "receptive-field"])
def test_a_number_for_each_axis_is_as_right_as_one_number(name, form):
    assert check(f"convolution/{name}", form(RIGHT[name]))


@pytest.mark.parametrize("form", [tuple, torch.tensor, np.array, lambda v: torch.tensor(v).view(1, 1, 4)])
def test_four_answers_may_come_in_any_form(form):
    assert check("convolution/bar-response", form(RIGHT["bar-response"]))
