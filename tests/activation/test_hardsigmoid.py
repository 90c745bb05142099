"""What only hardsigmoid must hold."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.hardsigmoid import Hardsigmoid, hardsigmoid, hardsigmoid_fused


@pytest.mark.oracle("hardsigmoid", by="brute force")
def test_is_the_ramp_one_by_one(numbers):
    x = numbers / 4
    assert_close(hardsigmoid(x), torch.tensor([min(max(v + 3, 0), 6) / 6 for v in x.tolist()], dtype=torch.float64))
    assert_close(Hardsigmoid()(x), nn.Hardsigmoid()(x))


def test_both_forms_agree(agree, numbers):
    agree(hardsigmoid, hardsigmoid_fused, numbers / 4, rtol=1e-7, atol=1e-7)  # torch rounds 1/6 to float32


def test_outside_of_three_it_is_flat():
    x = torch.tensor([-3.0, -5.0, 3.0, 5.0], requires_grad=True)
    y = hardsigmoid(x)
    y.sum().backward()
    assert y.tolist() == [0, 0, 1, 1]
    assert x.grad.tolist() == [0, 0, 0, 0]


def test_is_never_far_from_the_sigmoid():
    x = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    assert 0.05 < float((hardsigmoid(x) - torch.sigmoid(x)).abs().max()) < 0.08


def test_in_place():
    x = torch.zeros(1)
    assert Hardsigmoid(inplace=True)(x) is x


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        Hardsigmoid()(torch.tensor([1, 2]))
