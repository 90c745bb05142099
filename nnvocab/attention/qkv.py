"""What the attention layers over long sequences share: four projections, and checks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.attention.heads import check_heads, check_sequence, merge_heads, split_heads
from nnvocab.attention.scaled_dot_product import check_attention


class HeadProjections(nn.Module):
    """Project a sequence into the heads' queries, keys and values, and what they say back.

    Args:
        embed_dim: width C.
        num_heads: heads H; H must divide C.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C). Returns q, k, v: (B, H, T, D) each; ``back`` takes (B, H, T, D) and returns (B, T, C).

    >>> q, k, v = HeadProjections(8, 2)(torch.zeros(1, 5, 8))
    >>> q.shape
    torch.Size([1, 2, 5, 4])
    """

    def __init__(self, embed_dim: int, num_heads: int, *, bias: bool = True) -> None:
        super().__init__()
        self.head_dim = check_heads(embed_dim, num_heads)
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=bias)
        self.out = nn.Linear(embed_dim, embed_dim, bias=bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        check_sequence(x, self.embed_dim)
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, dim=-1))  # (B, H, T, D) each
        return q, k, v

    def back(self, y: Tensor) -> Tensor:
        """Put the heads side by side and mix them: (B, H, T, D) -> (B, T, C)."""
        return self.out(merge_heads(y))


def check_at_least(least: int, **sizes: int) -> None:
    """Raise an error if one of the sizes is below what it must be."""
    for name, size in sizes.items():
        if size < least:
            raise ValueError(f"{name} is {size}, but must be at least {least}")


def check_one_sequence(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Raise an error that says how to mend it unless q, k and v are the heads of one sequence that looks at itself."""
    check_attention(q, k, v)
    if q.ndim != 4 or not q.shape[:3] == k.shape[:3] == v.shape[:3]:
        raise ValueError(
            f"q, k and v have shapes {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}, but need (batch, heads, "
            f"positions, width) with the same batch, heads and positions: the sequence looks at itself"
        )


def check_token(x: Tensor, width: int) -> None:
    """Raise an error that says how to mend it if ``x`` is not one token of each sequence of a batch."""
    if x.ndim != 2 or x.shape[1] != width:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, but a step reads one token of each sequence, (batch, {width}); take x[:, t] "
            f"of a sequence"
        )


def lines(T: int, device: torch.device | str | None = None) -> tuple[Tensor, Tensor]:
    """Positions of queries as a column (T, 1) and of keys as a row (1, T), to be compared with each other."""
    at = torch.arange(T, device=device)
    return at.unsqueeze(1), at.unsqueeze(0)
