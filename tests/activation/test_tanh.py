"""What only tanh must hold."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.tanh import Tanh, tanh, tanh_fused


@pytest.mark.oracle("tanh", by="brute force")
def test_is_the_formula_one_by_one(numbers):
    expected = [(math.exp(v) - math.exp(-v)) / (math.exp(v) + math.exp(-v)) for v in numbers.tolist()]
    assert_close(tanh(numbers), torch.tensor(expected, dtype=torch.float64))
    assert_close(Tanh()(numbers), nn.Tanh()(numbers))


def test_both_forms_agree(agree, numbers):
    agree(tanh, tanh_fused, torch.cat([numbers, torch.zeros(1, dtype=torch.float64)]))


def test_the_slope_is_one_minus_the_square(numbers):
    numbers.requires_grad_()
    y = tanh(numbers)
    (slope,) = torch.autograd.grad(y.sum(), numbers)
    assert_close(slope, 1 - y**2)
    assert y.abs().max() <= 1


def test_the_kernel_keeps_the_digits_of_a_small_number():
    x = torch.tensor([1e-9])
    assert tanh_fused(x) == x
    assert tanh(x) == 0  # 2 sigmoid(2x) - 1 loses them in float32
