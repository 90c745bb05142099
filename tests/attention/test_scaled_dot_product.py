"""Scaled dot-product attention: the equation, its fused form, its masks, and why it is scaled."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.attention.scaled_dot_product import (
    attention_weights,
    scaled_dot_product_attention,
    scaled_dot_product_attention_fused,
)

BOTH = pytest.mark.parametrize("form", [scaled_dot_product_attention, scaled_dot_product_attention_fused])


def qkv(T=4, S=6, D=3, E=5, batch=(2, 2)):
    generator = torch.Generator().manual_seed(0)
    shapes = [(*batch, T, D), (*batch, S, D), (*batch, S, E)]
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


def some_mask(kind, T=4, S=6):
    generator = torch.Generator().manual_seed(1)
    if kind == "none":
        return None
    if kind == "additive":
        return torch.randn(2, 1, T, S, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, 2, T, S, generator=generator) > 0.4
    mask[..., 0] = True
    if kind == "blind row":
        mask[0, 1, 2] = False
    return mask


@pytest.mark.oracle("scaled-dot-product-attention", by="brute force")
@BOTH
@pytest.mark.parametrize("causal", [False, True])
def test_is_the_sum_written_out(form, causal):
    q, k, v = qkv()
    q, k, v = (t.detach() for t in (q, k, v))
    expected = torch.zeros(2, 2, 4, 5, dtype=torch.float64)
    for b, h, t in [(b, h, t) for b in range(2) for h in range(2) for t in range(4)]:
        seen = range(t + 3) if causal else range(6)  # the queries are the last 4 of 6 positions
        weights = [math.exp(sum(q[b, h, t, d] * k[b, h, s, d] for d in range(3)) / math.sqrt(3)) for s in seen]
        for s, w in zip(seen, weights, strict=True):
            expected[b, h, t] += w / sum(weights) * v[b, h, s]
    assert_close(form(q, k, v, causal=causal), expected)


@pytest.mark.parametrize("kind", ["none", "additive", "boolean", "blind row"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("T", [4, 6])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(kind, causal, T):
    inputs, mask = qkv(T), some_mask(kind, T)
    weights = torch.randn(2, 2, T, 5, dtype=torch.float64)
    plain, fused = (
        f(*inputs, mask=mask, causal=causal) for f in (scaled_dot_product_attention, scaled_dot_product_attention_fused)
    )
    assert_close(plain, fused)
    grads = [torch.autograd.grad((y * weights).sum(), inputs) for y in (plain, fused)]
    assert all(g.isfinite().all() for g in grads[0])
    assert_close(*grads)


def test_agrees_with_torch_where_both_are_defined():
    q, k, v = qkv(T=6)
    assert_close(scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert_close(scaled_dot_product_attention(q, k, v, causal=True), expected)


def test_rows_sum_to_one_and_are_no_less_than_zero():
    q, k, _ = qkv()
    weights = attention_weights(q, k, mask=some_mask("boolean"))
    assert_close(weights.sum(-1), torch.ones(2, 2, 4, dtype=torch.float64))
    assert (weights >= 0).all() and (weights[~some_mask("boolean")] == 0).all()


@BOTH
def test_a_query_that_may_see_nothing_gets_zero(form):
    q, k, v = qkv()
    y = form(q, k, v, mask=some_mask("blind row"))
    assert (y[0, 1, 2] == 0).all() and y.isfinite().all()
    assert (attention_weights(q, k, mask=some_mask("blind row"))[0, 1, 2] == 0).all()


def test_the_variance_of_scaled_scores_does_not_grow_with_the_width():
    for width in (4, 64, 1024):
        q, k = torch.randn(2, 400, width)
        scores = (q * k).sum(-1)
        assert 0.7 < (scores / width**0.5).var() < 1.4
        assert 0.7 < scores.var() / width < 1.4


def test_scale_replaces_the_root_of_the_width():
    q, k, v = qkv()
    assert_close(scaled_dot_product_attention(q * 3**0.5, k, v, scale=1 / 3), scaled_dot_product_attention(q, k, v))


@BOTH
def test_dropout_keeps_the_mean(form):
    q, k, v = (t.detach() for t in qkv(batch=(1,)))
    many = torch.stack([form(q, k, v, dropout=0.3) for _ in range(2000)])
    assert many.std(0).max() > 0.05
    assert_close(many.mean(0), form(q, k, v), atol=0.08, rtol=0.0)


@BOTH
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3,), (2, 3), (2, 3)), "at least"),
        (((2, 3), (0, 3), (0, 3)), "no position"),
        (((2, 3), (2, 4), (2, 4)), "equal widths"),
        (((2, 3), (4, 3), (5, 3)), "every key needs its value"),
        (((1, 2, 3), (2, 3), (2, 3)), "equally many"),
        (((2, 4, 3), (3, 4, 3), (3, 4, 3)), "batch and heads"),
        (((2, 4, 5, 3), (2, 3, 5, 3), (2, 3, 5, 3)), "batch and heads"),
        (((2, 4, 5, 3), (2, 2, 5, 3), (2, 4, 5, 3)), "batch and heads"),
        (((3, 4, 5, 3), (2, 4, 5, 3), (2, 4, 5, 3)), "batch and heads"),
        (((2, 4, 5, 3), (2, 0, 5, 3), (2, 0, 5, 3)), "batch and heads"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(form, shapes, message):
    with pytest.raises(ValueError, match=message):
        form(*(torch.zeros(s) for s in shapes))


@BOTH
def test_masks_that_do_not_fit_are_refused(form):
    q = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match="does not broadcast"):
        form(q, q, q, mask=torch.ones(2, 4, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match="True: may look"):
        form(q, q, q, mask=torch.ones(3, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="fewer|every query needs"):
        form(q, q[:, :2], q[:, :2], causal=True)


def test_heads_of_64_are_scaled_by_8_whatever_the_model_width():
    q, k, v = torch.randn(3, 1, 8, 5, 64).unbind()  # width 512 in 8 heads
    expected = F.scaled_dot_product_attention(q, k, v)
    assert_close((q @ k.mT / 8).softmax(-1) @ v, expected)
    for wrong in (512**0.5, 1.0):
        assert not torch.allclose((q @ k.mT / wrong).softmax(-1) @ v, expected, atol=0.05)


def test_transposing_all_axes_of_a_batch_is_not_the_transpose_of_each_matrix():
    q = torch.randn(2, 5, 8)
    with pytest.raises(RuntimeError):
        q @ q.permute(2, 1, 0)  # what .T gives beyond two axes
    assert (q @ q.transpose(-2, -1)).shape == (2, 5, 5)


@BOTH
@pytest.mark.parametrize("kind", ["none", "boolean"])
def test_axes_for_batch_and_heads_may_be_missing(form, kind):
    (q, k, v), mask = qkv(), some_mask(kind)
    whole = form(q, k, v, mask=mask, causal=True)
    of_batch, of_head = (None, None) if mask is None else (mask[0], mask[0, 1])
    assert_close(form(q[0], k[0], v[0], mask=of_batch, causal=True), whole[0])
    assert_close(form(q[0, 1], k[0, 1], v[0, 1], mask=of_head, causal=True), whole[0, 1])
    assert_close(form(q, k[:1], v[:1, :1])[1, 1], form(q[1, 1], k[0, 1], v[0, 0]))  # one for all


def test_without_a_batch_axis_the_first_axis_is_no_head_and_must_be_equal():
    with pytest.raises(ValueError, match="must be equal or 1"):
        scaled_dot_product_attention_fused(torch.randn(4, 3, 2), torch.randn(2, 3, 2), torch.randn(2, 3, 2))


def test_shared_heads_are_read_by_the_fused_form_and_refused_by_the_plain_one():
    q, k, v = qkv(T=6)
    q = torch.cat([q, q.flip(2)], dim=1)  # four query heads, two key/value heads
    for causal in (False, True):
        repeated = scaled_dot_product_attention(q, *(t.repeat_interleave(2, dim=1) for t in (k, v)), causal=causal)
        assert_close(scaled_dot_product_attention_fused(q, k, v, causal=causal), repeated)
    with pytest.raises(ValueError, match="repeat the keys and values"):
        scaled_dot_product_attention(q, k, v)


def test_weights_alone_are_checked_too():
    with pytest.raises(ValueError, match="equal widths"):
        attention_weights(torch.zeros(2, 3), torch.zeros(4, 5))
    with pytest.raises(ValueError, match="does not broadcast"):
        attention_weights(torch.zeros(2, 3), torch.zeros(4, 3), mask=torch.ones(3, 4, dtype=torch.bool))
