"""Bidirectional attention: every output depends on every input."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.attention.bidirectional import BidirectionalAttention
from nnvocab.attention.heads import merge_heads, split_heads


@pytest.mark.oracle("bidirectional-attention", by="peer: torch.nn.functional.scaled_dot_product_attention")
def test_is_attention_without_a_mask():
    layer, x = BidirectionalAttention(16, 4), torch.randn(2, 5, 16)
    q, k, v = (split_heads(t, 4) for t in layer.attention.qkv(x).chunk(3, dim=-1))
    expected = layer.attention.out(merge_heads(F.scaled_dot_product_attention(q, k, v, is_causal=False)))
    assert_close(layer(x), expected)


def test_it_has_the_parameters_of_torchs_layer_with_and_without_a_bias():
    for options in ({}, {"bias": False}):
        ours, theirs = BidirectionalAttention(16, 4, **options), torch.nn.MultiheadAttention(16, 4, **options)
        assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_every_output_depends_on_every_input():
    layer, x = BidirectionalAttention(16, 4), torch.randn(1, 6, 16, requires_grad=True)
    y = layer(x)
    for t in range(6):
        (grad,) = torch.autograd.grad(y[0, t].sum(), x, retain_graph=True)
        assert (grad[0].abs().sum(-1) > 0).all()


def test_padding_changes_nothing_for_the_tokens():
    layer, x = BidirectionalAttention(16, 4), torch.randn(1, 4, 16)
    longer = torch.cat([x, torch.randn(1, 3, 16)], dim=1)
    padded = torch.tensor([[False] * 4 + [True] * 3])
    y, weights = layer(longer, key_padding_mask=padded, need_weights=True)
    assert_close(y[:, :4], layer(x))
    assert (weights[..., 4:] == 0).all() and (weights[..., :4] > 0).all()


def test_a_new_token_changes_every_earlier_output():
    layer, x = BidirectionalAttention(16, 4), torch.randn(1, 6, 16)
    change = (layer(x)[:, :5] - layer(x[:, :5])).abs().amax(-1)
    assert (change > 1e-4).all()


def test_padding_masks_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 4\)"):
        BidirectionalAttention(16, 4)(torch.zeros(1, 4, 16), key_padding_mask=torch.zeros(1, 3, dtype=torch.bool))
