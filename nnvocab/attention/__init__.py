"""Attention: every position looks at the others and takes what it needs."""

from nnvocab.attention.alibi import ALiBi, alibi_bias, alibi_bias_fused, alibi_slopes
from nnvocab.attention.attention_layer import AttentionLayer, read_settings
from nnvocab.attention.axial import AxialAttention, axial_attention, axial_attention_fused
from nnvocab.attention.bidirectional import BidirectionalAttention
from nnvocab.attention.block_sparse import block_layout, block_sparse_attention, layout_density
from nnvocab.attention.cache_comparison import CacheSize, cache_bytes, compare_kv_caches
from nnvocab.attention.causal import CausalAttention, causal_attention, causal_attention_fused
from nnvocab.attention.cross_attention import CrossAttention, cross_attention, cross_attention_fused
from nnvocab.attention.decoupled import DecoupledAttention, decoupled_attention, decoupled_attention_fused
from nnvocab.attention.decoupled_paths import DecoupledPaths
from nnvocab.attention.dilated import DilatedAttention, dilated_attention, dilated_attention_blocked, dilated_mask
from nnvocab.attention.feature_maps import EluPlusOne, LearnedFeatures, RandomFeatures, ReluFeatures, make_feature_map
from nnvocab.attention.flash import flash_attention, flash_attention_fused, flash_traffic, standard_traffic
from nnvocab.attention.global_local import GlobalLocalAttention, global_local_attention, global_local_attention_blocked
from nnvocab.attention.grouped_query import (
    GroupedQueryAttention,
    grouped_query_attention,
    grouped_query_attention_fused,
    pool_heads,
)
from nnvocab.attention.head_importance import head_importance, without_heads
from nnvocab.attention.kv_cache import KVCache, cached_causal_attention, kv_cache_bytes
from nnvocab.attention.learned_positions import LearnedPositions
from nnvocab.attention.linear_attention import (
    LinearAttention,
    linear_attention,
    linear_attention_step,
    linear_attention_summed,
)
from nnvocab.attention.masks import causal_mask, join_masks, padding_mask, positions_mask
from nnvocab.attention.memory import peak_bytes
from nnvocab.attention.multi_head import MultiHeadAttention, multi_head_attention, multi_head_attention_fused
from nnvocab.attention.multi_query import MultiQueryAttention, multi_query_attention, multi_query_attention_fused
from nnvocab.attention.oscillating import (
    OscillatingAttention,
    directed_attention,
    directed_attention_fused,
    direction_mask,
)
from nnvocab.attention.path_gate import PathGate, path_gate
from nnvocab.attention.perceiver import Perceiver, perceiver_scores
from nnvocab.attention.positions import PositionalEncoding, permutation_sensitivity
from nnvocab.attention.pre_norm_block import PreNormBlock, pre_norm_block
from nnvocab.attention.projections import read_with_query
from nnvocab.attention.random_attention import (
    BigBirdAttention,
    bigbird_attention,
    bigbird_attention_blocked,
    bigbird_layout,
    layout_mask,
)
from nnvocab.attention.retention import MultiScaleRetention, decay_mask, retention, retention_chunked, retention_step
from nnvocab.attention.rotary import RotaryEmbedding, rotary_frequencies, rotate_by_position, rotate_by_position_fused
from nnvocab.attention.rotary_attention import RotaryAttention, rotary_attention, rotary_attention_fused
from nnvocab.attention.rules import (
    both,
    causal_rule,
    density,
    dependencies,
    either,
    fixed_rule,
    global_rule,
    layers_to_reach_all,
    random_rule,
    reach,
    rule_mask,
    strided_rule,
    window_rule,
)
from nnvocab.attention.rwkv import ChannelMixing, RWKVBlock, TimeMixing, wkv, wkv_continue, wkv_scan
from nnvocab.attention.scaled_dot_product import (
    attention_weights,
    scaled_dot_product_attention,
    scaled_dot_product_attention_fused,
)
from nnvocab.attention.self_attention import SelfAttention, self_attention, self_attention_fused
from nnvocab.attention.sinusoidal import (
    SinusoidalEncoding,
    shift_matrix,
    sinusoidal_encoding,
    sinusoidal_encoding_fused,
)
from nnvocab.attention.sliding_window import (
    SlidingWindowAttention,
    sliding_window_attention,
    sliding_window_attention_blocked,
)
from nnvocab.attention.sparse import (
    SparseAttention,
    choose_blocks,
    chosen_blocks_attention,
    sparse_attention,
    sparse_attention_blocked,
    sparse_transformer_attention,
)

__all__ = [
    "ALiBi",
    "AttentionLayer",
    "AxialAttention",
    "BidirectionalAttention",
    "BigBirdAttention",
    "CacheSize",
    "CausalAttention",
    "ChannelMixing",
    "CrossAttention",
    "DecoupledAttention",
    "DecoupledPaths",
    "DilatedAttention",
    "EluPlusOne",
    "GlobalLocalAttention",
    "GroupedQueryAttention",
    "KVCache",
    "LearnedFeatures",
    "LearnedPositions",
    "LinearAttention",
    "MultiHeadAttention",
    "MultiQueryAttention",
    "MultiScaleRetention",
    "OscillatingAttention",
    "PathGate",
    "Perceiver",
    "PositionalEncoding",
    "PreNormBlock",
    "RWKVBlock",
    "RandomFeatures",
    "ReluFeatures",
    "RotaryAttention",
    "RotaryEmbedding",
    "SelfAttention",
    "SinusoidalEncoding",
    "SlidingWindowAttention",
    "SparseAttention",
    "TimeMixing",
    "alibi_bias",
    "alibi_bias_fused",
    "alibi_slopes",
    "attention_weights",
    "axial_attention",
    "axial_attention_fused",
    "bigbird_attention",
    "bigbird_attention_blocked",
    "bigbird_layout",
    "block_layout",
    "block_sparse_attention",
    "both",
    "cache_bytes",
    "cached_causal_attention",
    "causal_attention",
    "causal_attention_fused",
    "causal_mask",
    "causal_rule",
    "choose_blocks",
    "chosen_blocks_attention",
    "compare_kv_caches",
    "cross_attention",
    "cross_attention_fused",
    "decay_mask",
    "decoupled_attention",
    "decoupled_attention_fused",
    "density",
    "dependencies",
    "dilated_attention",
    "dilated_attention_blocked",
    "dilated_mask",
    "directed_attention",
    "directed_attention_fused",
    "direction_mask",
    "either",
    "fixed_rule",
    "flash_attention",
    "flash_attention_fused",
    "flash_traffic",
    "global_local_attention",
    "global_local_attention_blocked",
    "global_rule",
    "grouped_query_attention",
    "grouped_query_attention_fused",
    "head_importance",
    "join_masks",
    "kv_cache_bytes",
    "layers_to_reach_all",
    "layout_density",
    "layout_mask",
    "linear_attention",
    "linear_attention_step",
    "linear_attention_summed",
    "make_feature_map",
    "multi_head_attention",
    "multi_head_attention_fused",
    "multi_query_attention",
    "multi_query_attention_fused",
    "padding_mask",
    "path_gate",
    "peak_bytes",
    "perceiver_scores",
    "permutation_sensitivity",
    "pool_heads",
    "positions_mask",
    "pre_norm_block",
    "random_rule",
    "reach",
    "read_settings",
    "read_with_query",
    "retention",
    "retention_chunked",
    "retention_step",
    "rotary_attention",
    "rotary_attention_fused",
    "rotary_frequencies",
    "rotate_by_position",
    "rotate_by_position_fused",
    "rule_mask",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_fused",
    "self_attention",
    "self_attention_fused",
    "shift_matrix",
    "sinusoidal_encoding",
    "sinusoidal_encoding_fused",
    "sliding_window_attention",
    "sliding_window_attention_blocked",
    "sparse_attention",
    "sparse_attention_blocked",
    "sparse_transformer_attention",
    "standard_traffic",
    "strided_rule",
    "window_rule",
    "without_heads",
    "wkv",
    "wkv_continue",
    "wkv_scan",
]
