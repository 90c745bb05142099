"""Multi-query attention: one key head, one value head."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.attention import GroupedQueryAttention, MultiHeadAttention
from nnvocab.attention.multi_query import MultiQueryAttention, multi_query_attention, multi_query_attention_fused


def inputs(T=5, D=4):
    return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in [(2, 3, T, D), (2, T, D), (2, T, D)]]


@pytest.mark.oracle("multi-query-attention", by="peer: torch.nn.functional.scaled_dot_product_attention(enable_gqa)")
@pytest.mark.parametrize("causal", [False, True])
def test_is_attention_in_which_all_heads_get_the_same_keys_and_values(causal):
    q, k, v = inputs()
    everyone = (t[:, None].expand(-1, 3, -1, -1) for t in (k, v))
    expected = F.scaled_dot_product_attention(q, *everyone, is_causal=causal)
    assert_close(multi_query_attention(q, k, v, causal=causal), expected)
    shared = F.scaled_dot_product_attention(q, k[:, None], v[:, None], is_causal=causal, enable_gqa=True)
    assert_close(multi_query_attention(q, k, v, causal=causal), shared)


@pytest.mark.parametrize("causal", [False, True])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(causal):
    given = inputs()
    plain, fused = (f(*given, causal=causal) for f in (multi_query_attention, multi_query_attention_fused))
    assert_close(plain, fused)
    assert_close(*(torch.autograd.grad(y.square().sum(), given) for y in (plain, fused)))


def test_is_grouped_query_attention_with_one_group():
    ours, grouped = MultiQueryAttention(32, 4, causal=True), GroupedQueryAttention(32, 4, 1, causal=True)
    grouped.load_state_dict(ours.state_dict())
    x = torch.randn(2, 5, 32)
    assert_close(ours(x), grouped(x))
    assert_close(ours(x, need_weights=True)[1], grouped(x, need_weights=True)[1])


def test_keys_and_values_save_twice_all_heads_but_one():
    many, few = MultiHeadAttention(512, 8).new_cache(1, 1), MultiQueryAttention(512, 8).new_cache(1, 1)
    sizes = [c.keys.numel() + c.values.numel() for c in (many, few)]
    assert sizes == [1024, 128]
    assert sizes[0] - sizes[1] == 2 * 7 * 64
    assert MultiQueryAttention(512, 8).cache_bytes(dtype=torch.float32) == few.nbytes


@pytest.mark.parametrize("chunk", [1, 3])
def test_token_by_token_equals_all_at_once(chunk):
    layer, x = MultiQueryAttention(32, 4, causal=True), torch.randn(2, 7, 32)
    with torch.no_grad():
        cache = layer.new_cache(2, 7)
        parts = torch.cat([layer(part, cache=cache) for part in x.split(chunk, dim=1)], dim=1)
        assert_close(parts, layer(x))


def test_padding_is_hidden():
    layer, x = MultiQueryAttention(32, 4), torch.randn(1, 5, 32)
    padded = torch.tensor([[False, False, False, True, True]])
    assert_close(layer(x, key_padding_mask=padded)[:, :3], layer(x[:, :3]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiQueryAttention(30, 4), "not a multiple"),
        (lambda: MultiQueryAttention(32, 4)(torch.zeros(5, 32)), "three axes"),
        (
            lambda: MultiQueryAttention(32, 4)(torch.zeros(1, 1, 32), cache=MultiQueryAttention(32, 4).new_cache(1, 4)),
            "not causal",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("form", [multi_query_attention, multi_query_attention_fused])
def test_queries_behind_a_prefix_see_the_prefix(form):
    q, k, v = inputs()
    assert_close(form(q[:, :, 3:], k, v, causal=True), form(q, k, v, causal=True)[:, :, 3:])
    with pytest.raises(ValueError, match="every key needs its value"):
        form(q, k, v[:, :2])
    with pytest.raises(ValueError, match="axes"):
        form(q[0], k, v)
