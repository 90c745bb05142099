"""The attention chapter beside torch: the same widths, the same number of heads, weights not returned."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from bench import Case
from torch import Tensor, nn

from nnvocab.attention import (
    CausalAttention,
    CrossAttention,
    GroupedQueryAttention,
    MultiHeadAttention,
    MultiQueryAttention,
    RotaryEmbedding,
    attention_weights,
    scaled_dot_product_attention_fused,
)

TORCH = f"torch.nn.MultiheadAttention {torch.__version__}"
B, T, C, H = 4, 256, 512, 8


def _theirs(**kwargs: int) -> Callable[..., Tensor]:
    layer = nn.MultiheadAttention(C, H, batch_first=True, **kwargs)

    def call(x: Tensor, memory: Tensor | None = None) -> Tensor:
        memory = x if memory is None else memory
        return layer(x, memory, memory, need_weights=False)[0]

    return call


def _causal_theirs() -> Callable[[Tensor], Tensor]:
    layer, mask = nn.MultiheadAttention(C, H, batch_first=True), nn.Transformer.generate_square_subsequent_mask(T)

    def call(x: Tensor) -> Tensor:
        return layer(x, x, x, need_weights=False, attn_mask=mask, is_causal=True)[0]

    return call


def cases() -> list[Case]:
    """Layers of the chapter beside torch's one layer, at equal width."""
    torch.manual_seed(0)
    x, memory = torch.randn(B, T, C, requires_grad=True), torch.randn(B, T, C // 2)
    size = f"{B} x {T}, width {C}, {H} heads"
    layers: list[tuple[str, str, nn.Module, Callable[[Tensor], Tensor], float]] = [
        ("Multi-head attention", "multi-head", MultiHeadAttention(C, H), _theirs(), 1.05),
        ("Grouped-query attention", "2 key/value heads", GroupedQueryAttention(C, H, 2), _theirs(), 1.0),
        ("Multi-query attention", "1 key/value head", MultiQueryAttention(C, H), _theirs(), 1.0),
        ("Causal attention", "causal", CausalAttention(C, H), _causal_theirs(), 1.05),
    ]
    rows = [
        Case(f"{label}: {size}", entry, TORCH, lambda o=ours: o(x), lambda p=theirs: p(x), goal=goal)
        for entry, label, ours, theirs, goal in layers
    ]
    cross, cross_theirs = CrossAttention(C, H, kdim=C // 2), _theirs(kdim=C // 2, vdim=C // 2)
    rows.append(
        Case(
            f"cross: {size}, memory of width {C // 2}",
            "Cross-attention",
            TORCH,
            lambda: cross(x, memory),
            lambda: cross_theirs(x, memory),
        )
    )
    q, k, v = (torch.randn(B, H, T, C // H, requires_grad=True) for _ in range(3))
    rows.append(
        Case(
            f"function: {B} x {H} x {T} x {C // H}",
            "Scaled dot-product attention",
            f"torch scaled_dot_product_attention {torch.__version__}",
            lambda: scaled_dot_product_attention_fused(q, k, v),
            lambda: F.scaled_dot_product_attention(q, k, v),
            runs=60,
        )
    )
    rows.append(
        Case(
            f"weights returned: {B} x {H} x {T} x {C // H}",
            "Scaled dot-product attention",
            f"torch matmul and softmax {torch.__version__}",
            lambda: attention_weights(q, k) @ v,
            lambda: torch.softmax(q @ k.mT * (C // H) ** -0.5, dim=-1) @ v,
            runs=60,
        )
    )
    try:
        from rotary_embedding_torch import RotaryEmbedding as Peer
    except ImportError:
        return rows
    ours, theirs = RotaryEmbedding(C // H), Peer(C // H)
    rows.append(
        Case(
            f"rotation: {B} x {H} x {T} x {C // H}",
            "Rotary positional embedding",
            "rotary-embedding-torch",
            lambda: ours(q),
            lambda: theirs.rotate_queries_or_keys(q),
            goal=1.0,
        )
    )
    return rows
