"""Sparse attention: a rule as a mask and as computation that skips give the same."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import (
    SparseAttention,
    choose_blocks,
    chosen_blocks_attention,
    dependencies,
    either,
    fixed_rule,
    global_rule,
    peak_bytes,
    random_rule,
    rule_mask,
    sparse_attention,
    sparse_attention_blocked,
    sparse_transformer_attention,
    strided_rule,
    window_rule,
)

T = 23
RULES = [
    window_rule(3),
    window_rule(5, causal=True),
    strided_rule(4),
    fixed_rule(4, 2),
    either(window_rule(1), global_rule([0, 9])),
    either(window_rule(1), random_rule(T, 2, seed=0)),
]


def heads(T=T, B=2, H=2, D=4):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(B, H, T, D, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(3)]


@pytest.mark.oracle("sparse-attention", by="brute force")
@pytest.mark.parametrize("rule", RULES)
def test_is_the_mean_over_the_keys_that_the_rule_leaves(rule):
    q, k, v = heads()
    y = sparse_attention_blocked(q, k, v, rule=rule, block_size=4)
    for i in range(T):
        seen = [j for j in range(T) if bool(rule(torch.tensor([i]), torch.tensor([j])))]
        weights = torch.exp(torch.einsum("bhd,bhsd->bhs", q[:, :, i], k[:, :, seen]) / 2)
        expected = torch.einsum("bhs,bhsd->bhd", weights / weights.sum(-1, keepdim=True), v[:, :, seen])
        assert_close(y[:, :, i], expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("block_size", [1, 5, 64])
def test_blocks_agree_with_the_mask_on_the_value_and_on_every_gradient(rule, block_size):
    given = heads()
    plain, fast = (f(*given, rule=rule, block_size=block_size) for f in (sparse_attention, sparse_attention_blocked))
    c = torch.randn_like(plain)
    assert_close(plain, fast)
    assert_close(torch.autograd.grad((plain * c).sum(), given), torch.autograd.grad((fast * c).sum(), given))


@pytest.mark.parametrize(("stride", "summary"), [(4, 0), (6, 0), (1, 0), (24, 0), (4, 1), (6, 2), (24, 3)])
def test_rows_and_columns_agree_with_the_rule_of_the_sparse_transformer(stride, summary):
    given = heads(24)
    rule = fixed_rule(stride, summary) if summary else strided_rule(stride)
    plain = sparse_attention(*given, rule=rule)
    fast = sparse_transformer_attention(*given, stride=stride, summary=summary)
    c = torch.randn_like(plain)
    assert_close(plain, fast)
    assert_close(torch.autograd.grad((plain * c).sum(), given), torch.autograd.grad((fast * c).sum(), given))


@pytest.mark.parametrize("summary", [0, 4])
def test_rows_and_columns_hold_less_than_the_square(summary):
    q, k, v = (torch.randn(1, 1, 1024, 8) for _ in range(3))
    rule = fixed_rule(32, summary) if summary else strided_rule(32)
    fast = peak_bytes(lambda: sparse_transformer_attention(q, k, v, stride=32, summary=summary))
    dense = peak_bytes(lambda: sparse_attention(q, k, v, rule=rule))
    assert fast < dense / 4


def test_a_stride_that_does_not_divide_the_length_is_refused():
    with pytest.raises(ValueError, match="multiple"):
        sparse_transformer_attention(*heads(10), stride=4)
    for summary in (-1, 6):
        with pytest.raises(ValueError, match="from 0 to 5 summary cells"):
            sparse_transformer_attention(*heads(10), stride=5, summary=summary)
    with pytest.raises(ValueError, match="multiple"):
        sparse_transformer_attention(*heads(10), stride=0)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("keep", [1, 2, 9])
def test_chosen_blocks_agree_with_their_mask(causal, keep):
    q, k, v = given = heads(24)
    chosen = choose_blocks(q, k, block_size=4, keep=keep, causal=causal)
    for b in range(2):
        for h in range(2):
            agree = q[b, h].view(6, 4, 4).mean(1) @ k[b, h].view(6, 4, 4).mean(1).T
            for n in range(6):
                allowed = range(n) if causal else range(6)
                best = sorted(allowed, key=lambda m, n=n, a=agree: -a[n, m])[: keep - causal]
                expected = {*best, n} if causal else set(best)
                assert set(chosen[b, h, n].nonzero().flatten().tolist()) == expected
    mask = chosen.repeat_interleave(4, 2).repeat_interleave(4, 3)
    mask = mask.tril() if causal else mask
    expected = ((q @ k.mT / 2).masked_fill(~mask, float("-inf"))).softmax(-1) @ v
    y = chosen_blocks_attention(*given, block_size=4, keep=keep, causal=causal)
    c = torch.randn_like(y)
    assert_close(y, expected)
    assert_close(torch.autograd.grad((y * c).sum(), given), torch.autograd.grad((expected * c).sum(), given))


def test_all_blocks_chosen_is_full_attention():
    q, k, v = heads(24)
    assert choose_blocks(q, k, block_size=4, keep=6).all()
    assert_close(chosen_blocks_attention(q, k, v, block_size=4, keep=6), (q @ k.mT / 2).softmax(-1) @ v)


def test_blocks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="pad to a multiple"):
        choose_blocks(*heads(10)[:2], block_size=4, keep=1)
    for kwargs in ({"block_size": 0, "keep": 1}, {"block_size": 5, "keep": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            choose_blocks(*heads(10)[:2], **kwargs)


def test_keys_of_another_length_are_refused_by_every_form():
    q, k, v = heads(20)
    for call in (
        lambda: sparse_attention(q, k[:, :, :18], v[:, :, :18], rule=window_rule(1)),
        lambda: sparse_attention_blocked(q, k[:, :, :18], v[:, :, :18], rule=window_rule(1), block_size=4),
        lambda: sparse_transformer_attention(q, k[:, :, :18], v[:, :, :18], stride=4),
        lambda: chosen_blocks_attention(q, k[:, :, :16], v[:, :, :16], block_size=4, keep=1),
    ):
        with pytest.raises(ValueError, match="looks at itself"):
            call()


def test_a_mask_saves_no_memory_and_skipped_blocks_do():
    def peak(form, T):
        q, k, v = (torch.randn(1, 1, T, 8) for _ in range(3))
        return peak_bytes(lambda: form(q, k, v, rule=rule, block_size=16))

    rule = either(window_rule(8), global_rule([0]))
    dense = [peak(sparse_attention, n) for n in (512, 1024)]
    assert dense[1] > 3.5 * dense[0]
    assert peak(sparse_attention_blocked, 1024) < dense[1] / 4


def test_a_layer_depends_on_what_its_rule_leaves_and_reports_its_density():
    rule = strided_rule(4)
    layer = SparseAttention(8, 2, rule, block_size=4)
    assert torch.equal(dependencies(layer, torch.randn(1, 12, 8)), rule_mask(rule, 12))
    pairs = sum(rule_mask(rule, 12).flatten().tolist())
    assert layer.density(12) == {"pairs": round(pairs / 144, 4), "blocks": round(6 / 9, 4)}


def test_an_empty_block_is_refused():
    with pytest.raises(ValueError, match="block_size"):
        SparseAttention(8, 2, strided_rule(4), block_size=0)
