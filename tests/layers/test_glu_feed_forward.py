"""What only the gated feed-forward blocks must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.layers.gated_linear import GATES, gated_width
from nnvocab.layers.glu_feed_forward import (
    GEGLUFeedForward,
    GLUFeedForward,
    ReGLUFeedForward,
    SwiGLUFeedForward,
    feed_forward_parameters,
    glu_feed_forward,
    glu_feed_forward_fused,
)

KINDS = {SwiGLUFeedForward: "silu", GEGLUFeedForward: "gelu", ReGLUFeedForward: "relu"}


@pytest.mark.oracle("gated-feed-forward-block", by="brute force")
def test_is_gate_times_up_written_out_and_summed_by_down():
    block, x = GLUFeedForward(3, 4, bias=True), torch.randn(3)
    expected = block.down.bias.detach().clone()
    for f in range(4):
        gate = torch.sigmoid(sum(block.gate.weight[f, i] * x[i] for i in range(3)) + block.gate.bias[f])
        up = sum(block.up.weight[f, i] * x[i] for i in range(3)) + block.up.bias[f]
        expected += block.down.weight[:, f] * gate * up
    assert_close(block(x), expected)


@pytest.mark.parametrize("activation", GATES)
def test_fused_form_agrees_on_the_value_and_on_every_gradient(activation):
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((2, 3, 4), (6, 4), (6, 4), (4, 6))]
    plain, fast = (f(*inputs, activation=activation) for f in (glu_feed_forward, glu_feed_forward_fused))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fast * weights).sum(), inputs)
    )


@pytest.mark.oracle("swiglu-feed-forward-block", by="peer: transformers")
def test_swiglu_is_the_block_of_llama_and_its_weights_fit():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama", reason="the peer that has the block")
    from transformers import LlamaConfig

    theirs = llama.LlamaMLP(LlamaConfig(hidden_size=8, intermediate_size=12, num_attention_heads=2))
    ours, x = SwiGLUFeedForward(8, 12), torch.randn(2, 5, 8)
    ours.load_state_dict({k.replace("_proj", ""): v for k, v in theirs.state_dict().items()})
    assert_close(ours(x), theirs(x))


@pytest.mark.oracle("geglu-feed-forward-block", by="peer: transformers")
def test_geglu_by_tanh_is_the_block_of_t5_v1_1():
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5", reason="the peer that has the block")
    from transformers import T5Config

    theirs = t5.T5DenseGatedActDense(T5Config(d_model=8, d_ff=12, feed_forward_proj="gated-gelu")).eval()
    ours, x = GEGLUFeedForward(8, 12, approximate="tanh"), torch.randn(2, 5, 8)
    names = {"wi_0": "gate", "wi_1": "up", "wo": "down"}
    ours.load_state_dict({f"{names[k.split('.')[0]]}.weight": v for k, v in theirs.state_dict().items()})
    assert_close(ours(x), theirs(x))


@pytest.mark.oracle("reglu-feed-forward-block", by="closed form")
def test_reglu_needs_only_the_columns_whose_gate_is_open():
    block, x = ReGLUFeedForward(8, 32), torch.randn(8)
    is_open = block.gate(x) > 0
    assert_close(block(x), block.down.weight[:, is_open] @ (block.gate(x) * block.up(x))[is_open])
    assert block.sparsity(x) == pytest.approx((~is_open).double().mean().item())


@pytest.mark.parametrize("kind", KINDS)
def test_the_kinds_are_the_one_block_with_another_bend_and_the_same_weights(kind):
    block, x = kind(4, 6), torch.randn(2, 4)
    general = GLUFeedForward(4, 6, KINDS[kind])
    general.load_state_dict(block.state_dict())
    assert_close(general(x), block(x))
    expected = glu_feed_forward(x, block.gate.weight, block.up.weight, block.down.weight, activation=KINDS[kind])
    assert_close(block(x), expected)


@pytest.mark.parametrize("bias", [True, False])
def test_gate_and_up_as_one_layer_give_the_same(bias):
    apart, joined, x = SwiGLUFeedForward(4, 6, bias), SwiGLUFeedForward(4, 6, bias, fused=True), torch.randn(2, 4)
    state = {k: v for k, v in apart.state_dict().items() if k.startswith("down")}
    for part in ("weight", "bias") if bias else ("weight",):
        state[f"gate_up.{part}"] = torch.cat([getattr(apart.gate, part), getattr(apart.up, part)])
    joined.load_state_dict(state)
    assert_close(joined(x), apart(x))


def test_three_matrices_cost_half_as_much_again_and_two_thirds_of_the_width_make_it_even():
    plain = nn.Sequential(nn.Linear(512, 2048, bias=False), nn.ReLU(), nn.Linear(2048, 512, bias=False))
    count = sum(p.numel() for p in plain.parameters())
    assert count == feed_forward_parameters(512, 2048, gated=False) == 2_097_152
    assert feed_forward_parameters(512, 2048) == 3_145_728 == 1.5 * count
    block = SwiGLUFeedForward(512)
    assert block.d_ff == gated_width(2048) == 1365
    assert sum(p.numel() for p in block.parameters()) == feed_forward_parameters(512, 1365) == 2_096_640
    biased = SwiGLUFeedForward(8, 12, bias=True)
    assert sum(p.numel() for p in biased.parameters()) == feed_forward_parameters(8, 12, bias=True)


def test_what_makes_no_block_is_refused():
    with pytest.raises(ValueError, match="approximate is 'erf'"):
        GEGLUFeedForward(4, 6, approximate="erf")
    with pytest.raises(ValueError, match="activation is 'softmax'"):
        GLUFeedForward(4, 6, "softmax")
    for sizes in ((0, 6), (4, 0), (0, None)):
        with pytest.raises(ValueError, match="at least 1"):
            SwiGLUFeedForward(*sizes)
    with pytest.raises(ValueError, match="last axis must have 4 features"):
        SwiGLUFeedForward(4, 6)(torch.zeros(2, 5))
