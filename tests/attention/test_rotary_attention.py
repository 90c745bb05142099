"""RoPE in attention: turned after the projection, in every head, and never the values."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.attention.heads import merge_heads, split_heads
from nnvocab.attention.rotary import RotaryEmbedding, rotary_frequencies
from nnvocab.attention.rotary_attention import RotaryAttention, rotary_attention, rotary_attention_fused


def complex_rotation(x):
    """Turn (B, H, T, D) by complex multiplication, for an oracle that shares no code with the layer."""
    D = x.shape[-1]
    angle = torch.arange(x.shape[-2])[:, None] * 10000.0 ** (-torch.arange(0, D, 2) / D)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2)


@pytest.mark.oracle("rotary-position-embedding-attention", by="peer: torch.nn.functional.scaled_dot_product_attention")
@pytest.mark.parametrize("causal", [False, True])
def test_is_attention_over_turned_queries_and_keys(causal):
    layer, x = RotaryAttention(16, 4, causal=causal), torch.randn(2, 6, 16)
    q, k, v = (split_heads(t, 4) for t in layer.attention.qkv(x).chunk(3, dim=-1))
    y = F.scaled_dot_product_attention(complex_rotation(q), complex_rotation(k), v, is_causal=causal)
    assert_close(layer(x), layer.attention.out(merge_heads(y)), atol=1e-5, rtol=1e-5)


def test_agrees_with_rotary_embedding_torch():
    peer = pytest.importorskip("rotary_embedding_torch", reason="the optional peer is missing")
    layer, x = RotaryAttention(16, 2, causal=True), torch.randn(2, 6, 16)
    q, k, v = (split_heads(t, 2) for t in layer.attention.qkv(x).chunk(3, dim=-1))
    turn = peer.RotaryEmbedding(8).rotate_queries_or_keys
    y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True)
    assert_close(layer(x), layer.attention.out(merge_heads(y)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_plain_and_fused_agree_on_the_value_and_on_every_gradient(causal):
    q, k, v = (torch.randn(1, 2, 4, 6, dtype=torch.float64, requires_grad=True) for _ in range(3))
    theta = rotary_frequencies(6)
    plain, fused = (f(q, k, v, theta, causal=causal) for f in (rotary_attention, rotary_attention_fused))
    assert_close(plain, fused)
    assert_close(*(torch.autograd.grad(y.square().sum(), [q, k, v]) for y in (plain, fused)))


def test_unless_asked_it_looks_both_ways_and_has_no_bias():
    q, k, v = torch.randn(3, 1, 2, 4, 6).unbind()
    expected = F.scaled_dot_product_attention(complex_rotation(q), complex_rotation(k), v)
    for form in (rotary_attention, rotary_attention_fused):
        assert_close(form(q, k, v, rotary_frequencies(6).float()), expected, atol=1e-5, rtol=1e-5)
    assert not any("bias" in name for name, _ in RotaryAttention(16, 4).named_parameters())


@pytest.mark.parametrize("layout", ["interleaved", "half"])
def test_moving_the_whole_text_changes_nothing(layout):
    layer = RotaryAttention(16, 2, rope=RotaryEmbedding(8, layout=layout), causal=True)
    x = torch.randn(1, 5, 16)
    with torch.no_grad():
        moved = layer.new_cache(1, 20)
        moved.seen = 15  # as if 15 positions had been read, which a mask then hides
        hidden = torch.zeros(1, 20, dtype=torch.bool)
        hidden[:, :15] = True
        assert_close(layer(x, cache=moved, key_padding_mask=hidden), layer(x), atol=1e-5, rtol=1e-4)


def test_order_matters_and_without_rotation_it_would_not():
    layer, x = RotaryAttention(16, 2), torch.randn(1, 6, 16)
    order = torch.arange(6).flip(0)
    assert not torch.allclose(layer(x[:, order]), layer(x)[:, order], atol=1e-3)
    layer.attention.positions = None
    assert_close(layer(x[:, order]), layer(x)[:, order])


@pytest.mark.parametrize(
    "rope", [None, RotaryEmbedding(4, layout="half", base=500.0), RotaryEmbedding(8, max_positions=3)]
)
@pytest.mark.parametrize("sliding", [False, True])
def test_with_a_cache_positions_go_on(rope, sliding):
    layer, x = RotaryAttention(16, 2, rope=rope, num_kv_heads=1, causal=True), torch.randn(2, 7, 16)
    with torch.no_grad():
        cache = layer.new_cache(2, 7, sliding=sliding)
        parts = torch.cat([layer(part, cache=cache) for part in x.split([3, 1, 1, 2], dim=1)], dim=1)
        assert_close(parts, layer(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RotaryAttention(12, 4), "even head width"),
        (lambda: RotaryAttention(16, 4, rope=RotaryEmbedding(8)), "only 4"),
        (lambda: RotaryAttention(18, 4, rope=RotaryEmbedding(2)), "not a multiple"),
        (lambda: RotaryAttention(16, 0), "at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
