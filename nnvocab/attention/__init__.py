"""Attention: every position looks at the others and takes what it needs."""

from nnvocab.attention.grouped_query import GroupedQueryAttention

__all__ = ["GroupedQueryAttention"]
