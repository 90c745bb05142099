"""What only ELU must hold."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.elu import ELU, elu, elu_fused


@pytest.mark.oracle("elu", by="brute force")
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_is_a_line_and_an_exponential_one_by_one(numbers, alpha):
    expected = [float(v) if v > 0 else alpha * math.expm1(v) for v in numbers]
    assert_close(elu(numbers, alpha), torch.tensor(expected, dtype=torch.float64))
    assert_close(ELU(alpha)(numbers), nn.ELU(alpha)(numbers))


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5}, {"alpha": 1.0}], ids=str)
def test_both_forms_agree(agree, numbers, options):
    agree(elu, elu_fused, numbers, **options)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_the_slope_jumps_at_zero_unless_alpha_is_one(alpha):
    x = torch.tensor([-1e-9, 1e-9], dtype=torch.float64, requires_grad=True)
    elu(x, alpha).sum().backward()
    assert_close(x.grad, torch.tensor([alpha, 1.0], dtype=torch.float64))


def test_the_second_derivative_jumps_even_at_alpha_one():
    x = torch.tensor([-1e-9, 1e-9], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(elu(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert_close(second, torch.tensor([1.0, 0.0], dtype=torch.float64))


def test_large_inputs_have_finite_gradients():
    x = torch.tensor([1000.0, -1000.0], requires_grad=True)
    elu(x).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]


def test_in_place():
    x = torch.tensor([-1.0, 2.0])
    assert ELU(inplace=True)(x) is x
    assert_close(x, torch.tensor([math.expm1(-1), 2.0]))
    assert ELU(0.0, inplace=True)(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]
    with pytest.raises(ValueError, match="leave inplace out"):
        ELU(-1.0, inplace=True)


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        ELU()(torch.tensor([1, 2]))
