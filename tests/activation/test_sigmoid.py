"""What only the sigmoid must hold."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.sigmoid import Sigmoid, sigmoid, sigmoid_fused


@pytest.mark.oracle("sigmoid", by="brute force")
def test_is_the_formula_one_by_one(numbers):
    assert_close(
        sigmoid(numbers), torch.tensor([1 / (1 + math.exp(-v)) for v in numbers.tolist()], dtype=torch.float64)
    )
    assert_close(Sigmoid()(numbers), nn.Sigmoid()(numbers))


def test_both_forms_agree_also_at_zero(agree, numbers):
    agree(sigmoid, sigmoid_fused, torch.cat([numbers, torch.zeros(1, dtype=torch.float64)]))


@pytest.mark.parametrize("form", [sigmoid, sigmoid_fused])
def test_both_tails_are_finite_with_finite_slopes(form):
    x = torch.tensor([-1e4, 1e4], requires_grad=True)
    y = form(x)
    y.sum().backward()
    assert y.tolist() == [0.0, 1.0]
    assert x.grad.tolist() == [0.0, 0.0]


def test_the_slope_and_the_symmetry(numbers):
    numbers.requires_grad_()
    s = sigmoid(numbers)
    (slope,) = torch.autograd.grad(s.sum(), numbers)
    assert_close(slope, s * (1 - s))
    assert_close(sigmoid(-numbers), 1 - s)


def test_cross_entropy_from_scores_stays_finite_where_the_sigmoid_is_zero():
    x, y = torch.tensor([-200.0]), torch.tensor([1.0])
    assert torch.isinf(-torch.log(sigmoid(x)))
    assert_close(F.binary_cross_entropy_with_logits(x, y), torch.tensor(200.0))
