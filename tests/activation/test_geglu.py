"""What only GeGLU must hold."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation import GatedLinear
from nnvocab.activation.geglu import GEGLU, geglu


@pytest.mark.oracle("geglu", by="brute force")
def test_is_the_product_written_out(scores):
    v, g = scores(2, 3), scores(2, 3, seed=1)
    expected = torch.empty_like(v)
    for i in range(2):
        for j in range(3):
            expected[i, j] = v[i, j] * g[i, j] * math.erfc(-float(g[i, j]) / 2**0.5) / 2
    assert_close(geglu(v, g), expected)
    assert_close(GEGLU()(torch.cat([v, g], -1)), expected)


def test_both_approximations_are_chosen(scores):
    v, g = scores(2, 4, 3), scores(2, 4, 3, seed=1)
    assert_close(GEGLU(approximate="tanh")(torch.cat([v, g], -1)), v * nn.functional.gelu(g, approximate="tanh"))
    with pytest.raises(ValueError, match="approximate"):
        GEGLU(approximate="erf")


def test_between_two_maps_it_is_the_block_of_t5_version_1_1():
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5", reason="transformers is an optional peer")
    transformers = pytest.importorskip("transformers", reason="transformers is an optional peer")
    config = transformers.T5Config(d_model=6, d_ff=10, feed_forward_proj="gated-gelu", dropout_rate=0.0)
    theirs, x = t5.T5DenseGatedActDense(config), torch.randn(2, 6)
    up = GatedLinear(6, 10, "geglu", bias=False)
    with torch.no_grad():
        up.value_proj.weight.copy_(theirs.wi_1.weight)
        up.gate_proj.weight.copy_(theirs.wi_0.weight)
    hidden = geglu(up.value_proj(x), up.gate_proj(x), approximate="tanh")
    assert_close(theirs.wo(hidden), theirs(x))
    assert (up(x) - hidden).abs().max() < 2e-3


def test_a_value_and_a_gate_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="two tensors of one shape"):
        geglu(torch.zeros(2, 3), torch.zeros(2, 1))
