"""Cross-attention: one sequence reads another."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.attention.cross_attention import CrossAttention, cross_attention, cross_attention_fused


def pair(kdim=6, vdim=7):
    ours = CrossAttention(8, num_heads=2, kdim=kdim, vdim=vdim)
    theirs = nn.MultiheadAttention(8, 2, kdim=kdim, vdim=vdim, batch_first=True)
    with torch.no_grad():
        for mine, other in ((ours.q, "q"), (ours.k, "k"), (ours.v, "v")):
            getattr(theirs, f"{other}_proj_weight").copy_(mine.weight)
        theirs.in_proj_bias.copy_(torch.cat([ours.q.bias, ours.k.bias, ours.v.bias]))
        theirs.out_proj.weight.copy_(ours.out.weight)
        theirs.out_proj.bias.copy_(ours.out.bias)
    return ours, theirs


@pytest.mark.oracle("cross-attention", by="peer: torch.nn.MultiheadAttention(kdim, vdim)")
@pytest.mark.parametrize("padding", [False, True])
def test_is_that_of_torch_for_other_lengths_and_widths(padding):
    ours, theirs = pair()
    x, keys, values = torch.randn(2, 3, 8), torch.randn(2, 5, 6), torch.randn(2, 5, 7)
    padded = torch.tensor([[False] * 5, [False, False, True, True, True]]) if padding else None
    y, weights = ours(x, keys, values, key_padding_mask=padded, need_weights=True)
    expected, expected_weights = theirs(x, keys, values, key_padding_mask=padded, average_attn_weights=False)
    assert_close(y, expected)
    assert_close(weights, expected_weights)
    assert_close(ours(x, keys, values, key_padding_mask=padded), expected)


def test_plain_and_fused_agree_on_the_value_and_on_every_gradient():
    shapes = [(2, 3, 8), (2, 5, 6), (8, 4), (6, 4), (6, 7)]
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    plain, fused = cross_attention(*inputs), cross_attention_fused(*inputs)
    assert_close(plain, fused)
    assert_close(*(torch.autograd.grad(y.square().sum(), inputs) for y in (plain, fused)))


def test_keys_and_values_may_be_computed_once():
    layer = CrossAttention(8, num_heads=2, kdim=6)
    x, memory = torch.randn(2, 4, 8), torch.randn(2, 5, 6)
    kv = layer.project(memory)
    steps = torch.cat([layer(x[:, t : t + 1], kv=kv) for t in range(4)], dim=1)
    assert_close(steps, layer(x, memory))


def test_the_order_of_the_memory_does_not_matter():
    layer, x, memory = CrossAttention(8, 2), torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    assert_close(layer(x, memory[:, torch.randperm(5)]), layer(x, memory))


def test_unprojected_it_works_for_equal_widths_only():
    x, memory = torch.randn(3, 8), torch.randn(5, 6)
    with pytest.raises(RuntimeError):
        x @ memory.T
    assert CrossAttention(8, 2, kdim=6)(x[None], memory[None]).shape == (1, 3, 8)


def test_padding_that_hides_everything_gives_the_bias_alone():
    layer = CrossAttention(8, 2)
    y = layer(torch.randn(1, 3, 8), torch.randn(1, 5, 8), key_padding_mask=torch.ones(1, 5, dtype=torch.bool))
    assert_close(y, layer.out.bias.expand(1, 3, 8))


def test_what_does_not_fit_is_refused():
    layer, x, memory = CrossAttention(8, 2, kdim=6, vdim=7), torch.zeros(2, 3, 8), torch.zeros(2, 5, 6)
    with pytest.raises(ValueError, match="pass both sequences"):
        layer(x, memory)
    with pytest.raises(ValueError, match="either the memory or kv"):
        layer(x)
    with pytest.raises(ValueError, match="width 6"):
        layer(x, memory, memory)
    with pytest.raises(ValueError, match="batch of 2"):
        layer(x, memory[:1], torch.zeros(1, 5, 7))
    with pytest.raises(ValueError, match="not a multiple"):
        CrossAttention(9, 2)
    with pytest.raises(ValueError, match="at least 1"):
        CrossAttention(8, 2, kdim=0)
    with pytest.raises(ValueError, match="d_k is 0"):
        CrossAttention(8, 2, d_k=0)
    with pytest.raises(ValueError, match="no position"):
        layer(x, memory[:, :0], torch.zeros(2, 0, 7))
    k, v = layer.project(memory, torch.zeros(2, 5, 7))
    with pytest.raises(ValueError, match="either the memory"):
        layer(x, values=torch.zeros(2, 5, 7), kv=(k, v))
    for kv in ((k[:, :1], v[:, :1]), (k, v[..., :3]), (k[0], v[0])):
        with pytest.raises(ValueError, match="its own project"):
            layer(x, kv=kv)
    with pytest.raises(ValueError, match="batch of 2"):
        layer(x, kv=(k[:1], v[:1]))


@pytest.mark.parametrize("form", [cross_attention, cross_attention_fused])
def test_weights_that_do_not_take_their_sequence_are_refused(form):
    x, memory, w, m = torch.zeros(3, 8), torch.zeros(5, 6), torch.zeros(8, 4), torch.zeros(6, 4)
    for weights in ((m, m, m), (w, w, m), (w, m, w)):
        with pytest.raises(ValueError, match="the weight takes what"):
            form(x, memory, *weights)


def test_heads_may_have_a_width_of_their_own():
    layer, x, memory = CrossAttention(8, 3, d_k=5, kdim=6), torch.randn(2, 4, 8), torch.randn(2, 7, 6)
    heads = []
    for h in range(3):
        rows = slice(5 * h, 5 * h + 5)
        q = x @ layer.q.weight[rows].T + layer.q.bias[rows]
        k = memory @ layer.k.weight[rows].T + layer.k.bias[rows]
        v = memory @ layer.v.weight[rows].T + layer.v.bias[rows]
        heads.append((q @ k.mT / 5**0.5).softmax(-1) @ v)
    assert_close(layer(x, memory), layer.out(torch.cat(heads, dim=-1)))
    assert CrossAttention(8, 2).q.weight.shape == CrossAttention(8, 2, d_k=4).q.weight.shape


def test_numbers_without_a_width_may_look_at_each_other():
    """Everything is one wide, so attention is arithmetic with numbers."""
    layer, x, memory = CrossAttention(1, 1), torch.randn(1, 3, 1), torch.randn(1, 4, 1)
    q, k, v = (a.weight * t + a.bias for a, t in ((layer.q, x), (layer.k, memory), (layer.v, memory)))
    mixed = (q @ k.mT).exp() @ v / (q @ k.mT).exp().sum(-1, keepdim=True)
    assert_close(layer(x, memory), layer.out.weight * mixed + layer.out.bias)


def test_dropout_acts_only_while_training():
    layer, x = CrossAttention(8, 2, dropout=0.5), torch.randn(1, 5, 8)
    assert not torch.allclose(layer(x, x), layer(x, x))
    layer.eval()
    assert_close(layer(x, x), layer(x, x))
