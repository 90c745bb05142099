"""What the pre-norm block must hold; the contract tests run on every entry beside these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.attention.decoupled import DecoupledAttention
from nnvocab.attention.decoupled_paths import DecoupledPaths
from nnvocab.attention.multi_head import MultiHeadAttention
from nnvocab.attention.pre_norm_block import PreNormBlock, pre_norm_block
from nnvocab.attention.rotary import RotaryEmbedding


class Gated(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


@pytest.mark.oracle("pre-norm-attention-block", by="peer: transformers")
@pytest.mark.parametrize("num_kv_heads", [2, 8])
def test_with_llamas_weights_it_is_llamas_layer(num_kv_heads):
    llama = pytest.importorskip("transformers.models.llama.modeling_llama", reason="transformers is not installed")
    config = llama.LlamaConfig(
        hidden_size=64, intermediate_size=96, num_attention_heads=8, num_key_value_heads=num_kv_heads, rms_norm_eps=1e-5
    )
    config._attn_implementation = "eager"
    theirs = llama.LlamaDecoderLayer(config, layer_idx=0).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p.normal_(std=0.2)
    attention = MultiHeadAttention(
        64, 8, num_kv_heads=num_kv_heads, positions=RotaryEmbedding(8, layout="half"), bias=False, causal=True
    )
    block, theirs_attention = PreNormBlock(64, attention, Gated(64, 96), eps=1e-5), theirs.self_attn
    copies = {
        attention.qkv: torch.cat([getattr(theirs_attention, f"{n}_proj").weight for n in "qkv"]),
        attention.out: theirs_attention.o_proj.weight,
        block.feed_forward.gate: theirs.mlp.gate_proj.weight,
        block.feed_forward.up: theirs.mlp.up_proj.weight,
        block.feed_forward.down: theirs.mlp.down_proj.weight,
        block.norm1: theirs.input_layernorm.weight,
        block.norm2: theirs.post_attention_layernorm.weight,
    }
    with torch.no_grad():
        for module, weight in copies.items():
            module.weight.copy_(weight)
    assert sum(p.numel() for p in block.parameters()) == sum(p.numel() for p in theirs.parameters())
    x = torch.randn(2, 7, 64)
    places = llama.LlamaRotaryEmbedding(config)(x, torch.arange(7)[None])
    ahead = torch.full((7, 7), float("-inf")).triu(1)[None, None]
    expected = theirs(x, attention_mask=ahead, position_embeddings=places)
    expected = expected[0] if isinstance(expected, tuple) else expected
    assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_without_the_two_functions_it_is_the_identity():
    x, nothing = torch.randn(2, 3, 8), torch.zeros_like
    assert torch.equal(pre_norm_block(x, nothing, nothing, nn.RMSNorm(8), nn.RMSNorm(8)), x)


def test_decoupled_attention_in_a_block_with_a_cache_equals_all_at_once():
    attention = DecoupledAttention(DecoupledPaths(64, 4, 16, 32), causal=True)
    block, x = PreNormBlock(64, attention, Gated(64, 96)), torch.randn(2, 6, 64)
    with torch.no_grad():
        cache = attention.new_cache(2, 6)
        steps = torch.cat([block(part, cache=cache) for part in x.split(2, dim=1)], dim=1)
        assert_close(steps, block(x))


def test_padding_is_handed_to_attention():
    block, x = PreNormBlock(8, MultiHeadAttention(8, 2), Gated(8, 8)), torch.randn(1, 4, 8)
    hidden = torch.tensor([[False, False, False, True]])
    assert_close(block(x, key_padding_mask=hidden)[:, :3], block(x[:, :3]))


def test_both_halves_are_there_as_in_torchs_block():
    theirs = nn.TransformerEncoderLayer(8, 2, norm_first=True, batch_first=True)
    assert hasattr(theirs, "self_attn") and hasattr(theirs, "linear2")
    block, x = PreNormBlock(8, MultiHeadAttention(8, 2), Gated(8, 8)), torch.randn(1, 4, 8)
    h = x + block.attention(block.norm1(x))
    assert_close(block(x), h + block.feed_forward(block.norm2(h)))
    assert not torch.allclose(block(x), h)


def test_another_width_is_refused():
    with pytest.raises(ValueError, match="this block reads"):
        PreNormBlock(8, MultiHeadAttention(8, 2), Gated(8, 8))(torch.zeros(1, 3, 9))
