"""Global + local attention: windows for all, and a few chosen positions that see all and are seen by all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.attention.heads import split_heads
from nnvocab.attention.qkv import HeadProjections, check_at_least, check_one_sequence
from nnvocab.attention.rules import either, global_rule, rule_mask, window_rule
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention, scaled_dot_product_attention_fused
from nnvocab.attention.sliding_window import neighbours
from nnvocab.vocabulary import Example, entry

Projected = tuple[Tensor, Tensor, Tensor]


def check_global_tokens(global_tokens: Sequence[int], T: int) -> None:
    """Raise an error unless they name positions that there are, each at most once."""
    if len(set(global_tokens)) < len(global_tokens) or not all(0 <= g < T for g in global_tokens):
        raise ValueError(
            f"global_tokens is {list(global_tokens)}, but must name positions from 0 to {T - 1}, each at most once"
        )


def global_local_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window_size: int,
    global_tokens: Sequence[int],
    of_global: Projected | None = None,
) -> Tensor:
    r"""Attend in windows and through global positions, as the equation is written: all scores, and a mask over them.

    .. math::
        S(i) = \begin{cases} \{0, \dots, T - 1\} & i \in G \\ [i - w, i + w] \cup G & \text{else} \end{cases}

    Args:
        q, k, v: queries, keys and values.
        window_size: w.
        global_tokens: the positions G.
        of_global: other queries, keys and values with which the global positions look at all; q, k, v if not given.

    Shapes:
        q, k: (B, H, T, D); v: (B, H, T, E). Returns (B, H, T, E).
    """
    check_one_sequence(q, k, v)
    check_global_tokens(global_tokens, q.shape[2])
    rule = either(window_rule(window_size), global_rule(global_tokens))
    y = scaled_dot_product_attention(q, k, v, mask=rule_mask(rule, q.shape[2], device=q.device))
    if of_global is not None and len(global_tokens):
        at = torch.tensor(list(global_tokens), device=q.device)
        q_g, k_g, v_g = of_global
        y = y.index_copy(2, at, scaled_dot_product_attention(q_g.index_select(2, at), k_g, v_g))
    return y


def global_local_attention_blocked(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window_size: int,
    global_tokens: Sequence[int],
    of_global: Projected | None = None,
) -> Tensor:
    """The same function, block by block: windows plus the columns of the global keys, then the rows of the global queries."""
    check_one_sequence(q, k, v)
    B, _, T, _ = q.shape
    check_global_tokens(global_tokens, T)
    check_at_least(1, window_size=window_size)
    at = torch.tensor(list(global_tokens), device=q.device, dtype=torch.long)  # (g,)
    size = min(max(16, window_size), T)
    n = -(-T // size)
    i = torch.arange(n * size, device=q.device).view(n, size, 1)
    j = torch.arange(n, device=q.device).view(n, 1, 1) * size - window_size
    j = j + torch.arange(size + 2 * window_size, device=q.device)  # (n, 1, b + 2w)
    seen = (
        window_rule(window_size)(i, j) & (j >= 0) & (j < T) & (j.unsqueeze(-1) != at).all(-1)
    )  # global keys come as columns
    seen = F.pad(seen | (i >= T), (len(at), 0), value=True)  # (n, b, g + b + 2w)
    q_n = F.pad(q, (0, 0, 0, n * size - T)).unflatten(2, (n, size))
    k_n, v_n = (
        torch.cat(
            [
                t.index_select(2, at).unsqueeze(2).expand(-1, -1, n, -1, -1),
                neighbours(t, size, window_size, window_size),
            ],
            dim=3,
        )
        for t in (k, v)
    )  # (B, H, n, g + b + 2w, D)
    y = F.scaled_dot_product_attention(
        *(t.transpose(1, 2).flatten(0, 1) for t in (q_n, k_n, v_n)), attn_mask=seen.unsqueeze(1).repeat(B, 1, 1, 1)
    )  # (B*n, H, b, E)
    y = y.unflatten(0, (B, n)).transpose(1, 2).flatten(2, 3).narrow(2, 0, T)
    if not len(at):
        return y
    q_g, k_g, v_g = (q, k, v) if of_global is None else of_global
    return y.index_copy(2, at, scaled_dot_product_attention_fused(q_g.index_select(2, at), k_g, v_g))


@entry(
    name="Global + local attention",
    aliases=("hybrid attention", "Longformer attention"),
    page="patterns",
    ids=("global_local_attention",),
    paper="beltagy2020longformer",
    peer="transformers.models.longformer.modeling_longformer.LongformerSelfAttention",
    example=lambda: Example(GlobalLocalAttention(8, 2, window_size=1, separate=True), (torch.randn(2, 7, 8),)),
    related=("Sliding window attention", "Random attention (BigBird)", "Sparse attention"),
)
class GlobalLocalAttention(nn.Module):
    r"""Self-attention layer with windows for all positions and a few global ones that see all and are seen by all.

    .. math::
        y_i = \operatorname{softmax}\left(\frac{q_i^{\top} k_{S(i)}}{\sqrt D}\right) v_{S(i)}, \qquad
        S(i) = \begin{cases} \{0, \dots, T - 1\} & i \in G \\ [i - w, i + w] \cup G & \text{else} \end{cases}

    where :math:`G` are the global positions and :math:`w` is the window size.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        window_size: w, positions on each side.
        global_tokens: the positions G, unless the call gives others.
        separate: give the global positions queries, keys and values of their own when they look at all.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C). Returns (B, T, C). In the call ``global_tokens`` may name other positions.

    Notice:
        Global attention goes both ways, so any two positions are at most two layers apart. The cost is
        O(T (w + n)) for n global ones. Which positions are global depends on the task: the first token for classification, all tokens
        of the question where a question is answered.

    Raises:
        ValueError: if H does not divide C, the window is empty, or a global position does not exist or is named twice.

    Source: Beltagy et al. 2020, section 3.1.

    >>> layer = GlobalLocalAttention(64, num_heads=8, window_size=16)
    >>> layer(torch.randn(1, 500, 64), global_tokens=[0, 1, 2]).shape
    torch.Size([1, 500, 64])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        window_size: int,
        *,
        global_tokens: Sequence[int] = (0,),
        separate: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_at_least(1, window_size=window_size)
        self.heads = HeadProjections(embed_dim, num_heads, bias=bias)
        self.qkv_global = nn.Linear(embed_dim, 3 * embed_dim, bias=bias) if separate else None
        self.window_size, self.global_tokens = window_size, tuple(global_tokens)

    def forward(self, x: Tensor, *, global_tokens: Sequence[int] | None = None) -> Tensor:
        chosen = self.global_tokens if global_tokens is None else tuple(global_tokens)
        q, k, v = self.heads(x)
        of_global = None
        if self.qkv_global is not None:
            q_g, k_g, v_g = (split_heads(t, self.heads.num_heads) for t in self.qkv_global(x).chunk(3, dim=-1))
            of_global = (q_g, k_g, v_g)
        y = global_local_attention_blocked(
            q, k, v, window_size=self.window_size, global_tokens=chosen, of_global=of_global
        )
        return self.heads.back(y)
