"""Positional encodings: four ways to tell attention where a token stands, behind one interface."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


@entry(
    name="Positional encodings",
    aliases=("position encoding family", "positional encoding", "position embeddings"),
    page="positions",
    kind="concept",
    ids=("positional_encodings",),
    paper="vaswani2017attention",
    example=lambda: Example(PositionalEncoding(), (torch.randn(2, 5, 4),)),
    related=(
        "Sinusoidal positional encoding",
        "Learned positional embeddings",
        "Attention with linear biases",
        "Rotary positional embedding",
    ),
)
class PositionalEncoding(nn.Module):
    r"""Say where tokens stand, at one of the three places where attention can be told; this one says nothing.

    .. math::
        x_t \to \operatorname{embed}(x_t, t), \qquad
        \mathrm{score}_{ts} = \frac{\operatorname{rotate}(q_t, t)^{\top} \operatorname{rotate}(k_s, s)}{\sqrt{D}}
        + \operatorname{bias}(t, s)

    where :math:`t` and :math:`s` are positions, :math:`x_t` is a token's vector, :math:`q_t` and :math:`k_s` are
    query and key of a head.

    ``embed`` changes the tokens before the first layer (sinusoidal, learned), ``rotate`` turns queries and keys in
    every layer (RoPE), ``bias`` is added to the scores in every layer (ALiBi). A scheme overrides what it uses; the
    rest leaves things as they are, so any scheme can be given to any model that calls all three.

    Shapes:
        x: (B, T, C). Returns (B, T, C), what ``embed`` makes of it.

    Notice:
        Attention without positions treats a sequence as a set: permute the tokens and the outputs are permuted
        alike. A causal mask alone breaks that symmetry.

    Source: Vaswani et al. 2017, section 3.5, for ``embed``; Su et al. 2021 for ``rotate``; Press et al. 2022 for
    ``bias``.

    >>> PositionalEncoding()(torch.ones(1, 2, 3)).shape
    torch.Size([1, 2, 3])
    """

    def __init__(self) -> None:
        super().__init__()

    def embed(self, x: Tensor, *, offset: int = 0) -> Tensor:
        """Change tokens (B, T, C) whose first one stands at position ``offset``."""
        return x

    def rotate(self, x: Tensor, *, offset: int = 0) -> Tensor:
        """Change queries or keys (B, H, T, D) whose first one stands at position ``offset``."""
        return x

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor | None:
        """Return what is added to the scores, (H, T, S), for positions (T,) of queries and (S,) of keys, or None."""
        return None

    def forward(self, x: Tensor, *, offset: int = 0) -> Tensor:
        return self.embed(x, offset=offset)


def check_offset(offset: int) -> int:
    """Return the offset; raise an error if it is no position."""
    if offset < 0:
        raise ValueError(f"offset is {offset}, but positions count from 0: give the number of tokens that came before")
    return offset


def permutation_sensitivity(model: Callable[[Tensor], Tensor], x: Tensor, generator: torch.Generator) -> float:
    """Measure how much order matters: permute the tokens, undo it in the output, compare with the untouched output.

    Args:
        model: takes (B, T, C) and returns (B, T, E).
        x: a batch of sequences, (B, T, C).
        generator: draws the permutation.

    Returns:
        The root of the mean squared change relative to the output's own size: 0 for a model that sees a set.

    Raises:
        ValueError: if x is not (B, T, C) with at least two tokens, which can change places.
    """
    if x.ndim != 3 or x.shape[1] < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}, but needs (batch, positions, width), at least two positions")
    order = torch.randperm(x.shape[1], generator=generator, device=generator.device)
    if torch.equal(order, order.sort().values):  # nothing was moved
        order = order.roll(1)
    order = order.to(x.device)
    with torch.no_grad():
        straight, back = model(x), model(x[:, order])[:, order.argsort()]
    return float((straight - back).square().mean().sqrt() / straight.square().mean().sqrt())
