"""Learned positional embeddings: a table with one learned vector for each position."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.attention.heads import check_dropout, check_sequence
from nnvocab.attention.positions import PositionalEncoding, check_offset
from nnvocab.vocabulary import Example, entry


@entry(
    name="Learned positional embeddings",
    aliases=("Learnable positional embeddings", "absolute learned positions", "learned position embeddings"),
    page="positions",
    ids=("learned_pe",),
    paper="gehring2017convolutional",
    peer="torch.nn.Embedding",
    example=lambda: Example(LearnedPositions(8, 4), (torch.randn(2, 5, 4),)),
    related=("Positional encodings", "Sinusoidal positional encoding"),
)
class LearnedPositions(PositionalEncoding):
    r"""Add to every token a learned vector that belongs to its position.

    .. math::
        x_t \to x_t + E_t, \qquad E \in \mathbb{R}^{N \times C}

    where :math:`E` is learned with the rest of the model, :math:`t < N` is the position, and :math:`C` the width.

    Args:
        max_seq_len: positions N that have a vector.
        embed_dim: width C.
        beyond: what to do with longer sequences: ``"error"``, or ``"interpolate"``: stretch the table over the length.
        dropout: probability with which a number of the sum is set to 0 while training.

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    Notice:
        What is learned at one position says nothing about the next, and a position that never occurred in training
        keeps its random start. Nothing is known beyond N. Stretching is usual for images, where the grid gets finer;
        it moves every position, so it cannot be combined with an offset.

    Raises:
        ValueError: if sizes are below 1, the offset is negative, x has the wrong shape, or it reaches beyond N.

    Source: Gehring et al. 2017, section 3.1; BERT and GPT-2 do the same. Interpolation: Dosovitskiy et al. 2021, 3.2.

    >>> LearnedPositions(16, embed_dim=4)(torch.zeros(1, 3, 4), offset=13).shape
    torch.Size([1, 3, 4])
    """

    def __init__(
        self,
        max_seq_len: int,
        embed_dim: int,
        *,
        beyond: Literal["error", "interpolate"] = "error",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if max_seq_len < 1 or embed_dim < 1:
            raise ValueError(f"max_seq_len {max_seq_len} and embed_dim {embed_dim} must be at least 1")
        if beyond not in ("error", "interpolate"):
            raise ValueError(f"beyond is {beyond!r}, but must be 'error' or 'interpolate'")
        self.max_seq_len, self.embed_dim, self.beyond = max_seq_len, embed_dim, beyond
        self.table = nn.Embedding(max_seq_len, embed_dim)
        self.dropout = nn.Dropout(check_dropout(dropout))

    def embed(self, x: Tensor, *, offset: int = 0) -> Tensor:
        check_sequence(x, self.embed_dim)
        T, table = x.shape[1], self.table.weight
        end = check_offset(offset) + T
        if end <= self.max_seq_len:
            return self.dropout(x + table.narrow(0, offset, T))
        if self.beyond == "error":
            raise ValueError(
                f"positions {offset} to {end - 1} are asked for, but only 0 to {self.max_seq_len - 1} were learned: "
                f"shorten the text, make the table longer and train it, or pass beyond='interpolate'"
            )
        if offset:
            raise ValueError(
                f"a table stretched to {end} positions moves all of them, also the {offset} already read: pass the "
                f"whole sequence with offset=0"
            )
        wide = F.interpolate(table.T[None], size=T, mode="linear", align_corners=True)[0].T  # (N, C) -> (T, C)
        return self.dropout(x + wide)
