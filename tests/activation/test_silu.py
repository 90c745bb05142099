"""What only SiLU and Swish must hold."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.silu import SiLU, silu, silu_fused


@pytest.mark.oracle("silu-swish", by="brute force")
@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_is_x_times_its_sigmoid_one_by_one(numbers, beta):
    expected = torch.tensor([v / (1 + math.exp(-beta * v)) for v in numbers.tolist()], dtype=torch.float64)
    assert_close(silu(numbers, beta), expected)
    assert_close(SiLU(beta)(numbers), expected)


@pytest.mark.parametrize("options", [{}, *({"beta": beta} for beta in (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0))], ids=str)
def test_both_forms_agree_for_a_number(agree, numbers, options):
    agree(silu, silu_fused, numbers, **options)


def test_both_forms_agree_for_a_tensor_and_its_gradient(agree, scores):
    agree(silu, silu_fused, scores(4, 3), scores(3, seed=1))


def test_the_limits_are_half_of_x_and_relu(numbers):
    assert_close(silu(numbers, 0.0), numbers / 2)
    assert_close(silu(numbers, 1e6), torch.relu(numbers))
    for form in (silu, SiLU()):
        assert_close(form(numbers), nn.SiLU()(numbers))


@pytest.mark.parametrize("shape", [(5, 3), (5, 2, 4)])
def test_beta_is_learned_for_each_channel(scores, shape):
    layer, x = SiLU(1.0, learnable=True, num_parameters=shape[1]).double(), scores(*shape)
    layer(x).sum().backward()
    s = torch.sigmoid(x)
    assert_close(layer.beta.grad, (x**2 * s * (1 - s)).transpose(0, 1).flatten(1).sum(1))
    assert len(list(SiLU(2.0).parameters())) == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="leave inplace out"):
        SiLU(2.0, inplace=True)
    with pytest.raises(ValueError, match="learnable=True"):
        SiLU(num_parameters=3)
    with pytest.raises(ValueError, match="channels on axis 1"):
        SiLU(learnable=True, num_parameters=3)(torch.zeros(2, 4))
    x = torch.ones(2)
    assert SiLU(inplace=True)(x) is x


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        SiLU()(torch.tensor([1, 2]))
