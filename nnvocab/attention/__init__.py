"""Attention: every position looks at the others and takes what it needs."""

from nnvocab.attention.bidirectional import BidirectionalAttention
from nnvocab.attention.causal import CausalAttention, causal_attention, causal_attention_fused
from nnvocab.attention.cross_attention import CrossAttention, cross_attention, cross_attention_fused
from nnvocab.attention.grouped_query import (
    GroupedQueryAttention,
    grouped_query_attention,
    grouped_query_attention_fused,
    pool_heads,
)
from nnvocab.attention.kv_cache import KVCache, cached_causal_attention, kv_cache_bytes
from nnvocab.attention.masks import causal_mask, join_masks, padding_mask, positions_mask
from nnvocab.attention.multi_head import MultiHeadAttention, multi_head_attention, multi_head_attention_fused
from nnvocab.attention.multi_query import MultiQueryAttention, multi_query_attention, multi_query_attention_fused
from nnvocab.attention.positions import PositionalEncoding, permutation_sensitivity
from nnvocab.attention.scaled_dot_product import (
    attention_weights,
    scaled_dot_product_attention,
    scaled_dot_product_attention_fused,
)
from nnvocab.attention.self_attention import SelfAttention, self_attention, self_attention_fused

__all__ = [
    "BidirectionalAttention",
    "CausalAttention",
    "CrossAttention",
    "GroupedQueryAttention",
    "KVCache",
    "MultiHeadAttention",
    "MultiQueryAttention",
    "PositionalEncoding",
    "SelfAttention",
    "attention_weights",
    "cached_causal_attention",
    "causal_attention",
    "causal_attention_fused",
    "causal_mask",
    "cross_attention",
    "cross_attention_fused",
    "grouped_query_attention",
    "grouped_query_attention_fused",
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
    "scaled_dot_product_attention",
    "scaled_dot_product_attention_fused",
    "self_attention",
    "self_attention_fused",
]
