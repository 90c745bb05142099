"""What the configurable attention layer must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.attention.attention_layer import SETTINGS, AttentionLayer, read_settings
from nnvocab.attention.decoupled import DecoupledAttention
from nnvocab.attention.grouped_query import GroupedQueryAttention
from nnvocab.attention.multi_query import MultiQueryAttention

DECOUPLED = {"mode": "decoupled", "d_model": 64, "n_heads": 4, "sem_dim": 16, "geo_dim": 32}


@pytest.mark.oracle("configurable-attention-layer", by="peer: torch")
def test_standard_mode_without_rotation_is_torchs_layer():
    settings = {"mode": "standard", "d_model": 512, "n_heads": 8, "rope_enabled": False}
    layer, theirs = AttentionLayer.from_settings(settings), nn.MultiheadAttention(512, 8, bias=False, batch_first=True)
    layer.attention.qkv.weight.data.copy_(theirs.in_proj_weight)
    layer.attention.out.weight.data.copy_(theirs.out_proj.weight)
    x, ahead = torch.randn(2, 6, 512), torch.ones(6, 6, dtype=torch.bool).triu(1)
    assert_close(layer(x), theirs(x, x, x, attn_mask=ahead, need_weights=False)[0], rtol=1e-4, atol=1e-5)


def test_standard_mode_turns_queries_and_keys_as_llama_does():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama", reason="transformers is not installed")
    layer = AttentionLayer.from_settings({"d_model": 512, "n_heads": 8, "rope_base": 500000.0})
    x, D = torch.randn(1, 6, 512), 64
    q, k, v = (t.unflatten(-1, (8, D)).transpose(1, 2) for t in layer.attention.qkv(x).chunk(3, dim=-1))
    angles = torch.arange(6)[:, None] * 500000.0 ** (-torch.arange(0, D, 2) / D)
    cos, sin = (torch.cat([f(angles)] * 2, dim=-1)[None] for f in (torch.cos, torch.sin))
    order = torch.cat([torch.arange(0, D, 2), torch.arange(1, D, 2)])  # interleaved pairs, as they lay them out
    q, k = llama.apply_rotary_pos_emb(q[..., order], k[..., order], cos, sin)
    y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert_close(layer(x), layer.attention.out(y.transpose(1, 2).flatten(2)), rtol=1e-4, atol=1e-4)


def test_grouped_mode_is_the_grouped_layer_with_a_cache_a_quarter_the_size():
    settings = {"mode": "gqa", "d_model": 128, "n_heads": 32, "n_kv_heads": 8, "rope_enabled": False}
    layer, grouped = AttentionLayer.from_settings(settings), GroupedQueryAttention(128, 32, 8, causal=True)
    with torch.no_grad():
        layer.attention.qkv.weight.copy_(torch.cat([grouped.q.weight, grouped.k.weight, grouped.v.weight]))
        layer.attention.out.weight.copy_(grouped.out.weight)
    x = torch.randn(2, 5, 128)
    assert_close(layer(x), grouped(x))
    standard = AttentionLayer.from_settings({"d_model": 128, "n_heads": 32})
    assert standard.new_cache(1, 10).nbytes == 4 * layer.new_cache(1, 10).nbytes


def test_decoupled_mode_has_no_gate_and_no_null_token_unless_asked():
    inner = AttentionLayer.from_settings(DECOUPLED).attention
    assert inner.paths.gate is None and inner.null_key is None and inner.null_value is None


@pytest.mark.parametrize("gate", [False, True, "input"])
def test_decoupled_mode_is_the_decoupled_layer(gate):
    layer = AttentionLayer.from_settings({**DECOUPLED, "decoupled_gate": gate, "v_dim": 32, "n_kv_heads": 2})
    inner = layer.attention
    assert isinstance(inner, DecoupledAttention) and inner.causal and inner.out.in_features == 32
    assert (inner.paths.gate is not None) == bool(gate)
    assert not gate or (inner.paths.gate.weight is not None) == (gate == "input")
    x = torch.randn(2, 5, 64)
    assert_close(layer(x), inner(x))


@pytest.mark.parametrize("settings", [{"d_model": 64, "n_heads": 4}, DECOUPLED, {**DECOUPLED, "null_token": True}])
def test_the_cache_is_returned_when_asked_and_goes_on(settings):
    layer, x = AttentionLayer.from_settings(settings, max_len=8).eval(), torch.randn(2, 5, 64)
    first, cache = layer(x[:, :3], need_cache=True)
    second, again = layer(x[:, 3:], cache=cache, need_cache=True)
    assert again is cache and cache.seen == 5
    assert_close(torch.cat([first, second], dim=1), layer(x).detach())


@pytest.mark.parametrize(("base", "longest"), [(10000.0, 4e4), (500000.0, 1.5e6)])
def test_scores_depend_on_the_distance_only_and_the_base_sets_the_longest_wavelength(base, longest):
    rope = AttentionLayer.from_settings({"d_model": 128, "n_heads": 2, "rope_base": base}).attention.positions
    q, k = torch.randn(2, 1, 1, 4, 64, dtype=torch.float64)
    near, far = (rope(q, offset=o) @ rope(k, offset=o).mT for o in (0, 5000))
    assert_close(near, far)
    assert longest < 2 * torch.pi / min(rope.theta) < 2 * longest


def test_low_rank_adapters_are_added_where_they_are_asked_for():
    pytest.importorskip("nnvocab.layers.lora_attention")
    plain = {"d_model": 64, "n_heads": 4}
    layer = AttentionLayer.from_settings({**plain, "lora_rank": 8, "lora_alpha": 16, "lora_targets": ["q", "v"]})
    learned = {n: p for n, p in layer.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in learned.values()) == 2 * (8 * 64 + 64 * 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "sparse", "d_model": 8, "n_heads": 2}, "must be one of"),
        ({"d_model": 8, "n_heads": 2, "lora_rnk": 8}, "did you mean 'lora_rank'"),
        ({"d_model": 8, "n_heads": 2, "n_kv_heads": 1}, "belongs to mode gqa and decoupled"),
        ({"d_model": 8, "n_heads": 2, "window": 1}, "known are d_model"),
        ({"mode": "gqa", "d_model": 8, "n_heads": 2}, "needs n_kv_heads, which is missing"),
        ({"mode": "gqa", "d_model": 8, "n_heads": 2, "n_kv_heads": None}, "needs n_kv_heads, which is missing"),
        ({"mode": "gqa", "d_model": 8, "n_heads": 4, "n_kv_heads": 3}, "not a multiple of num_kv_heads 3"),
        ({"d_model": 10, "n_heads": 4}, "not a multiple of num_heads 4"),
        ({"d_model": 4, "n_heads": 0}, "must be at least 1"),
        ({**DECOUPLED, "n_kv_heads": 0}, "num_kv_heads 0"),
        ({"mode": "decoupled", "d_model": 8, "n_heads": 2}, "needs sem_dim, geo_dim, which are missing"),
        ({**DECOUPLED, "rope_enabled": False}, "the one that turns"),
        ({**DECOUPLED, "decoupled_gate": "static"}, "must be False, True or 'input'"),
    ],
)
def test_what_would_be_lost_silently_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AttentionLayer.from_settings(settings)


@pytest.mark.parametrize("width", ["64", 64.0, True])
def test_a_width_that_is_no_whole_number_is_refused(width):
    with pytest.raises(TypeError, match="without quotes"):
        AttentionLayer.from_settings({"d_model": width, "n_heads": 4})


def test_grouped_mode_meets_the_others_at_its_ends():
    plain, x = {"d_model": 32, "n_heads": 4}, torch.randn(2, 5, 32)
    standard = AttentionLayer.from_settings(plain)
    full = AttentionLayer.from_settings({**plain, "mode": "gqa", "n_kv_heads": 4})
    full.load_state_dict(standard.state_dict())
    assert_close(full(x), standard(x))
    one = AttentionLayer.from_settings({**plain, "mode": "gqa", "n_kv_heads": 1, "rope_enabled": False})
    theirs = MultiQueryAttention(32, 4, causal=True)
    with torch.no_grad():
        one.attention.qkv.weight.copy_(torch.cat([theirs.q.weight, theirs.k.weight, theirs.v.weight]))
        one.attention.out.weight.copy_(theirs.out.weight)
    assert_close(one(x), theirs(x))


def test_a_cache_has_room_for_what_is_asked_and_otherwise_for_max_len():
    layer = AttentionLayer.from_settings({"d_model": 32, "n_heads": 4}, max_len=7)
    assert layer.new_cache(2).max_len == 7 and layer.new_cache(2, 3).max_len == 3
    assert layer.new_cache(2, 3, sliding=True).sliding and not layer.new_cache(2, 3).sliding
    with pytest.raises(ValueError):
        layer.new_cache(2, 0)


def test_every_mode_tells_its_defaults():
    assert set(SETTINGS) == {"standard", "gqa", "decoupled"}
    assert read_settings(DECOUPLED)["rope_enabled"] is True
