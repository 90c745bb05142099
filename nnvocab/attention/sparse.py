"""Sparse attention: a rule says who looks at whom, and blocks that it leaves closed are never computed."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from nnvocab.attention.block_sparse import block_layout, block_sparse_attention, layout_density
from nnvocab.attention.qkv import HeadProjections, check_at_least, check_one_sequence
from nnvocab.attention.rules import Rule, density, rule_mask, window_rule
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention
from nnvocab.attention.sliding_window import neighbours
from nnvocab.vocabulary import Example, entry


def sparse_attention(q: Tensor, k: Tensor, v: Tensor, *, rule: Rule, block_size: int = 64) -> Tensor:
    r"""Attend where a rule allows it, as the equation is written: all scores, and a mask over them.

    .. math::
        y_i = \operatorname{softmax}\left(\frac{q_i^{\top} k_{S(i)}}{\sqrt D}\right) v_{S(i)},
        \qquad S(i) = \{j : \text{rule}(i, j)\}

    Args:
        q, k, v: queries, keys and values.
        rule: may the query at i look at the key at j?
        block_size: not used here; it is an argument of the form that skips blocks.

    Shapes:
        q, k: (B, H, T, D); v: (B, H, T, E). Returns (B, H, T, E).
    """
    check_one_sequence(q, k, v)
    return scaled_dot_product_attention(q, k, v, mask=rule_mask(rule, q.shape[2], device=q.device))


def sparse_attention_blocked(q: Tensor, k: Tensor, v: Tensor, *, rule: Rule, block_size: int = 64) -> Tensor:
    """The same function: only blocks with an open pair are computed."""
    check_one_sequence(q, k, v)
    layout = _layout(rule, q.shape[2], block_size)
    return block_sparse_attention(q, k, v, layout, block_size=block_size, rule=rule)


@torch.compiler.disable
@lru_cache(maxsize=64)
def _layout(rule: Rule, T: int, block_size: int) -> list[list[int]]:
    return block_layout(rule, T, block_size)


def sparse_transformer_attention(q: Tensor, k: Tensor, v: Tensor, *, stride: int, summary: int = 0) -> Tensor:
    """Compute the strided pattern (``summary=0``) or the fixed one, both causal, with O(T (stride + T / stride)) scores.

    Blocks would not help the strided pattern, whose open pairs lie on diagonals through all of them. So the
    positions are laid out as rows of ``stride``: what is near lies in the own row and the one before, and what is a
    multiple of the stride away lies in the same column.

    Args:
        q, k, v: queries, keys and values.
        stride: the stride l.
        summary: 0 for the strided pattern; else the last cells of each row that all later rows see (fixed pattern).

    Shapes:
        q, k: (B, H, T, D); v: (B, H, T, E), T a multiple of l. Returns (B, H, T, E).

    Source: Child et al. 2019, section 4.3.
    """
    check_one_sequence(q, k, v)
    T, D = q.shape[2:]
    if stride < 1 or T % stride:
        raise ValueError(f"{T} positions do not make rows of stride {stride}: pad to a multiple of the stride")
    if not 0 <= summary <= stride:
        raise ValueError(f"summary is {summary}, but a row of {stride} positions has from 0 to {stride} summary cells")
    n, back = T // stride, 0 if summary else stride - 1
    q_n, k_n, v_n = (t.unflatten(2, (n, stride)) for t in (q * D**-0.5, k, v))  # (B, H, n, l, D)
    near_k, near_v = (neighbours(t, stride, back, 0) for t in (k, v))  # (B, H, n, back + l, D)
    near = q_n @ near_k.transpose(-2, -1)  # (B, H, n, l, back + l)
    i = torch.arange(T, device=q.device).view(n, stride, 1)
    j = torch.arange(n, device=q.device).view(n, 1, 1) * stride - back + torch.arange(stride + back, device=q.device)
    near = near.masked_fill(~((j <= i) & (j >= 0) & (i - j < stride)), float("-inf"))
    rows = torch.arange(n, device=q.device)
    later = rows >= rows.unsqueeze(1)  # (n, n): only rows before the own one are far
    if summary:
        far_k, far_v = (t[:, :, :, -summary:].flatten(2, 3) for t in (k_n, v_n))  # (B, H, n*c, D)
        far = torch.einsum("bhnld,bhmd->bhnlm", q_n, far_k)  # (B, H, n, l, n*c)
        later = later.repeat_interleave(summary, dim=1)
    else:
        far = torch.einsum("bhnld,bhmld->bhnlm", q_n, k_n)  # (B, H, n, l, n): the same column of every row
    far = far.masked_fill(later.unsqueeze(1), float("-inf"))
    near_w, far_w = torch.cat([near, far], dim=-1).softmax(dim=-1).split([near.shape[-1], far.shape[-1]], dim=-1)
    mix = "bhnlm,bhme->bhnle" if summary else "bhnlm,bhmle->bhnle"
    y = near_w @ near_v + torch.einsum(mix, far_w, far_v if summary else v_n)
    return y.flatten(2, 3)


def choose_blocks(q: Tensor, k: Tensor, *, block_size: int, keep: int, causal: bool = False) -> Tensor:
    """Let the data choose: for each block of queries, the ``keep`` blocks of keys whose mean agrees best with its mean.

    Args:
        q, k: queries and keys.
        block_size: positions of a block, which must divide T.
        keep: blocks that are kept.
        causal: no later block; the own block is always kept.

    Shapes:
        q, k: (B, H, T, D). Returns booleans (B, H, n, n) with n = T / block_size.

    Notice:
        What is chosen is learned through q and k; the choice itself has no gradient, as in a mixture of experts.

    Source: after Lu et al. 2025, section 2.2, who choose for every query by itself.
    """
    check_one_sequence(q, k, k)
    T = q.shape[2]
    check_at_least(1, block_size=block_size, keep=keep)
    if T % block_size:
        raise ValueError(f"{T} positions do not make blocks of {block_size}: pad to a multiple")
    n = T // block_size
    q_mean, k_mean = (t.detach().unflatten(2, (n, block_size)).mean(dim=3) for t in (q, k))  # (B, H, n, D)
    agree = q_mean @ k_mean.transpose(-2, -1)  # (B, H, n, n)
    if causal:
        agree = agree.masked_fill(torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1), float("-inf"))
        agree = agree.masked_fill(torch.eye(n, dtype=torch.bool, device=q.device), float("inf"))
    best = agree.topk(min(keep, n), dim=-1).indices  # (B, H, n, keep)
    chosen = torch.zeros_like(agree, dtype=torch.bool).scatter(-1, best, True)
    return chosen & (agree > float("-inf"))


def chosen_blocks_attention(
    q: Tensor, k: Tensor, v: Tensor, *, block_size: int, keep: int, causal: bool = False
) -> Tensor:
    """Attend to the blocks that ``choose_blocks`` chose, and compute no other."""
    check_one_sequence(q, k, v)
    B, H, T, _ = q.shape
    chosen = choose_blocks(q, k, block_size=block_size, keep=keep, causal=causal)
    n = chosen.shape[-1]
    kept, at = chosen.to(torch.uint8).topk(min(keep, n), dim=-1)  # (B, H, n, keep): 1 and where, or 0 and anywhere
    b, h = (torch.arange(size, device=q.device) for size in (B, H))
    k_n, v_n = (t.unflatten(2, (n, block_size)) for t in (k, v))
    k_c, v_c = (t[b.view(B, 1, 1, 1), h.view(H, 1, 1), at].flatten(3, 4) for t in (k_n, v_n))  # (B, H, n, keep*b, D)
    seen = kept.bool().repeat_interleave(block_size, dim=-1).unsqueeze(3)  # (B, H, n, 1, keep*b)
    if causal:
        offset = torch.arange(block_size, device=q.device)
        i = torch.arange(T, device=q.device).view(n, block_size, 1)
        seen = seen & ((at.unsqueeze(-1) * block_size + offset).flatten(3).unsqueeze(3) <= i)
    return scaled_dot_product_attention(q.unflatten(2, (n, block_size)), k_c, v_c, mask=seen).flatten(2, 3)


@entry(
    name="Sparse attention",
    aliases=("Sparse Transformer pattern",),
    page="patterns",
    ids=("sparse_attention",),
    paper="child2019generating",
    peer="torch.nn.functional.scaled_dot_product_attention with a dense mask",
    example=lambda: Example(SparseAttention(8, 2, window_rule(2), block_size=3), (torch.randn(2, 7, 8),)),
    related=("Sliding window attention", "Dilated attention", "Random attention (BigBird)", "FlashAttention"),
)
class SparseAttention(nn.Module):
    r"""Self-attention layer with a rule of who may look at whom, which computes only blocks with an open pair.

    .. math::
        y_i = \operatorname{softmax}\left(\frac{q_i^{\top} k_{S(i)}}{\sqrt D}\right) v_{S(i)},
        \qquad S(i) = \{j : \text{rule}(i, j)\}

    where the rule is one of ``window_rule``, ``global_rule``, ``strided_rule``, ``fixed_rule``, ``random_rule``, or
    several put together by ``either`` and ``both``.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        rule: a function of the positions of query and key, made of operators, for all heads.
        block_size: positions of a block; small blocks skip more, large ones run faster.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    Notice:
        A mask alone saves nothing, since the scores are computed before it hides them. What is saved is what is never
        computed: whole blocks. ``density(T)`` reports both shares. A pattern whose open pairs touch every block, such as
        the strided one, is not helped by blocks; ``sparse_transformer_attention`` lays it out otherwise.

    Raises:
        ValueError: if H does not divide C, the block is empty, or the input has the wrong shape.

    Source: Child et al. 2019, sections 4.1 to 4.3.

    >>> layer = SparseAttention(64, 8, window_rule(16, causal=True), block_size=16)
    >>> layer.density(256)
    {'pairs': 0.0607, 'blocks': 0.1211}
    """

    def __init__(self, embed_dim: int, num_heads: int, rule: Rule, *, block_size: int = 64, bias: bool = True) -> None:
        super().__init__()
        check_at_least(1, block_size=block_size)
        self.heads = HeadProjections(embed_dim, num_heads, bias=bias)
        self.rule, self.block_size = rule, block_size

    def density(self, T: int) -> dict[str, float]:
        """Report, for T positions, the share of pairs that the rule leaves and of blocks that are computed."""
        pairs, blocks = density(rule_mask(self.rule, T)), layout_density(_layout(self.rule, T, self.block_size))
        return {"pairs": round(pairs, 4), "blocks": round(blocks, 4)}

    def forward(self, x: Tensor) -> Tensor:
        y = sparse_attention_blocked(*self.heads(x), rule=self.rule, block_size=self.block_size)
        return self.heads.back(y)
