"""Attention heads: what one is worth."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.attention import CausalAttention, GroupedQueryAttention, MultiHeadAttention
from nnvocab.attention.head_importance import head_importance, without_heads


@pytest.mark.oracle("attention-heads", by="brute force")
def test_a_silenced_head_is_one_whose_columns_of_the_output_projection_are_zero():
    layer, x = MultiHeadAttention(16, 4), torch.randn(2, 5, 16)
    pruned = MultiHeadAttention(16, 4)
    pruned.load_state_dict(layer.state_dict())
    with torch.no_grad():
        pruned.out.weight[:, 4:8] = 0.0
    with without_heads(layer, [1]):
        silenced = layer(x)
    assert_close(silenced, pruned(x))
    expected = pruned(x).square().mean() - layer(x).square().mean()
    assert_close(head_importance(layer, lambda: layer(x).square().mean())[1], expected)


def test_the_layer_is_whole_again_afterwards():
    layer, x = MultiHeadAttention(16, 4), torch.randn(2, 5, 16)
    before = layer(x)
    head_importance(layer, lambda: layer(x).mean())
    with pytest.raises(RuntimeError), without_heads(layer, [0]):
        raise RuntimeError
    assert_close(layer(x), before)
    assert not layer.out._forward_pre_hooks


def test_without_all_heads_only_the_bias_is_left():
    layer = MultiHeadAttention(16, 4)
    with without_heads(layer, range(4)):
        assert_close(layer(torch.randn(1, 3, 16)), layer.out.bias.expand(1, 3, 16))


def test_finds_the_one_head_that_does_the_work():
    layer, x = MultiHeadAttention(16, 4), torch.randn(4, 5, 16)
    with torch.no_grad():
        layer.out.weight[:, :12] = 0.0  # only head 3 is heard
        target = layer(x)
    worth = head_importance(layer, lambda: (layer(x) - target).square().mean())
    assert worth.argmax() == 3
    assert_close(worth[:3], torch.zeros(3))


@pytest.mark.parametrize("layer", [CausalAttention(16, 4), GroupedQueryAttention(16, 4, 2)])
def test_works_on_the_other_layers_too(layer):
    x = torch.randn(2, 5, 16)
    assert head_importance(layer, lambda: layer(x).square().mean()).shape == (4,)


def test_what_has_no_heads_is_refused():
    with pytest.raises(TypeError, match="num_heads"), without_heads(nn.Linear(2, 2), [0]):
        pass
    with pytest.raises(ValueError, match="heads 0 to 3"), without_heads(MultiHeadAttention(16, 4), [4]):
        pass


def test_the_loss_may_be_a_number():
    layer, x = MultiHeadAttention(16, 4), torch.randn(2, 5, 16)
    expected = head_importance(layer, lambda: layer(x).detach().square().mean())
    assert_close(head_importance(layer, lambda: layer(x).square().mean().item()), expected)
