"""What only Mish must hold."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.mish import Mish, mish, mish_fused


@pytest.mark.oracle("mish", by="brute force")
def test_is_x_times_the_tanh_of_its_softplus_one_by_one(numbers):
    expected = [v * math.tanh(math.log1p(math.exp(v))) for v in numbers.tolist()]
    assert_close(mish(numbers), torch.tensor(expected, dtype=torch.float64))
    assert_close(Mish()(numbers), nn.Mish()(numbers))


def test_both_forms_agree(agree, numbers):
    agree(mish, mish_fused, numbers)


def test_is_stable_in_both_tails():
    x = torch.tensor([-1e4, 1e4], requires_grad=True)
    y = mish(x)
    y.sum().backward()
    assert y.tolist() == [0.0, 1e4]
    assert x.grad.tolist() == [0.0, 1.0]


def test_in_place():
    x = torch.ones(2)
    assert Mish(inplace=True)(x) is x


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        Mish()(torch.tensor([1, 2]))
