"""Multi-head attention: torch's own layer is the oracle."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.attention import ALiBi, RotaryEmbedding
from nnvocab.attention.multi_head import MultiHeadAttention, multi_head_attention, multi_head_attention_fused


def pair(embed_dim=16, num_heads=4, bias=True, **kwargs):
    ours = MultiHeadAttention(embed_dim, num_heads, bias=bias, **kwargs)
    theirs = nn.MultiheadAttention(embed_dim, num_heads, bias=bias, batch_first=True)
    with torch.no_grad():
        if bias:
            nn.init.normal_(ours.qkv.bias)
            nn.init.normal_(ours.out.bias)
            theirs.in_proj_bias.copy_(ours.qkv.bias)
            theirs.out_proj.bias.copy_(ours.out.bias)
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.out_proj.weight.copy_(ours.out.weight)
    return ours, theirs


@pytest.mark.oracle("multi-head-attention", by="peer: torch.nn.MultiheadAttention")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("hidden", ["nothing", "future", "padding", "additive"])
@pytest.mark.parametrize("cross", [False, True])
def test_is_that_of_torch_weights_of_every_head_included(bias, hidden, cross):
    ours, theirs = pair(bias=bias)
    x = torch.randn(2, 5, 16)
    other = torch.randn(2, 5, 16) if cross else None
    mask = {"future": torch.ones(5, 5, dtype=torch.bool).tril(), "additive": torch.randn(5, 5)}.get(hidden)
    padded = torch.tensor([[False] * 5, [False, False, False, True, True]]) if hidden == "padding" else None
    y, weights = ours(x, other, mask=mask, key_padding_mask=padded, need_weights=True)
    memory = other if cross else x
    theirs_mask = ~mask if hidden == "future" else mask  # torch's layer says True where a key is hidden
    expected, expected_weights = theirs(
        x, memory, memory, attn_mask=theirs_mask, key_padding_mask=padded, average_attn_weights=False
    )
    assert_close(y, expected)
    assert_close(weights, expected_weights)
    assert_close(ours(x, other, mask=mask, key_padding_mask=padded), expected)


def test_gradients_are_those_of_torch():
    ours, theirs = pair()
    x = torch.randn(2, 5, 16)
    ours(x).square().sum().backward()
    theirs(x, x, x, need_weights=False)[0].square().sum().backward()
    assert_close(ours.qkv.weight.grad, theirs.in_proj_weight.grad)
    assert_close(ours.out.weight.grad, theirs.out_proj.weight.grad)
    assert_close(ours.qkv.bias.grad, theirs.in_proj_bias.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_plain_and_fused_agree_on_the_value_and_on_every_gradient(causal):
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in [(2, 5, 8), (24, 8), (8, 8)]]
    plain, fused = (f(*inputs, 2, causal=causal) for f in (multi_head_attention, multi_head_attention_fused))
    assert_close(plain, fused)
    assert_close(*(torch.autograd.grad(y.square().sum(), inputs) for y in (plain, fused)))


def test_the_layer_is_the_function():
    layer, x = MultiHeadAttention(16, 4, bias=False, causal=True), torch.randn(2, 5, 16)
    assert_close(layer(x), multi_head_attention(x, layer.qkv.weight, layer.out.weight, 4, causal=True))


def test_starts_from_the_same_distribution_as_torch():
    ours, theirs = MultiHeadAttention(64, 4), nn.MultiheadAttention(64, 4)
    assert abs(ours.qkv.weight.std() / theirs.in_proj_weight.std() - 1) < 0.05
    assert abs(ours.out.weight.std() / theirs.out_proj.weight.std() - 1) < 0.05
    assert (ours.qkv.bias == 0).all() and (ours.out.bias == 0).all()


def test_heads_cost_no_weights():
    sizes = {sum(p.numel() for p in MultiHeadAttention(64, h).parameters()) for h in (1, 2, 8, 64)}
    assert sizes == {4 * (64 * 64 + 64)}


def test_512_in_8_heads_gives_heads_of_64():
    layer = MultiHeadAttention(512, 8)
    y, weights = layer(torch.randn(1, 4, 512), need_weights=True)
    assert (layer.head_dim, y.shape, weights.shape) == (64, (1, 4, 512), (1, 8, 4, 4))


@pytest.mark.parametrize("positions", [None, RotaryEmbedding(4), ALiBi(4)])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_weights_and_fused_kernel_agree_with_every_option(positions, kv_heads):
    layer = MultiHeadAttention(16, 4, num_kv_heads=kv_heads, positions=positions, causal=True)
    x = torch.randn(2, 6, 16)
    padded = torch.zeros(2, 6, dtype=torch.bool)
    padded[1, 4:] = True
    y, weights = layer(x, key_padding_mask=padded, need_weights=True)
    assert_close(layer(x, key_padding_mask=padded), y)
    assert_close(weights.sum(-1), torch.ones(2, 4, 6))
    assert (weights.triu(1) == 0).all()


def test_a_sequence_that_is_all_padding_gives_the_bias_and_no_nan():
    ours, _ = pair()
    padded = torch.tensor([[True] * 5])
    y, weights = ours(torch.randn(1, 5, 16), key_padding_mask=padded, need_weights=True)
    assert_close(y, ours.out.bias.expand(1, 5, 16))
    assert (weights == 0).all()


def test_dropout_acts_only_while_training():
    layer, x = MultiHeadAttention(16, 4, dropout=0.5), torch.randn(1, 5, 16)
    assert not torch.allclose(layer(x), layer(x))
    layer.eval()
    assert_close(layer(x), layer(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiHeadAttention(30, 4), "embed_dim 30 is not a multiple of num_heads 4"),
        (lambda: MultiHeadAttention(32, 4, num_kv_heads=3), "num_kv_heads 3"),
        (lambda: MultiHeadAttention(32, 0), "at least 1"),
        (lambda: MultiHeadAttention(32, 4, dropout=-0.1), "dropout"),
        (lambda: MultiHeadAttention(32, 4)(torch.zeros(5, 32)), "unsqueeze"),
        (lambda: MultiHeadAttention(32, 4)(torch.zeros(1, 5, 31)), "width 31"),
        (lambda: MultiHeadAttention(32, 4)(torch.zeros(1, 0, 32)), "no position"),
        (lambda: MultiHeadAttention(32, 4)(torch.zeros(1, 5, 32), value=torch.zeros(1, 5, 32)), "without key"),
        (
            lambda: MultiHeadAttention(32, 4, positions=ALiBi(4))(torch.zeros(1, 5, 32), torch.zeros(1, 5, 32)),
            "CrossAttention",
        ),
        (
            lambda: MultiHeadAttention(32, 4)(torch.zeros(1, 5, 32), cache=MultiHeadAttention(32, 4).new_cache(1, 5)),
            "not causal",
        ),
        (lambda: MultiHeadAttention(32, 4, positions=ALiBi(1))(torch.zeros(1, 5, 32)), "made for 1 heads"),
        (lambda: MultiHeadAttention(32, 4)(torch.zeros(2, 5, 32), torch.zeros(1, 5, 32)), "batch of 2"),
        (
            lambda: MultiHeadAttention(32, 4)(torch.zeros(1, 5, 32), torch.zeros(1, 5, 32), torch.zeros(1, 4, 32)),
            "every key needs its value",
        ),
        (
            lambda: MultiHeadAttention(32, 4, positions=ALiBi(4))(
                torch.zeros(1, 5, 32), mask=torch.ones(4, 4, dtype=torch.bool)
            ),
            "do not broadcast",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("form", [multi_head_attention, multi_head_attention_fused])
@pytest.mark.parametrize(
    ("shapes", "num_heads", "message"),
    [
        (((1, 5, 8), (24, 8), (8, 8)), 3, "not a multiple"),
        (((1, 5, 8), (16, 8), (8, 8)), 2, "as nn.Linear stores them"),
        (((1, 5, 8), (24, 8), (8, 6)), 2, "as nn.Linear stores them"),
        (((1, 5, 7), (24, 8), (8, 8)), 2, "width 7"),
    ],
)
def test_weights_and_heads_that_do_not_fit_are_refused(form, shapes, num_heads, message):
    with pytest.raises(ValueError, match=message):
        form(*(torch.zeros(s) for s in shapes), num_heads)
