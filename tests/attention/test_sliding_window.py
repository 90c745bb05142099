"""Sliding window attention: what stands outside the window does not count, and is not computed."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import (
    KVCache,
    SlidingWindowAttention,
    dependencies,
    peak_bytes,
    rule_mask,
    sliding_window_attention,
    sliding_window_attention_blocked,
    window_rule,
)

FORMS = (sliding_window_attention, sliding_window_attention_blocked)


def heads(T, B=2, H=2, D=4):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(B, H, T, D, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(3)]


@pytest.mark.oracle("sliding-window-attention", by="brute force")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("causal", [False, True])
def test_is_the_mean_over_the_window_written_out(form, causal):
    q, k, v = heads(9)
    y = form(q, k, v, window_size=2, causal=causal)
    for i in range(9):
        seen = [j for j in range(9) if (i - 1 <= j <= i if causal else i - 2 <= j <= i + 2)]
        weights = torch.exp(torch.einsum("bhd,bhsd->bhs", q[:, :, i], k[:, :, seen]) / 2)
        expected = torch.einsum("bhs,bhsd->bhd", weights / weights.sum(-1, keepdim=True), v[:, :, seen])
        assert_close(y[:, :, i], expected)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("T", "w"), [(1, 1), (5, 9), (16, 3), (50, 20), (70, 17), (33, 1)])
def test_blocks_agree_with_the_mask_on_the_value_and_on_every_gradient(T, w, causal):
    given = heads(T)
    padded = torch.zeros(2, T, dtype=torch.bool)
    padded[1, T - T // 3 :] = True
    for mask in (None, padded):
        plain, fast = (f(*given, window_size=w, causal=causal, key_padding_mask=mask) for f in FORMS)
        c = torch.randn_like(plain)
        assert_close(plain, fast)
        assert_close(torch.autograd.grad((plain * c).sum(), given), torch.autograd.grad((fast * c).sum(), given))


def test_a_query_whose_window_is_all_padding_gets_zero():
    q, k, v = heads(40)
    padded = torch.zeros(2, 40, dtype=torch.bool)
    padded[0, 10:] = True
    for form in FORMS:
        y = form(q, k, v, window_size=3, key_padding_mask=padded)
        assert y.isfinite().all()
        assert (y[0, :, 13:] == 0).all()
        assert (y[1] != 0).all()


@pytest.mark.parametrize("form", FORMS)
def test_a_window_as_long_as_the_text_is_full_attention(form):
    q, k, v = heads(6)
    assert_close(form(q, k, v, window_size=5), (q @ k.mT / 2).softmax(-1) @ v)


def test_the_window_counts_as_it_says():
    both_sides, back = (rule_mask(window_rule(4, causal=c), 50).sum(-1) for c in (False, True))
    assert both_sides[25] == 2 * 4 + 1
    assert back[25] == 4


def test_causal_is_what_a_sliding_cache_gives_token_by_token():
    q, k, v = (t.detach() for t in heads(12))
    cache = KVCache(2, num_kv_heads=2, max_len=5, head_dim=4, sliding=True, dtype=torch.float64)
    steps = [cache.attend(q[:, :, t : t + 1], k[:, :, t : t + 1], v[:, :, t : t + 1]) for t in range(12)]
    assert_close(sliding_window_attention_blocked(q, k, v, window_size=5, causal=True), torch.cat(steps, dim=2))


def test_memory_grows_with_the_length_and_not_with_its_square():
    def peak(form, T):
        q, k, v = (torch.randn(1, 1, T, 8) for _ in range(3))
        return peak_bytes(lambda: form(q, k, v, window_size=16))

    dense, blocked = ([peak(f, T) for T in (512, 1024, 2048)] for f in FORMS)
    assert dense[1] > 3.5 * dense[0] and dense[2] > 3.5 * dense[1]
    assert blocked[2] < 2.1 * blocked[1] < 4.4 * blocked[0]


@pytest.mark.parametrize("causal", [False, True])
def test_a_layer_depends_on_its_window_alone(causal):
    layer = SlidingWindowAttention(8, 2, window_size=3, causal=causal)
    assert torch.equal(dependencies(layer, torch.randn(1, 20, 8)), rule_mask(window_rule(3, causal=causal), 20))


def test_padding_changes_nothing_that_is_seen():
    layer = SlidingWindowAttention(8, 2, window_size=3)
    x = torch.randn(2, 20, 8)
    padded = torch.zeros(2, 20, dtype=torch.bool)
    padded[:, 15:] = True
    assert_close(layer(x, key_padding_mask=padded)[:, :15], layer(x[:, :15]))


def test_windows_and_masks_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="window_size"):
        SlidingWindowAttention(8, 2, window_size=0)
    with pytest.raises(ValueError, match="key_padding_mask"):
        SlidingWindowAttention(8, 2, window_size=1)(torch.zeros(1, 3, 8), key_padding_mask=torch.zeros(1, 4).bool())
    x = torch.zeros(1, 2, 20, 4)
    for form in FORMS:
        with pytest.raises(ValueError, match="looks at itself"):  # the blocks would have room for 18 keys as well
            form(x, x[:, :, :18], x[:, :, :18], window_size=1)
        with pytest.raises(ValueError, match="window_size"):
            form(x, x, x, window_size=0)
    with pytest.raises(TypeError, match="bool"):
        SlidingWindowAttention(8, 2, window_size=1)(torch.zeros(1, 3, 8), key_padding_mask=torch.zeros(1, 3))
