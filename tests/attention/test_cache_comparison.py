"""What the measured caches must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch import nn

from nnvocab.attention.cache_comparison import cache_bytes, compare_kv_caches
from nnvocab.attention.decoupled import DecoupledAttention
from nnvocab.attention.decoupled_paths import DecoupledPaths
from nnvocab.attention.grouped_query import GroupedQueryAttention
from nnvocab.attention.multi_query import MultiQueryAttention
from nnvocab.attention.rotary import RotaryEmbedding


@pytest.mark.oracle("kv-cache-comparison", by="closed form")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_measured_caches_are_what_head_counts_say(dtype):
    C, H, D = 64, 8, 8
    layers = {
        "multi-head": GroupedQueryAttention(C, H, H, causal=True),
        "grouped": GroupedQueryAttention(C, H, 2, causal=True),
        "multi-query": MultiQueryAttention(C, H, causal=True),
        "decoupled": DecoupledAttention(DecoupledPaths(C, H, 16, 32), v_dim=48, causal=True),
        "decoupled, shared": DecoupledAttention(DecoupledPaths(C, H, 16, 32, num_kv_heads=2), v_dim=48, causal=True),
    }
    numbers = {
        "multi-head": (H * D, H * D),
        "grouped": (2 * D, 2 * D),
        "multi-query": (D, D),
        "decoupled": (16 + 32, 48),
        "decoupled, shared": (2 * (2 + 4), 2 * 6),
    }
    for name, size in compare_kv_caches(
        {n: m.to(dtype) for n, m in layers.items()}, torch.randn(2, 3, C).to(dtype)
    ).items():
        assert (size.keys, size.values) == numbers[name]
        assert size.bytes == cache_bytes(*numbers[name], dtype)


def test_the_documented_widths_keep_more_than_eight_shared_heads():
    rope = RotaryEmbedding(8)
    with torch.device("meta"):
        layers = {
            "multi-head": GroupedQueryAttention(2048, 32, 32, causal=True),
            "grouped": GroupedQueryAttention(2048, 32, 8, causal=True),
            "decoupled": DecoupledAttention(DecoupledPaths(2048, 32, 128, 256, rope=rope), causal=True),
        }
        x = torch.zeros(1, 1, 2048, dtype=torch.float16)
    sizes = compare_kv_caches({n: m.half() for n, m in layers.items()}, x)
    assert [sizes[n].bytes for n in layers] == [8192, 2048, 4864]


def test_a_layer_without_a_cache_is_refused():
    with pytest.raises(ValueError, match="no new_cache"):
        compare_kv_caches({"linear": nn.Linear(4, 4)}, torch.zeros(1, 1, 4))


@pytest.mark.parametrize("shape", [(3, 64), (1, 0, 64)])
def test_what_is_no_batch_of_sequences_is_refused(shape):
    with pytest.raises(ValueError, match="at least one token"):
        compare_kv_caches({"one": MultiQueryAttention(64, 8, causal=True)}, torch.zeros(shape))
