"""Self-attention: one head over one sequence."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.attention.self_attention import SelfAttention, self_attention, self_attention_fused


@pytest.mark.oracle("self-attention", by="peer: torch.nn.MultiheadAttention")
def test_is_one_head_of_torch_without_the_output_projection():
    ours, theirs = SelfAttention(8), nn.MultiheadAttention(8, 1, bias=False, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
        theirs.out_proj.weight.copy_(torch.eye(8))
    x = torch.randn(2, 5, 8)
    y, weights = ours(x, need_weights=True)
    expected, expected_weights = theirs(x, x, x)
    assert_close(y, expected)
    assert_close(weights, expected_weights)
    assert_close(ours(x), y)


@pytest.mark.parametrize("causal", [False, True])
def test_plain_and_fused_agree_on_the_value_and_on_every_gradient(causal):
    x, w_q, w_k, w_v = (
        torch.randn(s, dtype=torch.float64, requires_grad=True) for s in [(2, 5, 8), (8, 4), (8, 4), (8, 3)]
    )
    plain, fused = (f(x, w_q, w_k, w_v, causal=causal) for f in (self_attention, self_attention_fused))
    assert_close(plain, fused)
    assert_close(*(torch.autograd.grad(y.square().sum(), [x, w_q, w_k, w_v]) for y in (plain, fused)))


def test_the_layer_is_the_function():
    layer, x = SelfAttention(8, d_k=4, d_v=6, causal=True), torch.randn(2, 5, 8)
    expected = self_attention(x, layer.q.weight.T, layer.k.weight.T, layer.v.weight.T, causal=True)
    assert_close(layer(x), expected)
    assert layer(x).shape == (2, 5, 6)


def test_equal_queries_and_keys_make_symmetric_scores_that_favour_the_token_itself():
    x = torch.randn(200, 16)
    x = x / x.norm(dim=-1, keepdim=True)
    scores = x @ x.T  # q = k = x
    assert_close(scores, scores.T)
    assert (scores.argmax(-1) == torch.arange(200)).all()
    layer = SelfAttention(16)
    q, k = layer.q(x), layer.k(x)
    assert not torch.allclose(q @ k.T, (q @ k.T).T, atol=0.1)


def test_without_positions_permuted_tokens_give_permuted_outputs():
    layer, x, order = SelfAttention(8), torch.randn(1, 6, 8), torch.randperm(6)
    assert_close(layer(x[:, order]), layer(x)[:, order])


@pytest.mark.parametrize("need_weights", [False, True])
def test_masks_and_padding_hide_keys(need_weights):
    layer, x = SelfAttention(8, causal=True), torch.randn(2, 5, 8)
    padded = torch.tensor([[False] * 5, [False, False, False, True, True]])
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[4, 0] = False
    y = layer(x, mask=mask, key_padding_mask=padded, need_weights=need_weights)
    y = y[0] if need_weights else y
    allowed = mask.tril() & ~padded[:, None]
    expected = F.scaled_dot_product_attention(layer.q(x), layer.k(x), layer.v(x), attn_mask=allowed)
    assert_close(y, expected)


def test_dropout_acts_only_while_training():
    layer, x = SelfAttention(8, dropout=0.5), torch.randn(1, 5, 8)
    assert not torch.allclose(layer(x), layer(x))
    assert not torch.allclose(layer(x, need_weights=True)[0], layer(x, need_weights=True)[0])
    layer.eval()
    assert_close(layer(x), layer(x))


@pytest.mark.parametrize(
    ("shape", "message"), [((5, 8), "three axes"), ((1, 5, 7), "width 7"), ((1, 0, 8), "no position")]
)
def test_inputs_of_the_wrong_shape_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        SelfAttention(8)(torch.zeros(shape))


def test_sizes_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        SelfAttention(8, d_k=0)
    with pytest.raises(ValueError, match="dropout"):
        SelfAttention(8, dropout=1.0)
    assert SelfAttention(1, d_k=1)(torch.zeros(1, 2, 1)).shape == (1, 2, 1)


@pytest.mark.parametrize("form", [self_attention, self_attention_fused])
def test_weights_that_do_not_take_the_sequence_are_refused(form):
    x, w = torch.randn(2, 5, 8), torch.randn(8, 4)
    assert_close(form(x, w, w, w), form(x, w, w, w, causal=False))
    with pytest.raises(ValueError, match=r"w_v has \(4, 8\)"):
        form(x, w, w, w.T)
    with pytest.raises(ValueError, match="equal widths"):
        form(x, w, w[:, :3], w)
