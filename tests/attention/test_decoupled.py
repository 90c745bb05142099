"""What only decoupled bottleneck attention must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention.decoupled import DecoupledAttention, decoupled_attention, decoupled_attention_fused
from nnvocab.attention.decoupled_paths import DecoupledPaths
from nnvocab.attention.kv_cache import KVCache
from nnvocab.attention.path_gate import PathGate
from nnvocab.attention.rotary import RotaryEmbedding, rotary_frequencies, rotate_by_position


def parts(H=2, T=5, Ds=3, Dg=4, E=6):
    shapes = [(2, H, T, Ds), (2, H, T, Ds), (2, H, T, Dg), (2, H, T, Dg), (2, H, T, E)]
    free = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    return free, rotary_frequencies(Dg).double()


def layer(*, num_kv_heads=None, gate="input", **kwargs):
    made = None if gate is None else PathGate(4, 16 if gate == "input" else None)
    layer = DecoupledAttention(DecoupledPaths(16, 4, 8, 16, num_kv_heads=num_kv_heads, gate=made), **kwargs)
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(std=0.5)
    return layer


@pytest.mark.oracle("decoupled-bottleneck-attention", by="brute force")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("gated", [False, True])
def test_is_the_sum_over_positions_written_out(causal, gated):
    (q_sem, k_sem, q_geo, k_geo, v), theta = parts()
    gate = torch.rand(2, 2, 5, dtype=torch.float64) if gated else None
    expected = torch.zeros_like(v)
    at = torch.arange(5)
    turned_q, turned_k = rotate_by_position(q_geo, at, theta), rotate_by_position(k_geo, at, theta)
    for b, h, t in [(b, h, t) for b in range(2) for h in range(2) for t in range(5)]:
        g = gate[b, h, t] if gated else 0.5
        seen = range(t + 1 if causal else 5)
        scores = [
            2 * g * (q_sem[b, h, t] @ k_sem[b, h, s]) / 3**0.5
            + (2 - 2 * g) * (turned_q[b, h, t] @ turned_k[b, h, s]) / 4**0.5
            for s in seen
        ]
        weights = torch.exp(torch.stack(scores))
        expected[b, h, t] = sum(w / weights.sum() * v[b, h, s] for w, s in zip(weights, seen, strict=True))
    given = (q_sem, k_sem, q_geo, k_geo, v, theta)
    assert_close(decoupled_attention(*given, gate=gate, causal=causal), expected)


@pytest.mark.parametrize("causal", [False, True])
def test_fused_form_agrees_on_the_value_and_on_every_gradient(causal):
    inputs, theta = parts()
    gate = torch.rand(2, 2, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    plain, fused = (
        f(*inputs, theta, gate=gate, causal=causal) for f in (decoupled_attention, decoupled_attention_fused)
    )
    assert_close(plain, fused)
    free = [*inputs, gate]
    assert_close(torch.autograd.grad((plain * weights).sum(), free), torch.autograd.grad((fused * weights).sum(), free))


def test_paths_that_do_not_fit_are_refused_by_both_forms():
    (q_sem, k_sem, q_geo, k_geo, v), theta = parts()
    for form in (decoupled_attention, decoupled_attention_fused):
        with pytest.raises(ValueError, match="equal widths"):
            form(q_sem, k_sem[..., :2], q_geo, k_geo, v, theta)
        with pytest.raises(ValueError, match="needs its value"):
            form(q_sem, k_sem, q_geo, k_geo[:, :, :4], v, theta)
        with pytest.raises(ValueError, match="q_sem, q_geo and gate"):
            form(q_sem, k_sem, q_geo[:, :1], k_geo[:, :1], v, theta)
        with pytest.raises(ValueError, match="q_sem, q_geo and gate"):
            form(q_sem, k_sem, q_geo, k_geo, v, theta, gate=torch.zeros(2, 2, 4))


@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_the_layer_is_the_function_of_its_projections(num_kv_heads):
    made, x = layer(num_kv_heads=num_kv_heads, v_dim=24, causal=True).double(), torch.randn(2, 5, 16).double()
    p, share = made.paths, 4 // num_kv_heads

    def heads(t, H):
        return t.unflatten(-1, (H, -1)).transpose(1, 2)

    q_sem, q_geo = heads(p.q_sem(x), 4), heads(p.q_geo(x), 4)
    k_sem, k_geo, v = (heads(f(x), num_kv_heads).repeat_interleave(share, 1) for f in (p.k_sem, p.k_geo, made.v))
    theta = torch.tensor(p.rope.theta, dtype=torch.float64)
    y = decoupled_attention(q_sem, k_sem, q_geo, k_geo, v, theta, gate=p.gate(x), causal=True)
    assert_close(made(x), made.out(y.transpose(1, 2).flatten(2)))


def test_the_content_path_knows_no_position_and_the_position_path_only_distance():
    paths, x = DecoupledPaths(16, 4, 8, 16).double(), torch.randn(1, 6, 16).double()
    for offset in (0, 3, 100):
        q, k = paths(x, offset=offset)
        assert torch.equal(k[..., :2], paths(x)[1][..., :2])  # two of six columns are content
        assert_close(q @ k.mT, paths(x)[0] @ paths(x)[1].mT)


def test_a_gate_at_one_leaves_content_and_at_zero_leaves_position():
    paths = DecoupledPaths(16, 4, 8, 16, gate=PathGate(4))
    with torch.no_grad():
        paths.gate.logit.copy_(torch.tensor([50.0, -50.0, 50.0, -50.0]))
        q, _ = paths(torch.randn(2, 5, 16))
    assert q[:, 0::2, :, 2:].abs().max() < 1e-6 and q[:, 0::2, :, :2].abs().max() > 0.1
    assert q[:, 1::2, :, :2].abs().max() < 1e-6 and q[:, 1::2, :, 2:].abs().max() > 0.1


def test_query_heads_share_keys_and_values_for_real():
    many, few = layer(num_kv_heads=4), layer(num_kv_heads=1)
    for name in ("paths.k_sem", "paths.k_geo", "v"):
        assert many.get_submodule(name).weight.numel() == 4 * few.get_submodule(name).weight.numel()
    with torch.no_grad():
        for name in ("paths.k_sem", "paths.k_geo", "v"):  # every head gets the one head's weights
            many.get_submodule(name).weight.copy_(few.get_submodule(name).weight.repeat(4, 1))
    rest = {
        n: p for n, p in few.state_dict().items() if n not in ("paths.k_sem.weight", "paths.k_geo.weight", "v.weight")
    }
    many.load_state_dict(rest, strict=False)
    x = torch.randn(2, 5, 16)
    assert_close(many(x), few(x))


@pytest.mark.parametrize("null_token", [False, True])
def test_a_causal_layer_sees_itself_and_never_ahead(null_token):
    made = layer(causal=True, null_token=null_token)
    _, weights = made(torch.randn(2, 5, 16), need_weights=True)
    seen = torch.ones(5, 5, dtype=torch.bool).tril()
    if null_token:
        seen = torch.cat([torch.ones(5, 1, dtype=torch.bool), seen], dim=1)
    assert torch.equal(weights > 0, seen.expand_as(weights))
    assert_close(weights.sum(-1), torch.ones(2, 4, 5))


def test_the_null_token_is_one_more_key_and_value_without_a_place():
    made, x = layer(null_token=True, num_kv_heads=2), torch.randn(2, 5, 16)
    y, weights = made(x, need_weights=True)
    q, k = made.paths(x)
    scores = torch.cat([(q[..., :2] * made.null_key.repeat_interleave(2, 0)[None, :, None]).sum(-1, keepdim=True),
                        q @ k.repeat_interleave(2, 1).mT], dim=-1) / 6**0.5  # fmt: skip
    assert_close(weights, scores.softmax(-1))
    v = made.v(x).unflatten(-1, (2, 4)).transpose(1, 2).repeat_interleave(2, 1)
    v = torch.cat([made.null_value.repeat_interleave(2, 0)[None, :, None].expand(2, -1, 1, -1), v], dim=2)
    assert_close(y, made.out((weights @ v).transpose(1, 2).flatten(2)))
    assert_close(made(x), y)


def test_a_padded_sequence_with_a_null_token_leaves_only_the_null_token():
    made, x = layer(null_token=True), torch.randn(1, 5, 16)
    hidden = torch.ones(1, 5, dtype=torch.bool)
    _, weights = made(x, key_padding_mask=hidden, need_weights=True)
    assert_close(weights[..., 0], torch.ones(1, 4, 5))


@pytest.mark.parametrize("null_token", [False, True])
@pytest.mark.parametrize("num_kv_heads", [1, 4])
@pytest.mark.parametrize("chunk", [1, 3])
def test_cached_generation_equals_full_recomputation(num_kv_heads, null_token, chunk):
    made = layer(num_kv_heads=num_kv_heads, null_token=null_token, v_dim=24, causal=True)
    x = torch.randn(2, 7, 16)
    with torch.no_grad():
        cache = made.new_cache(2, 7)
        steps = torch.cat([made(part, cache=cache) for part in x.split(chunk, dim=1)], dim=1)
    assert_close(steps, made(x).detach())


@pytest.mark.parametrize("null_token", [False, True])
def test_a_sliding_cache_is_a_window(null_token):
    made, x = layer(null_token=null_token, causal=True), torch.randn(1, 9, 16)
    with torch.no_grad():
        cache = made.new_cache(1, 3, sliding=True)
        steps = torch.cat([made(part, cache=cache) for part in x.split([4, 1, 2, 1, 1], dim=1)], dim=1)
        q, k = made.paths(x)
        v = made.v(x).unflatten(-1, (4, -1)).transpose(1, 2)
        back = torch.arange(9)[:, None] - torch.arange(9)
        mask = (back >= 0) & (back < 3)
        if null_token:
            k, v = (torch.cat(parts, dim=2) for parts in zip(made.null(1), (k, v), strict=True))
            mask = torch.cat([torch.ones(9, 1, dtype=torch.bool), mask], dim=1)
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert_close(steps, made.out(y.transpose(1, 2).flatten(2)).detach())


def test_padding_in_a_sliding_cache_counts_from_the_oldest_key_and_so_do_the_weights():
    made, x = layer(null_token=True, causal=True), torch.randn(2, 8, 16)
    hidden = torch.zeros(2, 8, dtype=torch.bool)
    hidden[1, [0, 1, 4, 6]] = True
    with torch.no_grad():
        q, k = made.paths(x)
        v = made.v(x).unflatten(-1, (4, -1)).transpose(1, 2)
        k, v = (torch.cat(parts, dim=2) for parts in zip(made.null(2), (k, v), strict=True))
        back = torch.arange(8)[:, None] - torch.arange(8)
        seen = (back >= 0) & (back < 3) & ~hidden[:, None, None]  # (B, 1, T, T)
        seen = torch.cat([torch.ones(2, 1, 8, 1, dtype=torch.bool), seen], dim=-1)
        whole = (q @ k.mT / 6**0.5).masked_fill(~seen, float("-inf")).softmax(-1)  # (B, H, T, 1 + T)
        expected = made.out((whole @ v).transpose(1, 2).flatten(2))
        cache = made.new_cache(2, 3, sliding=True)
        for t in range(8):
            first = max(0, t - 2)
            y, weights = made(
                x[:, t : t + 1], cache=cache, key_padding_mask=hidden[:, first : t + 1], need_weights=True
            )
            assert_close(y[:, 0], expected[:, t])
            assert_close(weights[:, :, 0], torch.cat([whole[:, :, t, :1], whole[:, :, t, first + 1 : t + 2]], -1))


def test_the_cache_holds_both_paths_and_the_values():
    cache = layer(num_kv_heads=2, v_dim=24).new_cache(3, 10)
    assert cache.keys.shape == (3, 2, 10, 2 + 4) and cache.values.shape == (3, 2, 10, 6)


def test_a_cache_may_hold_values_of_another_width_than_keys():
    cache = KVCache(1, 2, 4, head_dim=3, value_dim=5)
    k, v = torch.randn(1, 2, 2, 3), torch.randn(1, 2, 2, 5)
    keys, values, at = cache.append(k, v)
    assert torch.equal(keys, k) and torch.equal(values, v) and at.tolist() == [0, 1]
    assert cache.nbytes == 4 * 2 * 4 * (3 + 5)
    with pytest.raises(ValueError, match="v has shape"):
        cache.append(k, k)


def test_dropout_acts_while_training_only():
    made, x = layer(dropout=0.5, null_token=True), torch.randn(1, 5, 16)
    assert not torch.equal(made(x), made(x))
    made.eval()
    assert torch.equal(made(x), made(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DecoupledPaths(16, 4, 6, 16), "sem_dim 6 is not a multiple of num_heads"),
        (lambda: DecoupledPaths(16, 4, 8, 12), "columns turn in pairs"),
        (lambda: DecoupledPaths(16, 4, 8, 18), "geo_dim 18 is not a multiple"),
        (lambda: DecoupledPaths(16, 4, 0, 16), "sem_dim 0"),
        (lambda: DecoupledPaths(0, 4, 8, 16), "embed_dim is 0"),
        (lambda: DecoupledPaths(16, 0, 8, 16), "num_heads is 0"),
        (lambda: DecoupledPaths(16, 4, 8, 16, num_kv_heads=0), "num_kv_heads 0"),
        (lambda: layer(v_dim=0), "v_dim 0"),
        (lambda: DecoupledPaths(16, 4, 8, 16, num_kv_heads=3), "not a multiple of num_kv_heads"),
        (lambda: DecoupledPaths(16, 4, 8, 16, rope=RotaryEmbedding(2)), "the rope turns 2"),
        (lambda: DecoupledPaths(16, 4, 8, 16, gate=PathGate(2)), "the gate has 2 heads"),
        (lambda: layer(v_dim=10), "v_dim 10 is not a multiple"),
        (lambda: layer(null_token=True)(torch.zeros(1, 1, 16), cache=layer().new_cache(1, 2)), "causal=True"),
        (lambda: layer()(torch.zeros(1, 1, 15)), "width 15"),
        (lambda: layer(null_token=True)(torch.zeros(1, 5, 16), key_padding_mask=torch.zeros(1, 4).bool()), r"\(1, 5\)"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
