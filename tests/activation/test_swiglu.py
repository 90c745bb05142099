"""What only SwiGLU must hold."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation import GatedLinear
from nnvocab.activation.swiglu import SwiGLU, gated_hidden_width, swiglu


@pytest.mark.oracle("swiglu", by="brute force")
def test_is_the_product_written_out(scores):
    v, g = scores(2, 3), scores(2, 3, seed=1)
    expected = torch.empty_like(v)
    for i in range(2):
        for j in range(3):
            expected[i, j] = v[i, j] * g[i, j] / (1 + math.exp(-g[i, j]))
    assert_close(swiglu(v, g), expected)
    assert_close(SwiGLU()(torch.cat([v, g], -1)), expected)


def test_between_two_maps_without_bias_it_is_the_block_of_llama():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama", reason="transformers is an optional peer")
    config = llama.LlamaConfig(hidden_size=6, intermediate_size=16, num_attention_heads=2, mlp_bias=False)
    theirs, x = llama.LlamaMLP(config), torch.randn(2, 6)
    up, down = GatedLinear(6, 16, "swiglu", bias=False), nn.Linear(16, 6, bias=False)
    with torch.no_grad():
        up.value_proj.weight.copy_(theirs.up_proj.weight)
        up.gate_proj.weight.copy_(theirs.gate_proj.weight)
        down.weight.copy_(theirs.down_proj.weight)
    assert_close(down(up(x)), theirs(x))


def test_the_hidden_widths_of_the_published_models():
    assert gated_hidden_width(4096, multiple_of=256) == 11008  # LLaMA 7B
    assert gated_hidden_width(5120, multiple_of=256) == 13824  # LLaMA 13B
    assert gated_hidden_width(768) == 2048
    assert 3 * 768 * gated_hidden_width(768) == 2 * 768 * 3072
    assert gated_hidden_width(6, ratio=2.0) == 8
    assert gated_hidden_width(1, ratio=1.0) == 1
    with pytest.raises(ValueError, match="at least 1"):
        gated_hidden_width(0)
    with pytest.raises(ValueError, match="ratio is 0"):
        gated_hidden_width(4, ratio=0.0)


def test_the_last_axis_is_halved_unless_told_otherwise():
    assert SwiGLU()(torch.zeros(2, 4, 6)).shape == (2, 4, 3)


def test_a_value_and_a_gate_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="two tensors of one shape"):
        swiglu(torch.zeros(2, 3), torch.zeros(2, 1))
