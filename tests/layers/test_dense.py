"""What only the dense layer must hold; the contract tests run on every entry beside these."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.layers.dense import ACTIVATIONS, Dense, dense, dense_torch

BENDS = {
    "linear": lambda z: z,
    "relu": lambda z: max(0.0, z),
    "scaled_relu": lambda z: 1.1 * max(0.0, z),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "softplus": lambda z: math.log(1 + math.exp(z)),
    "gelu": lambda z: z * (1 + math.erf(z / 2**0.5)) / 2,
}


@pytest.mark.oracle("dense-layer", by="brute force")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_neuron_bends_its_weighted_sum(activation):
    x, weight, bias = (torch.randn(s, dtype=torch.float64) for s in ((2, 4), (3, 4), (3,)))
    expected = torch.empty(2, 3, dtype=torch.float64)
    for b in range(2):
        for i in range(3):
            total = sum((weight[i, j] * x[b, j]).item() for j in range(4)) + bias[i].item()
            expected[b, i] = BENDS[activation](total)
    assert_close(dense(x, weight, bias, activation=activation), expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_torch_form_agrees_on_the_value_and_on_every_gradient(activation):
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 4), (5, 4), (5,))]
    plain, fast = (f(*inputs, activation=activation) for f in (dense, dense_torch))
    assert_close(plain, fast)
    assert_close(torch.autograd.grad(plain.sum(), inputs), torch.autograd.grad(fast.sum(), inputs))


def test_is_a_linear_layer_and_relu():
    torch.manual_seed(0)
    ours = Dense(4, 3)
    torch.manual_seed(0)
    theirs, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(2, 4)
    assert_close(ours(x), theirs(x))


def test_the_example_of_four_inputs_and_three_outputs_has_12_weights_and_3_biases():
    layer = Dense(4, 3)
    assert (layer.weight.numel(), layer.bias.numel()) == (12, 3)
    assert Dense(1024, 512, bias=False).weight.numel() == 524_288


def test_an_unknown_bend_and_another_width_are_refused():
    with pytest.raises(ValueError, match="activation is 'swish'"):
        Dense(4, 3, "swish")
    with pytest.raises(ValueError, match="must be one of linear, relu"):
        dense(torch.zeros(2, 4), torch.zeros(3, 4), activation="swish")
    with pytest.raises(ValueError, match="last axis must have 4 features"):
        Dense(4, 3)(torch.zeros(2, 5))


def test_it_shows_its_sizes():
    assert repr(Dense(4, 3, "tanh", bias=False)) == "Dense(4, 3, 'tanh', bias=False)"
    assert repr(Dense(4, 3)) == "Dense(4, 3, 'relu', bias=True)"
