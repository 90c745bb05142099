"""The two linear maps of a gated unit are one map of doubled width, split."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation import GEGLU, GLU, GatedLinear, ReGLU, SwiGLU


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("gate", "split"), [("glu", GLU), ("reglu", ReGLU), ("geglu", GEGLU), ("swiglu", SwiGLU)])
def test_stacked_weights_and_the_split_form_agree(gate, split, bias):
    layer, stacked, x = GatedLinear(5, 3, gate, bias), nn.Linear(5, 6, bias=bias), torch.randn(2, 4, 5)
    with torch.no_grad():
        for name, value in stacked.named_parameters():
            value.copy_(torch.cat([getattr(layer.value_proj, name), getattr(layer.gate_proj, name)]))
    assert_close(layer(x), split()(stacked(x)))
    assert gate in repr(layer)


def test_is_a_gated_linear_unit_with_biases_unless_told_otherwise():
    layer = GatedLinear(5, 3)
    assert layer.gate == "glu"
    assert layer.value_proj.bias is not None and layer.gate_proj.bias is not None


def test_an_unknown_gate_is_refused():
    with pytest.raises(ValueError, match="one of glu, reglu, geglu, swiglu"):
        GatedLinear(2, 2, "tanh")
