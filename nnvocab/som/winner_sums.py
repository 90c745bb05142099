"""Sums over the inputs that each unit wins, and the means that a batch step makes of them."""

from __future__ import annotations

import torch
from torch import Tensor


def with_count(x: Tensor) -> Tensor:
    """Append a column of ones, whose sum counts: (B, C) -> (B, C + 1)."""
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=-1)


def sums_at(units: Tensor, x: Tensor, num_units: int) -> Tensor:
    """Add up the inputs (B, C + 1) whose winners are ``units`` (B,), and count them in the last column: (N, C + 1)."""
    return x.new_zeros(num_units, x.shape[-1]).index_add(0, units, x)


def winner_sums(weight: Tensor, x: Tensor) -> Tensor:
    """Find the winners of inputs (B, C + 1) near the origin, and add up by unit: (N, C + 1)."""
    half = weight.square().sum(-1, keepdim=True) / 2
    score = x @ torch.cat([-weight, half], dim=-1).mT  # (B, C + 1) @ (C + 1, N): |w|^2 / 2 - w x, as x ends in 1
    return sums_at(score.argmin(-1), x, len(weight))


def to_means(total: Tensor, weight: Tensor) -> Tensor:
    """Divide sums by counts, (N, C + 1) -> (N, C); a unit that no input reaches keeps its prototype."""
    count = total[:, -1:]
    reached = count > 1e-6
    return torch.where(reached, total[:, :-1] / torch.where(reached, count, 1.0), weight)
