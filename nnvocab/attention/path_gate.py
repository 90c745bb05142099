"""Semantic and geometric gate: how much each head weighs what a word means against where it stands."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def path_gate(x: Tensor, logit: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Compute the gate of every head at every position: :math:`g_h(t) = \sigma(\beta_h + w_h^\top x_t)`.

    Args:
        x: the sequence.
        logit: one number :math:`\beta_h` a head.
        weight: one vector :math:`w_h` a head; without it the gate is the same at every position.

    Shapes:
        x: (B, T, C); logit: (H,); weight: (H, C). Returns (B, H, T), between 0 and 1.
    """
    if x.ndim != 3 or logit.ndim != 1 or (weight is not None and weight.shape != (len(logit), x.shape[2])):
        raise ValueError(
            f"x, logit and weight have shapes {tuple(x.shape)}, {tuple(logit.shape)} and "
            f"{None if weight is None else tuple(weight.shape)}, but need (batch, positions, C), (heads,) and (heads, C)"
        )
    B, T, _ = x.shape
    raw = logit.expand(B, T, -1)  # (B, T, H)
    if weight is not None:
        raw = raw + x @ weight.T  # (B, T, C) @ (C, H)
    return torch.sigmoid(raw).transpose(1, 2)


@entry(
    name="Semantic and geometric gate",
    aliases=("Semantic/geometric gate", "decoupled_gate"),
    ids=("caramba_decoupled_gate",),
    page="decoupled",
    evidence="speculative",
    example=lambda: Example(PathGate(4, 8), (torch.randn(2, 5, 8),)),
    related=("Decoupled bottleneck attention", "Attention heads"),
)
class PathGate(nn.Module):
    r"""One gate a head that weighs a path of content against a path of position.

    .. math::
        g_h(t) = \sigma(\beta_h + w_h^{\top} x_t), \qquad
        \mathrm{score} = 2 g_h \cdot \mathrm{semantic} + (2 - 2 g_h) \cdot \mathrm{geometric}

    where :math:`\beta_h` is a learned number of head :math:`h`, :math:`w_h` a learned vector, :math:`x_t` the input at
    the position that asks, and :math:`\sigma` the logistic function.

    Args:
        num_heads: heads H.
        embed_dim: width C of the input, for a gate that depends on it; a static gate of one number a head if not
            given.

    Shapes:
        x: (B, T, C). Returns (B, H, T), between 0 and 1.

    Notice:
        All weights start at 0, so every gate starts at one half and both factors at 1: the layer computes what it
        would without a gate. At 1 a head sees content only, at 0 position only. ``per_head`` gives one number a head
        to be logged while training.

    Raises:
        ValueError: if there is no head, or the input has another width than a gate that reads it.

    Source: no canonical paper; it accompanies decoupled bottleneck attention.

    >>> PathGate(num_heads=2)(torch.zeros(1, 3, 8))
    tensor([[[0.5000, 0.5000, 0.5000],
             [0.5000, 0.5000, 0.5000]]], grad_fn=<TransposeBackward0>)
    """

    def __init__(self, num_heads: int, embed_dim: int | None = None) -> None:
        super().__init__()
        if num_heads < 1 or (embed_dim is not None and embed_dim < 1):
            raise ValueError(f"num_heads {num_heads} and embed_dim {embed_dim} must be at least 1")
        self.num_heads, self.embed_dim = num_heads, embed_dim
        self.logit = nn.Parameter(torch.zeros(num_heads))
        self.weight = None if embed_dim is None else nn.Parameter(torch.zeros(num_heads, embed_dim))

    @torch.no_grad()
    def per_head(self, x: Tensor) -> Tensor:
        """Average the gates over batch and positions, for a log: (B, T, C) -> (H,)."""
        return self(x).mean(dim=(0, 2))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or (self.embed_dim is not None and x.shape[2] != self.embed_dim):
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but this gate reads (batch, positions, {self.embed_dim or 'any width'})"
            )
        return path_gate(x, self.logit, self.weight)
