"""Random attention as in BigBird: a window, a few global positions, and a few drawn by lot."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

from nnvocab.attention.block_sparse import Layout, block_sparse_attention, check_layout
from nnvocab.attention.qkv import HeadProjections, check_at_least, check_one_sequence
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention
from nnvocab.vocabulary import Example, entry


def bigbird_layout(
    n: int, *, window_size: int = 1, num_random: int = 3, num_global: int = 2, seed: int = 0
) -> list[list[int]]:
    """List what each of n units sees: its window, the global units, and distinct others drawn by lot.

    Args:
        n: units, which are tokens or blocks of tokens.
        window_size: units on each side.
        num_random: further units that each draws; fewer where not so many are left.
        num_global: the first units, which see all and are seen by all.
        seed: of Python's generator, so that the lots are the same on every machine.

    Notice:
        The lots fall on units outside the window and not global, so no key counts twice, and each row has as many.

    >>> bigbird_layout(6, window_size=1, num_random=1, num_global=1, seed=0)[4]
    [0, 2, 3, 4, 5]
    """
    check_at_least(1, n=n)
    check_at_least(0, window_size=window_size, num_random=num_random, num_global=num_global)
    draw, layout = random.Random(seed), []
    for i in range(n):
        seen = {*range(min(num_global, n)), *range(max(0, i - window_size), min(n, i + window_size + 1))}
        left = [j for j in range(n) if j not in seen]
        lots = draw.sample(left, min(num_random, len(left)))
        layout.append(list(range(n)) if i < num_global else sorted([*seen, *lots]))
    return layout


def layout_mask(layout: Layout, *, block_size: int = 1, device: torch.device | str | None = None) -> Tensor:
    """Turn a layout of n units into a mask (n * block_size, n * block_size), True where a query may look."""
    n = len(layout)
    mask = torch.tensor([[j in row for j in range(n)] for row in map(set, layout)], device=device)
    return mask.repeat_interleave(block_size, dim=0).repeat_interleave(block_size, dim=1)


def bigbird_attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, block_size: int = 1) -> Tensor:
    r"""Attend where the layout says, as the equation is written: all scores, and a mask over them.

    .. math::
        S(i) = [i - w, i + w] \cup G \cup R(i), \qquad S(g) = \{0, \dots, n - 1\} \text{ for } g \in G

    Args:
        q, k, v: queries, keys and values.
        layout: the units that each unit sees, as ``bigbird_layout`` lists them.
        block_size: positions of a unit.

    Shapes:
        q, k: (B, H, T, D); v: (B, H, T, E), T positions in as many blocks as the layout has rows. Returns (B, H, T, E).
    """
    check_one_sequence(q, k, v)
    check_layout(layout, q.shape[2], block_size)
    T = q.shape[2]
    return scaled_dot_product_attention(
        q, k, v, mask=layout_mask(layout, block_size=block_size, device=q.device)[:T, :T]
    )


def bigbird_attention_blocked(q: Tensor, k: Tensor, v: Tensor, layout: Layout, *, block_size: int = 1) -> Tensor:
    """The same function: the listed blocks are gathered, and no other is computed."""
    return block_sparse_attention(q, k, v, layout, block_size=block_size)


@entry(
    name="Random attention (BigBird)",
    aliases=("BigBird attention",),
    page="patterns",
    ids=("random_attention",),
    paper="zaheer2020bigbird",
    peer="torch.nn.functional.scaled_dot_product_attention with a dense mask",
    example=lambda: Example(BigBirdAttention(8, 2, block_size=2, num_random=1, num_global=1), (torch.randn(2, 11, 8),)),
    related=("Global + local attention", "Sliding window attention", "Sparse attention"),
)
class BigBirdAttention(nn.Module):
    r"""Self-attention layer over blocks: a window, global blocks, and blocks drawn by lot.

    .. math::
        y_i = \operatorname{softmax}\left(\frac{q_i^{\top} k_{S(i)}}{\sqrt D}\right) v_{S(i)}, \qquad
        S(i) = [i - w, i + w] \cup G \cup R(i), \quad S(g) = \{0, \dots, n - 1\} \text{ for } g \in G

    where positions are counted in blocks, :math:`G` are the global blocks and :math:`R(i)` those drawn by lot.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        block_size: positions of a block; 1 for single tokens.
        window_size: w, blocks on each side.
        num_random: blocks that each block draws.
        num_global: the first blocks, which see all and are seen by all.
        seed: of the lots; give each layer its own.
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C), of any length T. Returns (B, T, C).

    Notice:
        The lots are drawn once for a length and stay the same. Each row sees 2 w + 1 + g + r blocks, whatever T, so
        the cost is O(T). Lots make a graph in which any two blocks are few steps apart; global blocks make it two.

    Raises:
        ValueError: if H does not divide C, the block is empty, or a number is negative.

    Source: Zaheer et al. 2020, section 2 and appendix D.

    >>> layer = BigBirdAttention(64, num_heads=4, block_size=16)
    >>> layer(torch.randn(1, 500, 64)).shape
    torch.Size([1, 500, 64])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        block_size: int,
        window_size: int = 1,
        num_random: int = 3,
        num_global: int = 2,
        seed: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_at_least(1, block_size=block_size)
        check_at_least(0, window_size=window_size, num_random=num_random, num_global=num_global)
        self.heads = HeadProjections(embed_dim, num_heads, bias=bias)
        self.block_size, self.window_size, self.seed = block_size, window_size, seed
        self.num_random, self.num_global = num_random, num_global

    @torch.compiler.disable
    def layout(self, T: int) -> list[list[int]]:
        """The blocks that each block of T positions sees."""
        return bigbird_layout(
            -(-T // self.block_size),
            window_size=self.window_size,
            num_random=self.num_random,
            num_global=self.num_global,
            seed=self.seed,
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        return self.heads.back(bigbird_attention_blocked(q, k, v, self.layout(x.shape[1]), block_size=self.block_size))
