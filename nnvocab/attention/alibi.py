"""Attention with linear biases: what is far away scores less, in proportion to the distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nnvocab.attention.positions import PositionalEncoding
from nnvocab.vocabulary import Example, entry


def alibi_slopes(num_heads: int) -> Tensor:
    r"""Give each head its slope: :math:`2^{-8/H}, 2^{-16/H}, \dots, 2^{-8}`.

    For a number of heads that is no power of two: the slopes of the next lower power, then every second slope of the
    next higher one, from its first, until there are enough.

    Args:
        num_heads: heads H.

    Shapes:
        Returns (H,).

    >>> alibi_slopes(4), alibi_slopes(6)[4:]
    (tensor([0.2500, 0.0625, 0.0156, 0.0039]), tensor([0.5000, 0.1250]))
    """
    if num_heads < 1:
        raise ValueError(f"num_heads is {num_heads}, but must be at least 1")
    lower = 2 ** int(math.log2(num_heads))
    slopes = [2.0 ** (-8 * (h + 1) / lower) for h in range(lower)]
    slopes += [2.0 ** (-8 * (h + 1) / (2 * lower)) for h in range(0, 2 * (num_heads - lower), 2)]
    return torch.tensor(slopes)


def alibi_bias(num_heads: int, queries: Tensor, keys: Tensor, *, symmetric: bool = False) -> Tensor:
    r"""Compute the bias pair by pair, as the equation is written.

    Args:
        num_heads: heads H.
        queries: positions of the queries.
        keys: positions of the keys.
        symmetric: punish distance on both sides; otherwise what lies ahead gets :math:`-\infty`.

    Shapes:
        queries: (T,); keys: (S,). Returns (H, T, S).

    Raises:
        ValueError: if there are no heads, or positions are not (T,) and (S,).
    """
    _check_positions(queries, keys)
    rows = []
    for m in alibi_slopes(num_heads).tolist():
        for t in queries.tolist():
            rows.append([-m * abs(t - s) if symmetric or s <= t else -math.inf for s in keys.tolist()])
    return torch.tensor(rows, device=queries.device).view(num_heads, len(queries), len(keys))


def alibi_bias_fused(num_heads: int, queries: Tensor, keys: Tensor, *, symmetric: bool = False) -> Tensor:
    """The same function: all distances at once."""
    _check_positions(queries, keys)
    back = (queries.unsqueeze(-1) - keys).float()  # (T, S)
    slopes = alibi_slopes(num_heads).to(back.device).view(-1, 1, 1)  # (H, 1, 1)
    bias = -slopes * back.abs()  # (H, T, S)
    return bias if symmetric else bias.masked_fill(back < 0, -math.inf)


def _check_positions(queries: Tensor, keys: Tensor) -> None:
    if queries.ndim != 1 or keys.ndim != 1:
        raise ValueError(
            f"positions of queries and keys have shapes {tuple(queries.shape)} and {tuple(keys.shape)}, but need (T,) "
            f"and (S,): one number for each"
        )


@entry(
    name="Attention with linear biases",
    aliases=("ALiBi",),
    page="positions",
    ids=("alibi",),
    paper="press2022train",
    peer="x_transformers.x_transformers.AlibiPositionalBias",
    example=lambda: Example(ALiBi(4, symmetric=True), (torch.randn(2, 4, 5, 5),)),
    related=("Positional encodings", "Rotary positional embedding", "Causal attention"),
)
class ALiBi(PositionalEncoding):
    r"""Subtract from every score the distance between query and key, times a slope of the head's own.

    .. math::
        \mathrm{score}_{h,t,s} = \frac{q_t \cdot k_s}{\sqrt{D}} - m_h\,(t - s), \qquad m_h = 2^{-8h/H},
        \quad h = 1 \dots H

    where :math:`t` is the query's position, :math:`s \le t` the key's, and :math:`H` the number of heads.

    Args:
        num_heads: heads H; need not be a power of two.
        symmetric: punish distance on both sides, for bidirectional layers; otherwise what lies ahead is hidden.

    Shapes:
        scores: (B, H, T, S), the queries being the last T of S positions. Returns (B, H, T, S).

    Notice:
        The slopes are fixed, not learned. A head with a steep slope sees its neighbourhood, one with a flat slope sees
        far. A distance that never occurred in training only lowers a score further.

    Raises:
        ValueError: if there are no heads, or the scores have another number of heads or fewer keys than queries.

    Source: Press et al. 2022, section 3; the slopes for other numbers of heads are those of the authors' code.

    >>> ALiBi(2)(torch.zeros(1, 2, 3, 3))[0, 0]
    tensor([[ 0.0000,    -inf,    -inf],
            [-0.0625,  0.0000,    -inf],
            [-0.1250, -0.0625,  0.0000]])
    """

    def __init__(self, num_heads: int, *, symmetric: bool = False) -> None:
        super().__init__()
        alibi_slopes(num_heads)  # raises if there are no heads
        self.num_heads, self.symmetric = num_heads, symmetric

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor:
        return alibi_bias_fused(self.num_heads, queries, keys, symmetric=self.symmetric)

    def forward(self, scores: Tensor) -> Tensor:
        if scores.ndim < 3 or scores.shape[-3] != self.num_heads or scores.shape[-2] > scores.shape[-1]:
            raise ValueError(
                f"the scores have shape {tuple(scores.shape)}, but need (..., {self.num_heads}, T, S) with T <= S: the "
                f"queries are the last T of S positions"
            )
        T, S = scores.shape[-2:]
        keys = torch.arange(S, device=scores.device)
        return scores + self.bias(keys.narrow(0, S - T, T), keys).to(scores.dtype)
