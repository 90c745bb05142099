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
    LinearAttention,
    MultiHeadAttention,
    MultiQueryAttention,
    MultiScaleRetention,
    PreNormBlock,
    RotaryEmbedding,
    attention_weights,
    rule_mask,
    scaled_dot_product_attention_fused,
    sliding_window_attention_blocked,
    window_rule,
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


class _GatedFeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


def _block() -> list[Case]:
    """A pre-norm block beside Llama's, with the same kernels of attention: its own cosines and sines are made outside."""
    try:
        from transformers.models.llama import modeling_llama as llama
    except ImportError:
        return []
    hidden, x = 1376, torch.randn(B, T, C, requires_grad=True)
    config = llama.LlamaConfig(
        hidden_size=C,
        intermediate_size=hidden,
        num_attention_heads=H,
        num_key_value_heads=H,
        attn_implementation="sdpa",
    )
    theirs, places = llama.LlamaDecoderLayer(config, 0), llama.LlamaRotaryEmbedding(config)(x, torch.arange(T)[None])
    rope = RotaryEmbedding(C // H, layout="half")
    attention = MultiHeadAttention(C, H, positions=rope, bias=False, causal=True)
    ours = PreNormBlock(C, attention, _GatedFeedForward(C, hidden))
    return [
        Case(
            f"block: {B} x {T}, width {C}, {H} heads, {hidden} hidden",
            "Pre-norm attention block",
            "transformers LlamaDecoderLayer",
            lambda: ours(x),
            lambda: theirs(x, position_embeddings=places),
        )
    ]


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
    rows += _block()
    rows += _long_cases()
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


def _long_cases() -> list[Case]:
    """Long sequences: a window in blocks beside a mask, and layers in linear time beside peers."""
    long, window = 4096, 128
    q, k, v = (torch.randn(1, H, long, C // H, requires_grad=True) for _ in range(3))
    mask = rule_mask(window_rule(window), long)
    theirs = f"torch scaled_dot_product_attention with a mask {torch.__version__}"
    rows = [
        Case(
            f"sliding window of {window}: 1 x {H} x {long} x {C // H}",
            "Sliding window attention",
            theirs,
            lambda: sliding_window_attention_blocked(q, k, v, window_size=window),
            lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
            runs=6,
            goal=0.33,
        )
    ]
    x, linear, full = (
        torch.randn(1, long, C, requires_grad=True),
        LinearAttention(C, H, causal=True),
        CausalAttention(C, H),
    )
    rows.append(
        Case(
            f"linear, causal: 1 x {long}, width {C}, {H} heads",
            "Linear attention",
            f"torch scaled_dot_product_attention, causal {torch.__version__}",
            lambda: linear(x),
            lambda: full(x),
            runs=6,
            goal=1.0,
        )
    )
    try:
        from yet_another_retnet.retention import MultiScaleRetention as Peer
    except ImportError:
        return rows
    short = torch.randn(B, 1024, C, requires_grad=True)
    ours, peer = MultiScaleRetention(C, H, bias=True), Peer(C, H)
    rows.append(
        Case(
            f"retention: {B} x 1024, width {C}, {H} heads",
            "Retentive network",
            "yet-another-retnet",
            lambda: ours(short),
            lambda: peer(short, short, short)[0],
            runs=6,
        )
    )
    return rows
