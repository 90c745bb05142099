"""What only grouped-query attention must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention.grouped_query import (
    GroupedQueryAttention,
    grouped_query_attention,
    grouped_query_attention_fused,
)


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
