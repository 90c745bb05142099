"""Oscillating attention: a stack whose layers look both ways, back, and ahead, in turns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnvocab.attention.qkv import HeadProjections, check_at_least, check_one_sequence, lines
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention, scaled_dot_product_attention_fused
from nnvocab.vocabulary import Example, entry

DIRECTIONS = ("both", "forward", "backward")


def check_direction(direction: str) -> None:
    """Raise an error unless there is such a direction."""
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is {direction!r}, but must be one of {', '.join(DIRECTIONS)}")


def direction_mask(T: int, direction: str, *, device: torch.device | str | None = None) -> Tensor:
    """Make the mask of one layer: "both" sees all, "forward" the own position and before, "backward" it and after.

    Shapes:
        Returns (T, T) of booleans. Every row sees itself, and what it sees depends on the distance alone, so the same
        text further along in a longer one is seen in the same way.

    >>> direction_mask(3, "backward").int()
    tensor([[1, 1, 1],
            [0, 1, 1],
            [0, 0, 1]], dtype=torch.int32)
    """
    check_direction(direction)
    i, j = lines(T, device)
    return (j <= i) | (direction != "forward") if direction != "backward" else j >= i


def directed_attention(q: Tensor, k: Tensor, v: Tensor, *, direction: str) -> Tensor:
    r"""Attend in one direction: :math:`\operatorname{softmax}(q k^\top / \sqrt{D} + M)\, v`, with the direction's mask M.

    Args:
        q, k, v: queries, keys and values.
        direction: "both", "forward" or "backward".

    Shapes:
        q, k: (B, H, T, D); v: (B, H, T, E). Returns (B, H, T, E).
    """
    check_one_sequence(q, k, v)
    return scaled_dot_product_attention(q, k, v, mask=direction_mask(q.shape[2], direction, device=q.device))


def directed_attention_fused(q: Tensor, k: Tensor, v: Tensor, *, direction: str) -> Tensor:
    """The same function by the fused kernel: backward is forward on the text read from its end."""
    check_one_sequence(q, k, v)
    check_direction(direction)
    if direction == "backward":
        return scaled_dot_product_attention_fused(*(t.flip(2) for t in (q, k, v)), causal=True).flip(2)
    return scaled_dot_product_attention_fused(q, k, v, causal=direction == "forward")


@entry(
    name="Oscillating attention",
    aliases=("bidirectional-forward-backward attention", "alternating mask attention"),
    page="latents",
    kind="block",
    ids=("oscillating_attention",),
    evidence="speculative",
    peer="torch.nn.functional.scaled_dot_product_attention with attn_mask",
    example=lambda: Example(OscillatingAttention(8, 2, num_layers=3), (torch.randn(2, 5, 8),)),
    related=("Causal attention", "Bidirectional attention", "Sliding window attention"),
)
class OscillatingAttention(nn.Module):
    r"""Stack of self-attention layers whose directions repeat in a cycle: both ways, forward, backward.

    .. math::
        x \leftarrow x + \mathrm{att}_{n}(\mathrm{norm}(x)), \qquad
        M_{n} = M_{\text{cycle}[n \bmod c]}, \quad n = 0, \dots, L - 1

    where :math:`M` is the mask of a direction and :math:`c` the length of the cycle.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        num_layers: layers L.
        pattern_cycle: directions in turn, each "both", "forward" (looks back, as a causal layer) or "backward".
        bias: add a bias in the projections.

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    Notice:
        One layer that looks ahead is enough for every later state to depend on later tokens, so such a stack cannot be
        trained to predict the next token. No publication and no model is known that uses this cycle; the nearest is a
        pair of directional layers, side by side, for encoding sentences.

    Raises:
        ValueError: if H does not divide C, the cycle is empty, a direction has no such name, or there is no layer.

    Source: none; nearest: Shen et al. 2018, section 4.

    >>> stack = OscillatingAttention(32, num_heads=4, num_layers=5)
    >>> stack.directions
    ('both', 'forward', 'backward', 'both', 'forward')
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_layers: int = 12,
        *,
        pattern_cycle: Sequence[str] = DIRECTIONS,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_at_least(1, num_layers=num_layers)
        if not pattern_cycle or isinstance(pattern_cycle, str):
            raise ValueError(f"pattern_cycle is {pattern_cycle!r}, but must list directions, such as {DIRECTIONS}")
        for direction in pattern_cycle:
            check_direction(direction)
        self.directions = tuple(pattern_cycle[n % len(pattern_cycle)] for n in range(num_layers))
        self.norms = nn.ModuleList(nn.LayerNorm(embed_dim) for _ in range(num_layers))
        self.layers = nn.ModuleList(HeadProjections(embed_dim, num_heads, bias=bias) for _ in range(num_layers))

    def layer(self, x: Tensor, n: int) -> Tensor:
        """Run layer n alone: (B, T, C) -> (B, T, C)."""
        heads = self.layers[n]
        return x + heads.back(directed_attention_fused(*heads(self.norms[n](x)), direction=self.directions[n]))

    def forward(self, x: Tensor) -> Tensor:
        for n in range(len(self.layers)):
            x = self.layer(x, n)
        return x
