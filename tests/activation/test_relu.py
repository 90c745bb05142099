"""What only ReLU must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.relu import ReLU, dead_units, relu, relu_fused, scaled_relu


@pytest.mark.oracle("relu", by="brute force")
def test_is_the_larger_of_zero_and_x_one_by_one(numbers):
    assert_close(relu(numbers), torch.tensor([max(0.0, float(v)) for v in numbers], dtype=torch.float64))
    assert_close(ReLU()(numbers), nn.ReLU()(numbers))


def test_both_forms_agree(agree, numbers):
    agree(relu, relu_fused, numbers)


@pytest.mark.parametrize("form", [relu, relu_fused])
def test_the_slope_at_zero_is_zero_and_nan_stays_nan(form):
    x = torch.zeros(1, requires_grad=True)
    form(x).sum().backward()
    assert x.grad == 0
    assert form(torch.tensor([float("nan")])).isnan().all()


def test_in_place_writes_over_the_input_and_only_then():
    x = torch.tensor([-1.0, 2.0])
    ReLU()(x)
    assert x.tolist() == [-1.0, 2.0]
    assert ReLU(inplace=True)(x).data_ptr() == x.data_ptr()
    assert_close(x, torch.tensor([0.0, 2.0]))


def test_a_scale_passes_through():
    x = torch.randn(20)
    assert_close(scaled_relu(x), 1.1 * relu(x))
    assert_close(scaled_relu(x, 3.0), torch.relu(3 * x))


def test_a_dead_unit_gets_no_gradient():
    layer, x = nn.Linear(3, 2), torch.rand(50, 3)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([-100.0, 1.0]))
    y = ReLU()(layer(x))
    assert dead_units(y).tolist() == [True, False]
    y.sum().backward()
    assert not layer.weight.grad[0].any()
    assert layer.weight.grad[1].any()
    assert dead_units(y.view(5, 10, 2)).tolist() == [True, False]
    for nothing in (torch.zeros(2), torch.zeros(0, 2)):
        with pytest.raises(ValueError, match="at least one sample"):
            dead_units(nothing)
