"""What only leaky ReLU must hold."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.leaky_relu import LeakyReLU, leaky_relu, leaky_relu_fused


@pytest.mark.oracle("leaky-relu", by="brute force")
@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3, 1.0])
def test_keeps_a_share_below_zero_one_by_one(numbers, slope):
    expected = [float(v) if v > 0 else slope * float(v) for v in numbers]
    assert_close(leaky_relu(numbers, slope), torch.tensor(expected, dtype=torch.float64))
    assert_close(LeakyReLU(slope)(numbers), nn.LeakyReLU(slope)(numbers))


@pytest.mark.parametrize("options", [{}, {"negative_slope": 0.2}], ids=str)
def test_both_forms_agree(agree, numbers, options):
    agree(leaky_relu, leaky_relu_fused, numbers, **options)


@pytest.mark.parametrize("form", [leaky_relu, LeakyReLU()], ids=["function", "layer"])
def test_the_gradient_below_zero_is_the_slope_a_hundredth_unless_told_otherwise(form):
    x = torch.tensor([-5.0, 0.0, 5.0], requires_grad=True)
    form(x).sum().backward()
    assert_close(x.grad, torch.tensor([0.01, 0.01, 1.0]))


def test_in_place():
    x = torch.tensor([-1.0, 2.0])
    assert LeakyReLU(0.5, inplace=True)(x) is x
    assert_close(x, torch.tensor([-0.5, 2.0]))
    assert LeakyReLU(0.0, inplace=True)(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]
    with pytest.raises(ValueError, match="leave inplace out"):
        LeakyReLU(-0.5, inplace=True)


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        LeakyReLU()(torch.tensor([1, 2]))
