"""Attention: every position looks at the others and takes what it needs."""

from nnvocab.attention.alibi import ALiBi, alibi_bias, alibi_bias_fused, alibi_slopes
from nnvocab.attention.bidirectional import BidirectionalAttention
from nnvocab.attention.causal import CausalAttention, causal_attention, causal_attention_fused
from nnvocab.attention.cross_attention import CrossAttention, cross_attention, cross_attention_fused
from nnvocab.attention.grouped_query import (
    GroupedQueryAttention,
    grouped_query_attention,
    grouped_query_attention_fused,
    pool_heads,
)
from nnvocab.attention.head_importance import head_importance, without_heads
from nnvocab.attention.kv_cache import KVCache, cached_causal_attention, kv_cache_bytes
from nnvocab.attention.learned_positions import LearnedPositions
from nnvocab.attention.masks import causal_mask, join_masks, padding_mask, positions_mask
from nnvocab.attention.multi_head import MultiHeadAttention, multi_head_attention, multi_head_attention_fused
from nnvocab.attention.multi_query import MultiQueryAttention, multi_query_attention, multi_query_attention_fused
from nnvocab.attention.positions import PositionalEncoding, permutation_sensitivity
from nnvocab.attention.projections import read_with_query
from nnvocab.attention.rotary import RotaryEmbedding, rotary_frequencies, rotate_by_position, rotate_by_position_fused
from nnvocab.attention.rotary_attention import RotaryAttention, rotary_attention, rotary_attention_fused
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

__all__ = [
    "ALiBi",
    "BidirectionalAttention",
    "CausalAttention",
    "CrossAttention",
    "GroupedQueryAttention",
    "KVCache",
    "LearnedPositions",
    "MultiHeadAttention",
    "MultiQueryAttention",
    "PositionalEncoding",
    "RotaryAttention",
    "RotaryEmbedding",
    "SelfAttention",
    "SinusoidalEncoding",
    "alibi_bias",
    "alibi_bias_fused",
    "alibi_slopes",
    "attention_weights",
    "cached_causal_attention",
    "causal_attention",
    "causal_attention_fused",
    "causal_mask",
    "cross_attention",
    "cross_attention_fused",
    "grouped_query_attention",
    "grouped_query_attention_fused",
    "head_importance",
    "join_masks",
    "kv_cache_bytes",
    "multi_head_attention",
    "multi_head_attention_fused",
    "multi_query_attention",
    "multi_query_attention_fused",
    "padding_mask",
    "permutation_sensitivity",
    "pool_heads",
    "positions_mask",
    "read_with_query",
    "rotary_attention",
    "rotary_attention_fused",
    "rotary_frequencies",
    "rotate_by_position",
    "rotate_by_position_fused",
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_fused",
    "self_attention",
    "self_attention_fused",
    "shift_matrix",
    "sinusoidal_encoding",
    "sinusoidal_encoding_fused",
    "without_heads",
]
