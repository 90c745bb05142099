"""Causal attention: nothing looks ahead."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.attention import ALiBi, RotaryEmbedding
from nnvocab.attention.causal import CausalAttention, causal_attention, causal_attention_fused
from nnvocab.attention.heads import merge_heads, split_heads


@pytest.mark.oracle("causal-attention", by="peer: torch.nn.functional.scaled_dot_product_attention(is_causal=True)")
def test_is_that_of_torch_where_queries_and_keys_are_the_same_positions():
    layer, x = CausalAttention(16, 4), torch.randn(2, 5, 16)
    q, k, v = (split_heads(t, 4) for t in layer.attention.qkv(x).chunk(3, dim=-1))
    expected = layer.attention.out(merge_heads(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
    assert_close(layer(x), expected)


@pytest.mark.parametrize("S", [4, 7])
def test_plain_and_fused_agree_on_the_value_and_on_every_gradient(S):
    inputs = [torch.randn(2, n, 3, dtype=torch.float64, requires_grad=True) for n in (4, S, S)]
    plain, fused = causal_attention(*inputs), causal_attention_fused(*inputs)
    assert_close(plain, fused)
    assert_close(*(torch.autograd.grad(y.square().sum(), inputs) for y in (plain, fused)))


def test_it_has_the_parameters_of_torchs_layer_with_and_without_a_bias():
    for options in ({}, {"bias": False}):
        ours, theirs = CausalAttention(16, 4, **options), torch.nn.MultiheadAttention(16, 4, **options)
        assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_queries_behind_a_prefix_see_the_prefix():
    q, k, v = torch.randn(3, 6, 4).unbind()
    assert_close(causal_attention(q[4:], k, v), causal_attention(q, k, v)[4:])
    wrong = F.scaled_dot_product_attention(q[4:], k, v, is_causal=True)  # torch's mask starts at the first key
    assert not torch.allclose(wrong, causal_attention(q, k, v)[4:], atol=1e-2)


@pytest.mark.parametrize(
    "layer",
    [
        CausalAttention(16, 4),
        CausalAttention(16, 4, num_kv_heads=2, positions=RotaryEmbedding(4)),
        CausalAttention(16, 4, positions=ALiBi(4)),
    ],
)
def test_output_i_ignores_positions_after_i(layer):
    x = torch.randn(1, 6, 16, requires_grad=True)
    y = layer(x)
    for t in range(6):
        (grad,) = torch.autograd.grad(y[0, t].sum(), x, retain_graph=True)
        size = grad[0].abs().sum(-1)
        assert (size[: t + 1] > 0).all() and (size[t + 1 :] == 0).all()


@pytest.mark.parametrize("positions", [None, RotaryEmbedding(4), ALiBi(4)])
@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_with_a_cache_it_gives_what_it_gives_at_once(positions, chunk):
    layer, x = CausalAttention(16, 4, positions=positions), torch.randn(2, 7, 16)
    with torch.no_grad():
        cache = layer.new_cache(2, 7)
        parts = [layer(part, cache=cache, need_weights=True) for part in x.split(chunk, dim=1)]
        whole, weights = layer(x, need_weights=True)
    assert_close(torch.cat([y for y, _ in parts], dim=1), whole)
    assert_close(parts[-1][1], weights[:, :, -parts[-1][1].shape[2] :])


def test_a_cache_forgets_nothing_unless_it_was_asked_to_slide():
    layer, x = CausalAttention(16, 4), torch.randn(1, 4, 16)
    with torch.no_grad():
        cache = layer.new_cache(1, 3)
        layer(x[:, :3], cache=cache)
        with pytest.raises(ValueError, match="make it sliding"):
            layer(x[:, 3:], cache=cache)


def test_dropout_and_padding_reach_the_heads():
    layer, x = CausalAttention(16, 4, dropout=0.5), torch.randn(1, 5, 16)
    assert not torch.allclose(layer(x), layer(x))
    layer.eval()
    padded = torch.tensor([[True, False, False, False, False]])
    _, weights = layer(x, key_padding_mask=padded, need_weights=True)
    assert (weights[..., 0] == 0).all() and weights.isfinite().all()  # the first row may see nothing at all
    _, weights = layer(x, mask=torch.ones(5, 5, dtype=torch.bool).triu(-1), need_weights=True)
    assert (weights[0, 0].count_nonzero(-1) <= 2).all()


def test_the_width_of_the_queries_is_not_their_number():
    q = torch.randn(5, 8)
    assert causal_attention(q, q, q).shape == (5, 8)
    assert causal_attention(q[None], q[None], q[None]).shape == (1, 5, 8)
    with pytest.raises(RuntimeError):  # a mask made from size(1) of a two-dimensional q
        q @ q.T + torch.zeros(q.size(1), q.size(1))


def test_masks_and_weights_count_keys_from_the_oldest_in_a_sliding_cache():
    layer, x, size = CausalAttention(16, 4), torch.randn(2, 9, 16), 4
    padded = torch.zeros(2, 9, dtype=torch.bool)
    padded[1, :3] = True  # the second text is shorter
    back = torch.arange(9)[:, None] - torch.arange(9)
    added = torch.randn(9, 9)
    with torch.no_grad():
        window = added.masked_fill((back < 0) | (back >= size), -torch.inf)
        whole, weights = layer(x, mask=window, key_padding_mask=padded, need_weights=True)
        cache, at = layer.new_cache(2, size, sliding=True), 0
        for chunk in (1, 1, 1, 1, 1, 2, 1, 1):
            first = max(0, at - size + 1)  # the oldest position that the chunk sees
            y, w = layer(
                x[:, at : at + chunk],
                mask=added[at : at + chunk, first : at + chunk],
                key_padding_mask=padded[:, first : at + chunk],
                cache=cache,
                need_weights=True,
            )
            at += chunk
            assert_close(y, whole[:, at - chunk : at])
            assert_close(w, weights[:, :, at - chunk : at, first:at])


def test_shapes_that_do_not_fit_are_refused():
    for form in (causal_attention, causal_attention_fused):
        with pytest.raises(ValueError, match="equal widths"):
            form(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2, 4))
        with pytest.raises(ValueError, match="1 <= T <= S"):
            form(torch.zeros(3, 4), torch.zeros(2, 4), torch.zeros(2, 4))
