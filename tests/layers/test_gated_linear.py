"""What only the gated linear layer must hold; the contract tests run on every entry beside these."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.layers.gated_linear import GATES, GatedLinear, gated_linear, gated_linear_fused, gated_width, read_gate

BENDS = {
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "relu": lambda z: max(0.0, z),
    "silu": lambda z: z / (1 + math.exp(-z)),
    "gelu": lambda z: z * (1 + math.erf(z / 2**0.5)) / 2,
    "gelu_tanh": lambda z: z * (1 + math.tanh((2 / math.pi) ** 0.5 * (z + 0.044715 * z**3))) / 2,
    "bilinear": lambda z: z,
}


@pytest.mark.oracle("gated-linear-layer", by="brute force")
@pytest.mark.parametrize("activation", GATES)
def test_each_output_is_a_sum_times_a_bent_sum(activation):
    layer, x = GatedLinear(4, 3, activation).double(), torch.randn(2, 4, dtype=torch.float64)
    expected = torch.empty(2, 3, dtype=torch.float64)
    for b in range(2):
        for o in range(3):
            value = sum((layer.weight[o, i] * x[b, i]).item() for i in range(4)) + layer.bias[o].item()
            gate = sum((layer.gate_weight[o, i] * x[b, i]).item() for i in range(4)) + layer.gate_bias[o].item()
            expected[b, o] = value * BENDS[activation](gate)
    assert_close(layer(x), expected)


@pytest.mark.parametrize("activation", ["sigmoid", "gelu"])
@pytest.mark.parametrize("given", ["bias", "gate_bias"])
def test_one_bias_alone_is_added_in_both_forms(given, activation):
    x, w, v, only = torch.randn(2, 4), torch.randn(3, 4), torch.randn(3, 4), torch.randn(3)
    plain, fast = (f(x, w, v, **{given: only}, activation=activation) for f in (gated_linear, gated_linear_fused))
    assert_close(plain, fast)
    assert not torch.allclose(fast, gated_linear_fused(x, w, v, activation=activation))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [*GATES, "swiglu"])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(activation, bias):
    shapes = ((2, 4), (3, 4), (3, 4), *(((3,), (3,)) if bias else ()))
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    plain, fast = (f(*inputs, activation=activation) for f in (gated_linear, gated_linear_fused))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


def test_is_torchs_glu_behind_a_linear_layer_and_no_softmax_gate():
    x, w, v = torch.randn(5, 4), torch.randn(3, 4), torch.randn(3, 4)
    both = x @ torch.cat([w, v]).T
    assert_close(gated_linear(x, w, v), F.glu(both, dim=-1))
    assert (gated_linear(x, w, v) - (x @ w.T) * (x @ v.T).softmax(-1)).abs().max() > 0.1


def test_two_thirds_of_the_width_and_llamas_rounding():
    assert gated_width(2048) == 1365 and gated_width(16384, multiple_of=256) == 11008
    assert gated_width(4 * 8192, multiple_of=256) == 22016
    assert gated_width(1) == 1 and gated_width(1, multiple_of=8) == gated_width(12, multiple_of=8) == 8
    for given in ((0, 1), (8, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            gated_width(given[0], multiple_of=given[1])


def test_an_unknown_gate_and_another_width_are_refused():
    assert read_gate("geglu") is GATES["gelu"]
    with pytest.raises(ValueError, match="activation is 'softmax'"):
        GatedLinear(4, 3, "softmax")
    with pytest.raises(ValueError, match="last axis must have 4 features"):
        GatedLinear(4, 3)(torch.zeros(2, 5))


def test_it_shows_its_sizes():
    assert repr(GatedLinear(4, 3, "relu", bias=False)) == "GatedLinear(4, 3, 'relu', bias=False)"
    assert repr(GatedLinear(4, 3)) == "GatedLinear(4, 3, 'sigmoid', bias=True)"
