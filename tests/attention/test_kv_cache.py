"""KV cache: a step costs less and says the same."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.attention import GroupedQueryAttention, MultiHeadAttention
from nnvocab.attention.kv_cache import KVCache, cached_causal_attention, kv_cache_bytes


def qkv(T=9, heads=4, kv_heads=2, D=3):
    return [torch.randn(2, h, T, D, dtype=torch.float64) for h in (heads, kv_heads, kv_heads)]


@pytest.mark.oracle("kv-cache", by="peer: torch.nn.functional.scaled_dot_product_attention(is_causal=True)")
@pytest.mark.parametrize("chunk", [1, 2, 4, 9])
def test_chunk_by_chunk_equals_causal_attention_at_once(chunk):
    q, k, v = qkv()
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    assert_close(cached_causal_attention(q, k, v, chunk=chunk), expected)


@pytest.mark.parametrize("chunks", [[1] * 9, [3, 3, 3], [4, 1, 1, 3], [9], [1, 7, 1]])
@pytest.mark.parametrize("max_len", [1, 3, 4, 20])
def test_sliding_equals_attention_with_a_window(chunks, max_len):
    q, k, v = qkv()
    cache = KVCache(2, 2, max_len, 3, sliding=True, dtype=torch.float64)
    parts = [cache.attend(*step) for step in zip(*(t.split(chunks, dim=2) for t in (q, k, v)), strict=True)]
    back = torch.arange(9)[:, None] - torch.arange(9)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=(back >= 0) & (back < max_len), enable_gqa=True)
    assert_close(torch.cat(parts, dim=2), expected)


@pytest.mark.parametrize("chunks", [[1] * 9, [2, 3, 4], [5, 1, 1, 2], [9]])
def test_a_sliding_cache_hands_out_the_oldest_first_and_says_so_beforehand(chunks):
    k, v = torch.randn(2, 1, 2, 9, 3).unbind()
    cache, at = KVCache(1, 2, 4, 3, sliding=True), 0
    for new_k, new_v in zip(k.split(chunks, dim=2), v.split(chunks, dim=2), strict=True):
        told = cache.positions(new_k.shape[2])
        keys, values, positions = cache.append(new_k, new_v)
        first, at = max(0, at - 3), at + new_k.shape[2]  # the first of the chunk sees itself and three before it
        first = 0 if at <= 4 else first
        assert positions.tolist() == told.tolist() == list(range(first, at))
        assert_close(keys, k[:, :, first:at])
        assert_close(values, v[:, :, first:at])


@pytest.mark.parametrize("bad", [{"mask": torch.ones(2, 9)}, {"key_padding_mask": torch.ones(1, 9, dtype=torch.bool)}])
def test_what_a_layer_refuses_is_not_stored(bad):
    layer = MultiHeadAttention(8, 2, causal=True)
    cache = layer.new_cache(1, 6)
    with pytest.raises(ValueError, match="shape"):
        layer(torch.zeros(1, 2, 8), cache=cache, **bad)
    assert cache.seen == 0


def test_a_chunk_without_an_offset_mask_sees_the_future():
    q, k, v = torch.randn(3, 1, 1, 3, 8).unbind()
    exact = cached_causal_attention(q, k, v, chunk=3)
    assert_close(exact, F.scaled_dot_product_attention(q, k, v, is_causal=True))
    assert not torch.allclose(F.scaled_dot_product_attention(q, k, v), exact, atol=1e-2)


def test_what_is_stored_comes_back_in_place():
    k, v = torch.randn(2, 1, 2, 5, 3).unbind()
    cache = KVCache(1, 2, 8, 3)
    cache.append(k[:, :, :2], v[:, :, :2])
    keys, values, positions = cache.append(k[:, :, 2:], v[:, :, 2:])
    assert_close(keys, k)
    assert_close(values, v)
    assert positions.tolist() == [0, 1, 2, 3, 4]
    assert keys.data_ptr() == cache.keys.data_ptr()  # a view of what was set aside, not a copy


def test_reset_forgets_and_keeps_the_memory():
    cache, k = KVCache(1, 1, 4, 2), torch.randn(1, 1, 4, 2)
    where = cache.keys.data_ptr()
    cache.append(k, k)
    cache.reset()
    keys, _, _ = cache.append(k[:, :, 1:2], k[:, :, 1:2])
    assert cache.seen == 1 and cache.keys.data_ptr() == where
    assert_close(keys, k[:, :, 1:2])


def test_reorder_lets_a_row_continue_the_past_of_another():
    q, k, v = qkv()
    cache = KVCache(2, 2, 9, 3, dtype=torch.float64)
    cache.attend(q[:, :, :8], k[:, :, :8], v[:, :, :8])
    swap = torch.tensor([1, 1])
    cache.reorder(swap)
    last = [t[swap][:, :, 8:] for t in (q, k, v)]
    expected = F.scaled_dot_product_attention(last[0], k[swap], v[swap], enable_gqa=True)
    assert_close(cache.attend(*last), expected)


@pytest.mark.parametrize(("kv_heads", "head_dim", "size"), [(32, 64, 8192), (8, 64, 2048), (1, 64, 256)])
def test_bytes_are_those_of_the_stored_tensors(kv_heads, head_dim, size):
    cache = KVCache(1, kv_heads, 1, head_dim, dtype=torch.float16)
    assert kv_cache_bytes(kv_heads, head_dim) == cache.nbytes == size
    assert kv_cache_bytes(kv_heads, head_dim, tokens=10, layers=3, batch_size=2, dtype=torch.float32) == 120 * size


def test_a_cache_fits_the_layer_that_makes_it():
    for layer in (GroupedQueryAttention(32, 4, 2).double(), MultiHeadAttention(32, 4, num_kv_heads=2).double()):
        cache = layer.new_cache(3, 7, sliding=True)
        assert cache.keys.shape == (3, 2, 7, 8) and cache.keys.dtype == torch.float64 and cache.sliding


def test_nothing_of_it_is_saved_with_the_model():
    assert not KVCache(1, 1, 2, 2).state_dict()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c, k: KVCache(1, 0, 4, 2), ValueError, "num_kv_heads is 0"),
        (lambda c, k: c.append(k[0], k[0]), ValueError, "takes"),
        (lambda c, k: c.append(k[:, :, :0], k[:, :, :0]), ValueError, "T >= 1"),
        (lambda c, k: c.append(k, k[:, :, :1]), ValueError, "must be equal"),
        (lambda c, k: c.append(k.double(), k.double()), TypeError, "make it with their dtype"),
        (lambda c, k: [c.append(k, k) for _ in range(3)], ValueError, "max_len is 4"),
        (lambda c, k: c.append(k.requires_grad_(), k), RuntimeError, "no_grad"),
        (lambda c, k: c.reorder(torch.tensor([0, 1])), ValueError, "one row for each"),
        (lambda c, k: c.reorder(torch.tensor([0.0])), ValueError, "whole numbers"),
        (lambda c, k: c.attend(k[:, :, :1], k, k), ValueError, "the new positions ask"),
        (lambda c, k: cached_causal_attention(k, k, k, chunk=0), ValueError, "chunk is 0"),
        (lambda c, k: cached_causal_attention(k, k[:, :, :1], k), ValueError, "for k and v"),
        (lambda c, k: kv_cache_bytes(0, 64), ValueError, "num_kv_heads 0"),
        (lambda c, k: kv_cache_bytes(8, 64, tokens=-1), ValueError, "tokens -1"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(KVCache(1, 1, 4, 2), torch.randn(1, 1, 2, 2))
