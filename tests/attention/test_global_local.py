"""Global + local attention: chosen positions see all and are seen by all."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import (
    GlobalLocalAttention,
    dependencies,
    either,
    global_local_attention,
    global_local_attention_blocked,
    global_rule,
    layers_to_reach_all,
    peak_bytes,
    rule_mask,
    window_rule,
)

FORMS = (global_local_attention, global_local_attention_blocked)


def heads(T, n=3, B=2, H=2, D=4):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(B, H, T, D, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(n)]


@pytest.mark.oracle("global-local-attention", by="brute force")
@pytest.mark.parametrize("form", FORMS)
def test_is_the_mean_over_the_window_and_the_global_positions(form):
    q, k, v = heads(20)
    y = form(q, k, v, window_size=2, global_tokens=[0, 7])
    for i in range(20):
        seen = sorted({*range(max(0, i - 2), min(20, i + 3)), 0, 7}) if i not in (0, 7) else list(range(20))
        weights = torch.exp(torch.einsum("bhd,bhsd->bhs", q[:, :, i], k[:, :, seen]) / 2)
        expected = torch.einsum("bhs,bhsd->bhd", weights / weights.sum(-1, keepdim=True), v[:, :, seen])
        assert_close(y[:, :, i], expected)


@pytest.mark.parametrize("chosen", [[], [0], [3, 0, 30]])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("w", [1, 18, 60])
def test_blocks_agree_with_the_mask_on_the_value_and_on_every_gradient(chosen, own, w):
    given = heads(35, 6)
    of_global = tuple(given[3:]) if own else None
    plain, fast = (f(*given[:3], window_size=w, global_tokens=chosen, of_global=of_global) for f in FORMS)
    c = torch.randn_like(plain)
    assert_close(plain, fast)
    used = given if own and chosen else given[:3]
    assert_close(torch.autograd.grad((plain * c).sum(), used), torch.autograd.grad((fast * c).sum(), used))


@pytest.mark.oracle("global-local-attention", by="peer: transformers")
def test_with_projections_of_their_own_it_is_longformers_layer():
    transformers = pytest.importorskip("transformers", reason="the peer is an optional package")
    from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

    config = transformers.LongformerConfig(
        hidden_size=8, num_attention_heads=2, attention_window=[4], attention_probs_dropout_prob=0.0
    )
    peer = LongformerSelfAttention(config, 0).eval()
    ours = GlobalLocalAttention(8, 2, window_size=2, separate=True)
    with torch.no_grad():
        for part in ("weight", "bias"):
            getattr(ours.heads.qkv, part).copy_(
                torch.cat([getattr(layer, part) for layer in (peer.query, peer.key, peer.value)])
            )
            getattr(ours.qkv_global, part).copy_(
                torch.cat([getattr(layer, part) for layer in (peer.query_global, peer.key_global, peer.value_global)])
            )
        ours.heads.out.weight.copy_(torch.eye(8))
        ours.heads.out.bias.zero_()
    x, chosen = torch.randn(1, 16, 8), torch.zeros(1, 16, dtype=torch.bool)
    chosen[:, [0, 5]] = True
    theirs = peer(
        x,
        attention_mask=chosen * 10000.0,
        is_index_masked=torch.zeros(1, 16, dtype=torch.bool),
        is_index_global_attn=chosen,
        is_global_attn=True,
    )[0]
    assert_close(ours(x, global_tokens=[0, 5]), theirs, rtol=1e-4, atol=1e-5)


def test_every_position_sees_the_global_ones_and_they_see_every_position():
    found = dependencies(GlobalLocalAttention(8, 2, window_size=1, global_tokens=(0,)), torch.randn(1, 10, 8))
    assert found[0].all() and found[:, 0].all()
    assert found[9].nonzero().flatten().tolist() == [0, 8, 9]
    assert torch.equal(found, rule_mask(either(window_rule(1), global_rule([0])), 10))
    assert layers_to_reach_all(found) == 2


def test_memory_grows_with_the_length_and_not_with_its_square():
    def peak(T):
        q, k, v = (torch.randn(1, 1, T, 8) for _ in range(3))
        return peak_bytes(lambda: global_local_attention_blocked(q, k, v, window_size=16, global_tokens=[0]))

    assert peak(2048) < 2.1 * peak(1024)


@pytest.mark.parametrize("chosen", [[0, 0], [9], [-1]])
def test_global_positions_that_do_not_exist_are_refused(chosen):
    with pytest.raises(ValueError, match="global_tokens"):
        GlobalLocalAttention(8, 2, window_size=1)(torch.zeros(1, 9, 8), global_tokens=chosen)
    x = torch.zeros(1, 2, 9, 4)
    for form in FORMS:
        with pytest.raises(ValueError, match="global_tokens"):
            form(x, x, x, window_size=1, global_tokens=chosen)
        with pytest.raises(ValueError, match="window_size"):
            form(x, x, x, window_size=0, global_tokens=[0])
    with pytest.raises(ValueError, match="window_size"):
        GlobalLocalAttention(8, 2, window_size=0)
