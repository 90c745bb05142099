"""Attention that computes only the blocks which a rule leaves open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nnvocab.attention.qkv import check_at_least, check_one_sequence
from nnvocab.attention.rules import Rule

Layout = Sequence[Sequence[int]]


@torch.compiler.disable
def block_layout(rule: Rule, T: int, block_size: int) -> list[list[int]]:
    """List, for each block of queries, the blocks of keys that hold at least one open pair.

    Args:
        rule: who may look at whom.
        T: positions.
        block_size: positions of a block; the last may be shorter.

    Notice:
        Only one row of blocks is looked at a time, so no (T, T) mask is made.
    """
    n, j = -(-T // block_size), np.arange(T)
    layout = []
    for first in range(0, T, block_size):
        i = np.arange(first, min(first + block_size, T))
        open_keys = np.asarray(rule(i[:, None], j[None])).any(axis=0)  # (T,)
        padded = np.pad(open_keys, (0, n * block_size - T))
        layout.append([int(b) for b in padded.reshape(n, block_size).any(axis=1).nonzero()[0]])
    return layout


def check_layout(layout: Layout, T: int, block_size: int) -> int:
    """Return the number of blocks that T positions make; raise an error if the layout does not fit to them."""
    check_at_least(1, block_size=block_size)
    n = -(-T // block_size)
    if len(layout) != n:
        raise ValueError(f"the layout has {len(layout)} rows, but {T} positions make {n} blocks of {block_size}")
    for r, row in enumerate(layout):
        if len(set(row)) < len(row) or not all(0 <= b < n for b in row):
            raise ValueError(
                f"row {r} of the layout is {list(row)}, but must list blocks from 0 to {n - 1}, each at most once"
            )
    return n


def layout_density(layout: Layout) -> float:
    """The share of the blocks that are computed."""
    return sum(len(row) for row in layout) / len(layout) ** 2


def block_sparse_attention(
    q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, block_size: int, rule: Rule | None = None
) -> Tensor:
    """Attend to the listed blocks only; blocks that are not listed are never read.

    Args:
        q, k, v: queries, keys and values.
        layout: for each block of queries, the blocks of keys that it sees.
        block_size: positions of a block.
        rule: who may look at whom inside the listed blocks; everybody at everybody if not given.

    Shapes:
        q, k: (B, H, T, D); v: (B, H, T, E). Returns (B, H, T, E).
    """
    check_one_sequence(q, k, v)
    B, _, T, _ = q.shape
    n = check_layout(layout, T, block_size)
    pad = n * block_size - T
    if pad:
        q, k, v = (F.pad(t, (0, 0, 0, pad)) for t in (q, k, v))
    q, k, v = (t.unflatten(2, (n, block_size)) for t in (q, k, v))  # (B, H, n, b, D)
    y = q.new_zeros(*q.shape[:-1], v.shape[-1])
    offset = torch.arange(block_size, device=q.device)
    for m in sorted({len(row) for row in layout} - {0}):  # rows of blocks that see equally many are done at once
        rows = [r for r, row in enumerate(layout) if len(row) == m]
        at = torch.tensor(rows, device=q.device)  # (r,)
        columns = torch.tensor([list(layout[r]) for r in rows], device=q.device)  # (r, m)
        q_r = q.index_select(2, at).transpose(1, 2).flatten(0, 1)  # (B, H, r, b, D) -> (B*r, H, b, D)
        k_r, v_r = (
            t.index_select(2, columns.flatten()).unflatten(2, columns.shape).flatten(3, 4).transpose(1, 2).flatten(0, 1)
            for t in (k, v)
        )  # (B, H, r, m, b, D) -> (B*r, H, m*b, D)
        mask = None
        if rule is not None or pad:
            i = (at.unsqueeze(1) * block_size + offset).unsqueeze(-1)  # (r, b, 1)
            j = (columns.unsqueeze(-1) * block_size + offset).flatten(1).unsqueeze(1)  # (r, 1, m*b)
            seen = (j < T).expand(-1, block_size, -1)
            seen = seen if rule is None else seen & rule(i.clamp(max=T - 1), j.clamp(max=T - 1))
            mask = seen.unsqueeze(1).repeat(B, 1, 1, 1)  # (B*r, 1, b, m*b)
        y_r = F.scaled_dot_product_attention(q_r, k_r, v_r, attn_mask=mask)
        y = y.index_copy(2, at, y_r.unflatten(0, (B, len(rows))).transpose(1, 2))
    return y.flatten(2, 3).narrow(2, 0, T)
