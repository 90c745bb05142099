"""Decoupled bottleneck attention: one narrow path scores what words mean, another where they stand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.attention.decoupled_paths import DecoupledPaths
from nnvocab.attention.heads import attend, check_dropout, check_sequence, merge_heads, split_heads
from nnvocab.attention.kv_cache import KVCache
from nnvocab.attention.path_gate import PathGate
from nnvocab.attention.rotary import rotate_by_position, rotate_by_position_fused
from nnvocab.attention.scaled_dot_product import check_attention, scaled_dot_product_attention_fused
from nnvocab.vocabulary import Example, entry


def check_paths(q_sem: Tensor, k_sem: Tensor, q_geo: Tensor, k_geo: Tensor, v: Tensor, gate: Tensor | None) -> None:
    """Raise an error unless the heads of both paths fit to each other and to the gate."""
    for q, k in ((q_sem, k_sem), (q_geo, k_geo)):
        check_attention(q, k, v)
    if q_sem.shape[:-1] != q_geo.shape[:-1] or (gate is not None and gate.shape != q_sem.shape[:-1]):
        raise ValueError(
            f"q_sem, q_geo and gate have shapes {tuple(q_sem.shape)}, {tuple(q_geo.shape)} and "
            f"{None if gate is None else tuple(gate.shape)}, but need the same (batch, heads, positions)"
        )


def decoupled_attention(
    q_sem: Tensor,
    k_sem: Tensor,
    q_geo: Tensor,
    k_geo: Tensor,
    v: Tensor,
    theta: Tensor,
    *,
    gate: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    r"""Score content and position apart, add the scores, and apply one softmax.

    .. math::
        y_h = \operatorname{softmax}\!\left(2g_h\frac{q^s_h {k^s_h}^{\top}}{\sqrt{D_s}}
        + (2 - 2g_h)\frac{(R q^g_h)(R k^g_h)^{\top}}{\sqrt{D_g}} + M\right) v_h

    where :math:`R` turns by position, and :math:`M` is 0, or :math:`-\infty` above the diagonal if ``causal``.

    Args:
        q_sem, k_sem: queries and keys of the semantic path, which knows no position.
        q_geo, k_geo: queries and keys of the geometric path, which are turned by their positions.
        v: values.
        theta: angle from one position to the next, for each pair of columns of the geometric path.
        gate: weight g of the semantic path; one half, which leaves both scores as they are, if not given.
        causal: let position t see positions up to t only.

    Shapes:
        q_sem and k_sem: (B, H, T, Ds); q_geo and k_geo: (B, H, T, Dg); v: (B, H, T, E); theta: (Dg / 2,);
        gate: (B, H, T). Returns (B, H, T, E).
    """
    check_paths(q_sem, k_sem, q_geo, k_geo, v, gate)
    positions = torch.arange(q_geo.shape[-2], device=q_geo.device)
    q_geo, k_geo = (rotate_by_position(t, positions, theta) for t in (q_geo, k_geo))
    semantic = q_sem @ k_sem.mT / q_sem.shape[-1] ** 0.5  # (B, H, T, T)
    geometric = q_geo @ k_geo.mT / q_geo.shape[-1] ** 0.5
    if gate is not None:
        semantic, geometric = 2 * gate.unsqueeze(-1) * semantic, (2 - 2 * gate.unsqueeze(-1)) * geometric
    scores = semantic + geometric
    if causal:
        T = scores.shape[-1]
        future = torch.ones(T, T, dtype=torch.bool, device=scores.device).triu(diagonal=1)
        scores = scores.masked_fill(future, float("-inf"))
    return scores.softmax(dim=-1) @ v


def decoupled_attention_fused(
    q_sem: Tensor,
    k_sem: Tensor,
    q_geo: Tensor,
    k_geo: Tensor,
    v: Tensor,
    theta: Tensor,
    *,
    gate: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """The same function: put side by side, the two paths are one dot product, and the fused kernel takes it."""
    check_paths(q_sem, k_sem, q_geo, k_geo, v, gate)
    positions = torch.arange(q_geo.shape[-2], device=q_geo.device)
    q_geo, k_geo = (rotate_by_position_fused(t, positions, theta) for t in (q_geo, k_geo))
    q_sem, q_geo = q_sem / q_sem.shape[-1] ** 0.5, q_geo / q_geo.shape[-1] ** 0.5
    if gate is not None:
        q_sem, q_geo = q_sem * (2 * gate).unsqueeze(-1), q_geo * (2 - 2 * gate).unsqueeze(-1)
    q, k = torch.cat([q_sem, q_geo], dim=-1), torch.cat([k_sem, k_geo], dim=-1)  # (B, H, T, Ds + Dg)
    return scaled_dot_product_attention_fused(q, k, v, causal=causal, scale=1.0)


def _example() -> Example:
    paths = DecoupledPaths(16, num_heads=4, sem_dim=8, geo_dim=16, num_kv_heads=2, gate=PathGate(4, 16))
    return Example(DecoupledAttention(paths, null_token=True, causal=True), (torch.randn(2, 5, 16),))


@entry(
    name="Decoupled bottleneck attention",
    aliases=("DBA", "Decoupled bottleneck attention mode", "mode decoupled", "sem_dim", "geo_dim"),
    ids=("caramba_dba",),
    page="decoupled",
    evidence="speculative",
    example=_example,
    related=("Semantic and geometric gate", "Rotary positional embedding", "Grouped-query attention", "KV cache"),
)
class DecoupledAttention(nn.Module):
    r"""Attention whose scores are the sum of a narrow content path and a narrow position path.

    .. math::
        y_h = \operatorname{softmax}\!\left(\frac{q^s_h {k^s_h}^{\top}}{\sqrt{D_s}}
        + \frac{(R q^g_h)(R k^g_h)^{\top}}{\sqrt{D_g}}\right) v_h

    where :math:`q^s, k^s` are queries and keys of the semantic path, :math:`q^g, k^g` of the geometric path,
    :math:`R` turns by position, and :math:`v_h` are values of their own width.

    Args:
        paths: the projections to queries and keys, with their widths, key/value heads, rotation and gate.
        v_dim: width of the values of all query heads together; that of the input if not given.
        null_token: add one learned key and value that every query may look at, so that a head can look at nothing.
        causal: let position t see positions up to t only.
        dropout: probability with which a weight is set to 0 while training.

    Shapes:
        x: (B, T, C). Returns (B, T, C); with ``need_weights`` also the weights (B, H, T, S), whose first column is
        the null token's if there is one. key_padding_mask: (B, S), True marks padding.

    Notice:
        Both paths share one softmax, so only relative sizes matter. The cache holds the keys of both paths and the
        values: narrow paths shrink the keys only, and ``v_dim`` decides about the rest. The null token has content
        and no place: its geometric key is 0. Query t sees it and positions 0 to t, itself included.

    Raises:
        ValueError: if heads do not divide ``v_dim``, or inputs, masks and cache do not fit.

    Source: no canonical paper. The nearest relative is the decoupled rotary key of multi-head latent attention
    (DeepSeek-AI 2024, section 2.1.3), which is shared by all heads and stands beside a compressed cache.

    >>> paths = DecoupledPaths(64, num_heads=4, sem_dim=16, geo_dim=32)
    >>> DecoupledAttention(paths, v_dim=32, causal=True)(torch.zeros(1, 10, 64)).shape
    torch.Size([1, 10, 64])
    """

    def __init__(
        self,
        paths: DecoupledPaths,
        *,
        v_dim: int | None = None,
        null_token: bool = False,
        causal: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        C, H, G = paths.embed_dim, paths.num_heads, paths.num_kv_heads
        v_dim = C if v_dim is None else v_dim
        if v_dim < 1 or v_dim % H:
            raise ValueError(
                f"v_dim {v_dim} is not a multiple of num_heads {H}: every head's value gets an equal share"
            )
        self.paths, self.causal, self.dropout, self.value_dim = paths, causal, check_dropout(dropout), v_dim // H
        self.v = nn.Linear(C, G * self.value_dim, bias=False)
        self.out = nn.Linear(v_dim, C, bias=False)
        self.null_key = nn.Parameter(0.02 * torch.randn(G, paths.sem_head)) if null_token else None
        self.null_value = nn.Parameter(0.02 * torch.randn(G, self.value_dim)) if null_token else None

    def new_cache(self, batch_size: int, max_len: int, *, sliding: bool = False) -> KVCache:
        """Make an empty cache that fits this layer; the null token is a weight and takes no place in it."""
        like, key_dim = self.v.weight, self.paths.sem_head + self.paths.geo_head
        return KVCache(
            batch_size, self.paths.num_kv_heads, max_len, key_dim, sliding=sliding, value_dim=self.value_dim,
            dtype=like.dtype, device=like.device,
        )  # fmt: skip

    def null(self, batch_size: int) -> tuple[Tensor, Tensor] | None:
        """The null token's key and value in each row, (B, G, 1, D) and (B, G, 1, E); None if there is none."""
        if self.null_key is None:
            return None
        key = F.pad(self.null_key, (0, self.paths.geo_head))  # (G, D): content and no place
        return tuple(t.unsqueeze(1).expand(batch_size, -1, 1, -1) for t in (key, self.null_value))

    def forward(
        self,
        x: Tensor,
        *,
        key_padding_mask: Tensor | None = None,
        cache: KVCache | None = None,
        need_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        check_sequence(x, self.paths.embed_dim)
        before = 0 if cache is None else cache.seen
        q, k = self.paths(x, offset=before)  # (B, H, T, D), (B, G, T, D)
        v = split_heads(self.v(x), self.paths.num_kv_heads)  # (B, G, T, E)
        y, weights = attend(
            q, k, v, causal=self.causal, key_padding_mask=key_padding_mask, cache=cache, first=self.null(len(x)),
            dropout=self.dropout if self.training else 0.0, need_weights=need_weights,
        )  # fmt: skip
        y = self.out(merge_heads(y))  # (B, T, H*E) -> (B, T, C)
        return (y, weights) if need_weights else y
