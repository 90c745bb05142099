"""FlashAttention: exact attention, tile by tile, that never stores the (T, S) weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nnvocab.attention.heads import check_dropout
from nnvocab.attention.qkv import check_at_least
from nnvocab.attention.scaled_dot_product import check_attention, scaled_dot_product_attention_fused
from nnvocab.vocabulary import Example, entry


def tile_keeps(seed: Tensor, shape: tuple[int, ...], rows: range, columns: range, dropout: float) -> Tensor:
    """Say which weights of a tile dropout keeps: a hash of the seed and of the weight's place, so it can be made again.

    Args:
        seed: an integer, ().
        shape: the shape (..., T, S) of all the weights.
        rows, columns: where the tile stands in it.
        dropout: probability with which a weight is dropped.

    Shapes:
        Returns (..., rows, columns) of booleans.
    """
    *lead, T, S = shape
    device, low = seed.device, 0xFFFFFFFF  # all arithmetic in 32 bits, inside 64
    first = torch.arange(torch.Size(lead).numel(), device=device).view(*lead, 1, 1)
    i = torch.arange(rows.start, rows.stop, device=device).unsqueeze(1)
    j = torch.arange(columns.start, columns.stop, device=device)
    x = ((first * T + i) * S + j) & low
    for extra in (seed, 0, 0):
        x = (((x ^ (x >> 16)) * 0x45D9F3B) & low) ^ extra
    return (x ^ (x >> 16)) >= dropout * 2.0**32


def visible(s: Tensor, i: int, j: int, ahead: int) -> Tensor:
    """Hide, in the tile of scores whose corner is (i, j), the keys after their query."""
    rows, columns = (torch.arange(n, device=s.device) for n in s.shape[-2:])
    return s.masked_fill(columns + j > rows.unsqueeze(1) + i + ahead, float("-inf"))


def tiles(t: Tensor, size: int, dtype: torch.dtype) -> list[tuple[int, Tensor]]:
    """Cut (..., T, D) into tiles of rows, each with the place of its first row."""
    return [(n * size, tile.to(dtype)) for n, tile in enumerate(t.split(size, dim=-2))]


def spot(start: int, tile: Tensor) -> range:
    """Where the rows of a tile stand."""
    return range(start, start + tile.shape[-2])


def flash_forward(
    q: Tensor, k: Tensor, v: Tensor, block_size: int, causal: bool, dropout: float, seed: Tensor
) -> tuple[Tensor, Tensor]:
    """The forward pass in tiles: the output (..., T, E), and for each row the log of its sum of exponentials (..., T)."""
    S, D, ahead = k.shape[-2], q.shape[-1], k.shape[-2] - q.shape[-2]
    wide = torch.promote_types(q.dtype, torch.float32)  # sums are kept in float32 at least
    rows_y, rows_lse = [], []
    for i, q_i in tiles(q, block_size, wide):
        m = q_i.new_full((*q_i.shape[:-1], 1), float("-inf"))  # largest score so far
        total = torch.zeros_like(m)  # sum of exp(score - m) so far
        y = q_i.new_zeros((*q_i.shape[:-1], v.shape[-1]))
        for (j, k_j), (_, v_j) in zip(tiles(k, block_size, wide), tiles(v, block_size, wide), strict=True):
            if causal and j > i + q_i.shape[-2] - 1 + ahead:
                break  # every key of this tile, and of those behind it, comes later
            s = q_i @ k_j.transpose(-2, -1) * D**-0.5  # (..., rows, columns): the only scores there are
            s = visible(s, i, j, ahead) if causal else s
            m_new = torch.maximum(m, s.amax(dim=-1, keepdim=True))
            p, shrink = torch.exp(s - m_new), torch.exp(m - m_new)
            total = shrink * total + p.sum(dim=-1, keepdim=True)
            if dropout:
                p = p * tile_keeps(seed, (*q.shape[:-1], S), spot(i, q_i), spot(j, k_j), dropout) / (1 - dropout)
            y = shrink * y + p @ v_j
            m = m_new
        rows_y.append((y / total).to(q.dtype))
        rows_lse.append((m + total.log()).squeeze(-1))
    return torch.cat(rows_y, dim=-2), torch.cat(rows_lse, dim=-1)


def flash_backward(
    dy: Tensor, saved: tuple[Tensor, ...], block_size: int, causal: bool, dropout: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The backward pass in tiles: the weights are computed again from q, k and the log-sum-exp."""
    q, k, v, y, lse, seed = saved
    S, D, ahead = k.shape[-2], q.shape[-1], k.shape[-2] - q.shape[-2]
    wide = lse.dtype
    dq, dk, dv = (torch.zeros_like(t, dtype=wide) for t in (q, k, v))
    delta = (dy.to(wide) * y.to(wide)).sum(dim=-1, keepdim=True)  # (..., T, 1)
    of_queries = [tiles(t, block_size, wide) for t in (q, dy, dq, lse.unsqueeze(-1), delta)]
    of_keys = [tiles(t, block_size, wide) for t in (k, v, dk, dv)]
    for (j, k_j), (_, v_j), (_, dk_j), (_, dv_j) in zip(*of_keys, strict=True):
        for (i, q_i), (_, dy_i), (_, dq_i), (_, lse_i), (_, delta_i) in zip(*of_queries, strict=True):
            if causal and j > i + q_i.shape[-2] - 1 + ahead:
                continue
            s = q_i @ k_j.transpose(-2, -1) * D**-0.5
            s = visible(s, i, j, ahead) if causal else s
            p = torch.exp(s - lse_i)  # the weights of this tile, once more
            kept: Tensor | float = 1.0
            if dropout:
                kept = tile_keeps(seed, (*q.shape[:-1], S), spot(i, q_i), spot(j, k_j), dropout) / (1 - dropout)
            ds = p * (dy_i @ v_j.transpose(-2, -1) * kept - delta_i) * D**-0.5
            dv_j += (p * kept).transpose(-2, -1) @ dy_i  # in place: into its rows of dv
            dq_i += ds @ k_j
            dk_j += ds.transpose(-2, -1) @ q_i
    return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype)


class _Flash(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, block_size: int, causal: bool, dropout: float, seed: Tensor
    ) -> Tensor:
        y, lse = flash_forward(q, k, v, block_size, causal, dropout, seed)
        ctx.save_for_backward(q, k, v, y, lse, seed)
        ctx.options = block_size, causal, dropout
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return *flash_backward(dy, ctx.saved_tensors, *ctx.options), None, None, None, None


@entry(
    name="FlashAttention",
    aliases=("IO-aware attention", "tiled attention", "online softmax"),
    page="tiles",
    kind="algorithm",
    ids=("flash_attention",),
    paper="dao2022flashattention",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=lambda: Example(
        lambda q, k, v: flash_attention(q, k, v, block_size=2, causal=True), tuple(torch.randn(3, 2, 2, 5, 4).unbind())
    ),
    related=("Scaled dot-product attention", "Causal attention", "Sliding window attention"),
)
def flash_attention(
    q: Tensor, k: Tensor, v: Tensor, *, block_size: int = 64, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    r"""Compute exact softmax attention tile by tile, keeping of each row its maximum, its sum and its output so far.

    .. math::
        m' = \max(m, \max_j s_j), \quad
        \ell' = e^{m - m'}\ell + \sum_j e^{s_j - m'}, \quad
        y' = e^{m - m'} y + \sum_j e^{s_j - m'} v_j, \qquad \text{at the end } y / \ell

    where :math:`s_j = q^{\top} k_j / \sqrt{D}` are the scores of one query in one tile of keys, :math:`m` is the
    largest score so far, :math:`\ell` the sum of exponentials, and :math:`y` the values summed.

    Args:
        q: queries.
        k: keys.
        v: values.
        block_size: rows and columns of a tile.
        causal: let the last T of S positions see no key after their own; tiles that lie after are skipped.
        dropout: probability with which a weight is set to 0 (torch's ``dropout_p``); always applied, so pass 0 when
            the model is not training. Seed it with ``torch.manual_seed``.

    Shapes:
        q: (..., T, D); k: (..., S, D); v: (..., S, E), all with the same leading axes. Returns (..., T, E).

    Notice:
        It is no approximation: the result is that of the plain equation. The memory beyond the output is O(T), the
        work is what it was. For the backward pass only :math:`m + \log \ell` is kept, and the weights of a tile are
        computed again from it. It has no second derivative.

    Raises:
        ValueError: if shapes do not fit, there are fewer keys than queries in the causal case, the block is
            empty or dropout is no probability.

    Source: Dao et al. 2022, algorithm 1 and appendix B; the loop over queries outside is that of Dao 2024, section 3.1.

    >>> q = torch.randn(1, 8, 100, 16)
    >>> tiled, whole = flash_attention(q, q, q, block_size=32), torch.softmax(q @ q.mT / 4, dim=-1) @ q
    >>> torch.allclose(tiled, whole, atol=1e-5)
    True
    """
    check_attention(q, k, v)
    check_at_least(1, block_size=block_size)
    if q.shape[:-2] != k.shape[:-2] or q.shape[:-2] != v.shape[:-2]:
        raise ValueError(
            f"q, k and v have leading axes {tuple(q.shape[:-2])}, {tuple(k.shape[:-2])} and {tuple(v.shape[:-2])}, but "
            f"need equal ones; repeat_interleave key/value heads that are shared"
        )
    if causal and k.shape[-2] < q.shape[-2]:
        raise ValueError(
            f"there are {q.shape[-2]} queries and {k.shape[-2]} keys; causal, every query needs its own key"
        )
    seed = torch.randint(2**31, (), device=q.device) if check_dropout(dropout) else q.new_zeros((), dtype=torch.long)
    return _Flash.apply(q, k, v, block_size, causal, dropout, seed)


def flash_attention_fused(
    q: Tensor, k: Tensor, v: Tensor, *, block_size: int = 64, causal: bool = False, dropout: float = 0.0
) -> Tensor:
    """The same function by torch's own fused kernel, which chooses its tiles itself: ``block_size`` changes nothing."""
    check_at_least(1, block_size=block_size)
    return scaled_dot_product_attention_fused(q, k, v, causal=causal, dropout=check_dropout(dropout))


def standard_traffic(T: int, D: int) -> int:
    """Count the numbers that move to and from slow memory when one head computes attention step by step.

    Read q and k, write the scores, read them, write the weights, read them and v, write y.
    """
    return 4 * T * D + 4 * T * T


def flash_traffic(T: int, D: int, *, block_size: int, causal: bool = False) -> int:
    """Count the numbers that move to and from slow memory when one head runs ``flash_attention``, forward.

    Every tile of queries is read once, and for each of them the keys and values of all tiles that it sees; the output
    and one number a row are written.
    """
    check_at_least(1, block_size=block_size)
    moved = 0
    for i in range(0, T, block_size):
        rows = min(block_size, T - i)
        seen = min(T, -(-(i + rows) // block_size) * block_size) if causal else T  # whole tiles of keys
        moved += rows * D + 2 * seen * D + rows * D + rows
    return moved
