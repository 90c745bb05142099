"""What only the block with a mixture of experts must hold."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.attention import RotaryAttention, RotaryEmbedding
from nnvocab.layers.mixture_of_experts import MixtureOfExperts
from nnvocab.layers.moe_block import MoEBlock
from nnvocab.normalization import RMSNorm


@pytest.mark.oracle("moe-transformer-block", by="brute force")
def test_is_two_residuals_behind_two_norms_written_out():
    block, x = MoEBlock(16, 2, num_experts=4), torch.randn(2, 5, 16)

    def rms(t, norm):
        return t / (t.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight

    for norm in (block.attention_norm, block.moe_norm):
        nn.init.normal_(norm.weight)
    u = x + block.attention(rms(x, block.attention_norm))
    assert_close(block(x), u + block.moe(rms(u, block.moe_norm)))


def test_equals_the_layer_of_mixtral_with_its_weights():
    peer = pytest.importorskip("transformers.models.mixtral.modeling_mixtral", reason="the peer is optional")
    config = peer.MixtralConfig(
        hidden_size=32,
        intermediate_size=24,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=8,
        num_experts_per_tok=2,
        attn_implementation="eager",
    )
    config.rope_parameters = {"rope_type": "default", "rope_theta": 1e6}
    theirs, rotary = peer.MixtralDecoderLayer(config, 0), peer.MixtralRotaryEmbedding(config)
    for p in theirs.parameters():
        nn.init.normal_(p, std=0.3)
    rope = RotaryEmbedding(8, base=1e6, layout="half")
    ours = MoEBlock(
        32,
        4,
        attention=RotaryAttention(32, 4, rope=rope, num_kv_heads=2, causal=True),
        moe=MixtureOfExperts(32, 8, 2, hidden_dim=24),
        eps=config.rms_norm_eps,
    )
    heads, attention = ours.attention.attention, theirs.self_attn
    pairs = [
        (ours.attention_norm, theirs.input_layernorm),
        (ours.moe_norm, theirs.post_attention_layernorm),
        (heads.out, attention.o_proj),
        (ours.moe.router.score, theirs.mlp.gate),
    ]
    gate_and_up = theirs.mlp.experts.gate_up_proj.chunk(2, dim=1)  # theirs stands one below the other
    with torch.no_grad():
        for mine, other in pairs:
            mine.weight.copy_(other.weight)
        heads.qkv.weight.copy_(torch.cat([p.weight for p in (attention.q_proj, attention.k_proj, attention.v_proj)]))
        for mine, other in zip((ours.moe.experts.gate, ours.moe.experts.up), gate_and_up, strict=True):
            mine.copy_(other)
        ours.moe.experts.down.copy_(theirs.mlp.experts.down_proj)
    x = torch.randn(2, 6, 32)
    future = torch.full((6, 6), float("-inf")).triu(1)[None, None]
    expected = theirs(x, rotary(x, torch.arange(6)[None]), attention_mask=future)
    assert_close(ours(x), expected, rtol=1e-4, atol=1e-4)


def test_never_looks_ahead():
    block, x = MoEBlock(16, 2, num_experts=4).eval(), torch.randn(1, 6, 16)
    changed = x.clone()
    changed[:, 4:] += 1.0
    assert_close(block(x)[:, :4], block(changed)[:, :4])


def test_routing_is_returned_with_the_same_value():
    block, x = MoEBlock(16, 2, num_experts=4).eval(), torch.randn(1, 6, 16)
    y, routing = block(x, need_routing=True)
    assert_close(y, block(x))
    assert routing.experts.shape == (1, 6, 2)


def test_one_head_is_enough_and_none_is_refused():
    assert MoEBlock(16, 1, num_experts=4)(torch.randn(1, 3, 16)).shape == (1, 3, 16)
    with pytest.raises(ValueError, match="num_heads"):
        MoEBlock(16, 0)


def test_norms_are_those_of_the_book():
    assert isinstance(MoEBlock(16, 2).moe_norm, RMSNorm) and isinstance(MoEBlock(16, 2).attention_norm, RMSNorm)


def test_a_mixture_of_another_width_is_refused():
    with pytest.raises(ValueError, match="made for width 8"):
        MoEBlock(16, 2, moe=MixtureOfExperts(8, 4))
