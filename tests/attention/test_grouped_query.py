"""What only grouped-query attention must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.attention.grouped_query import (
    GroupedQueryAttention,
    grouped_query_attention,
    grouped_query_attention_fused,
    pool_heads,
)
from nnvocab.attention.multi_query import multi_query_attention


def heads(num_heads, num_kv_heads, T=6, D=4):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, num_heads, T, D), (2, num_kv_heads, T, D), (2, num_kv_heads, T, D)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("grouped-query-attention", by="brute force")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_is_the_sum_over_positions_written_out(num_kv_heads, causal):
    q, k, v = heads(4, num_kv_heads)
    expected = torch.zeros_like(q)
    for b, h, t in [(b, h, t) for b in range(2) for h in range(4) for t in range(6)]:
        g = h * num_kv_heads // 4
        seen = t + 1 if causal else 6
        weights = torch.exp(k[b, g, :seen] @ q[b, h, t] / 2)  # sqrt(D) = 2
        expected[b, h, t] = (weights / weights.sum()) @ v[b, g, :seen]
    assert_close(grouped_query_attention(q, k, v, causal=causal), expected)


@pytest.mark.parametrize("causal", [False, True])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(causal):
    inputs = heads(4, 2)
    weights = torch.randn(2, 4, 6, 4, dtype=torch.float64)
    plain, fused = (f(*inputs, causal=causal) for f in (grouped_query_attention, grouped_query_attention_fused))
    assert_close(plain, fused)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), inputs), torch.autograd.grad((fused * weights).sum(), inputs)
    )


def test_cache_is_smaller_by_the_heads_that_share():
    many, few = (GroupedQueryAttention(64, 8, g) for g in (8, 2))
    assert many.k.weight.numel() == 4 * few.k.weight.numel()


def test_a_causal_layer_never_looks_ahead():
    layer = GroupedQueryAttention(32, 4, 2, causal=True)
    x = torch.randn(1, 6, 32)
    changed = x.clone()
    changed[:, 4:] += 1.0
    assert_close(layer(x)[:, :4], layer(changed)[:, :4])
    assert not torch.allclose(layer(x)[:, 4:], layer(changed)[:, 4:])


@pytest.mark.parametrize(
    ("sizes", "message"), [((30, 4, 2), "not a multiple of num_heads"), ((32, 4, 3), "not a multiple of num_kv_heads")]
)
def test_heads_that_do_not_divide_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        GroupedQueryAttention(*sizes)


@pytest.mark.parametrize("bias", [False, True])
def test_as_many_groups_as_heads_is_multi_head_attention(bias):
    mha = nn.MultiheadAttention(32, 4, bias=bias, batch_first=True)
    if bias:
        nn.init.normal_(mha.in_proj_bias)
    x = torch.randn(2, 5, 32)
    y, weights = GroupedQueryAttention.from_multi_head(mha, num_kv_heads=4)(x, need_weights=True)
    expected, expected_weights = mha(x, x, x, average_attn_weights=False)
    assert_close(y, expected)
    assert_close(weights, expected_weights)


def test_one_group_is_multi_query_attention():
    q, k, v = heads(4, 1)
    assert_close(grouped_query_attention(q, k, v), multi_query_attention(q, k[:, 0], v[:, 0]))


def test_pooling_takes_the_mean_of_the_heads_that_will_share():
    weight = torch.randn(8, 5)  # four heads of width 2
    pooled = pool_heads(weight, num_heads=4, num_kv_heads=2)
    for g in range(2):
        for d in range(2):
            assert_close(pooled[2 * g + d], (weight[4 * g + d] + weight[4 * g + 2 + d]) / 2)
    assert_close(pool_heads(weight, 4, 4), weight)


def test_conversion_is_exact_where_the_heads_of_a_group_were_equal():
    mha = nn.MultiheadAttention(32, 4, bias=False, batch_first=True)
    with torch.no_grad():
        _, k, v = mha.in_proj_weight.chunk(3)
        for w in (k, v):
            w[8:16], w[24:] = w[:8].clone(), w[16:24].clone()  # heads 0 and 1 are equal, and 2 and 3
    x = torch.randn(2, 5, 32)
    made = GroupedQueryAttention.from_multi_head(mha, num_kv_heads=2)
    assert_close(made(x), mha(x, x, x, need_weights=False)[0])


def test_only_plain_self_attention_is_converted():
    for other in (nn.MultiheadAttention(32, 4, kdim=8), nn.MultiheadAttention(32, 4, add_bias_kv=True)):
        with pytest.raises(ValueError, match="plain self-attention"):
            GroupedQueryAttention.from_multi_head(other, 2)


def test_report_of_the_cache_is_what_a_cache_takes():
    layer = GroupedQueryAttention(64, 8, 2)
    assert layer.cache_bytes(100, batch_size=3, dtype=torch.float32) == layer.new_cache(3, 100).nbytes
    assert layer.cache_bytes() == 2 * 2 * 8 * 2  # keys and values, two heads of width 8, two bytes each


@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("chunk", [1, 3])
def test_cached_generation_equals_full_recomputation(num_kv_heads, chunk):
    layer, x = GroupedQueryAttention(32, 4, num_kv_heads, causal=True), torch.randn(2, 7, 32)
    with torch.no_grad():
        cache = layer.new_cache(2, 7)
        parts = torch.cat([layer(part, cache=cache) for part in x.split(chunk, dim=1)], dim=1)
        assert_close(parts, layer(x))
        assert_close(layer(x), layer(x, need_weights=True)[0])


def test_the_published_sizes_tell_which_llama_shares():
    def size(width, hidden, layers, num_heads, num_kv_heads, vocabulary=32000):
        with torch.device("meta"):
            attention = GroupedQueryAttention(width, num_heads, num_kv_heads)
        block = sum(p.numel() for p in attention.parameters()) + 3 * width * hidden + 2 * width
        return layers * block + 2 * vocabulary * width + width

    assert size(4096, 11008, 32, 32, 32) == 6_738_415_616  # Llama 2 7B: multi-head
    assert size(8192, 28672, 80, 64, 8) == 68_976_648_192  # Llama 2 70B: 64 query heads, 8 key/value heads
    assert size(4096, 14336, 32, 32, 8) == 7_241_732_096  # Mistral 7B: 32 and 8


def test_a_cache_in_a_layer_that_looks_ahead_is_refused():
    layer = GroupedQueryAttention(32, 4, 2)
    with pytest.raises(ValueError, match="causal=True"):
        layer(torch.zeros(1, 1, 32), cache=layer.new_cache(1, 4))


@pytest.mark.parametrize("form", [grouped_query_attention, grouped_query_attention_fused])
def test_queries_behind_a_prefix_see_the_prefix(form):
    q, k, v = heads(4, 2)
    assert_close(form(q[:, :, 4:], k, v, causal=True), form(q, k, v, causal=True)[:, :, 4:])


@pytest.mark.parametrize("form", [grouped_query_attention, grouped_query_attention_fused])
def test_heads_that_cannot_be_shared_equally_are_refused(form):
    q, k, v = heads(4, 3)
    with pytest.raises(ValueError, match="batch and heads"):
        form(q, k, v)
    with pytest.raises(ValueError, match="equal widths"):
        form(q, k[..., :2], v)
