"""How Mamba gets its step lengths: a narrow projection, a softplus, and a bias that starts them in a range."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvocab.vocabulary import Example, entry


def auto_dt_rank(d_model: int) -> int:
    r"""The rank that "auto" stands for: :math:`\lceil C / 16 \rceil`.

    >>> auto_dt_rank(64), auto_dt_rank(65)
    (4, 5)
    """
    return math.ceil(d_model / 16)


def dt_bias(size: int, dt_min: float, dt_max: float, *, floor: float = 1e-4) -> Tensor:
    r"""Draw a bias with which the step lengths begin between dt_min and dt_max, evenly in the logarithm.

    .. math::
        b = \operatorname{softplus}^{-1}(\Delta) = \Delta + \ln(1 - e^{-\Delta}), \qquad
        \ln \Delta \sim \mathcal U(\ln \Delta_{\min}, \ln \Delta_{\max})

    Shapes:
        Returns (size,).

    >>> delta = F.softplus(dt_bias(1000, 0.001, 0.1))
    >>> bool((delta > 0.00099).all() and (delta < 0.101).all())
    True
    """
    if not 0 < dt_min <= dt_max:
        raise ValueError(f"dt_min {dt_min} and dt_max {dt_max} must be 0 < dt_min <= dt_max")
    delta = torch.empty(size).uniform_(math.log(dt_min), math.log(dt_max)).exp().clamp(min=floor)
    return delta + torch.log(-torch.expm1(-delta))


@entry(
    name="Step-size rank",
    aliases=("dt_rank", "Δ-projection rank", "Δ-projection rank (dt_rank auto)", "dt_rank auto"),
    page="state_space",
    kind="concept",
    ids=("caramba_dt_rank",),
    paper="gu2023mamba",
    peer="mambapy.mamba.MambaConfig",
    related=("Mamba", "State space model"),
    example=lambda: Example(
        step_size,
        (torch.randn(2, 3, 8), torch.randn(1, 8), torch.randn(8, 1), torch.randn(8)),
        skip={"batch_of_one": "the weights are inputs and have no batch"},
    ),
)
def step_size(x: Tensor, w_down: Tensor, w_up: Tensor, bias: Tensor) -> Tensor:
    r"""Compute the step length of every channel at every position through a projection of low rank.

    .. math::
        \Delta_t = \operatorname{softplus}(W_{\uparrow} W_{\downarrow} x_t + b)

    Args:
        x: what the scan reads.
        w_down: narrows E channels to the rank R; "auto" makes R the model's width divided by 16, rounded up.
        w_up: widens R to E again.
        bias: one number a channel; ``dt_bias`` draws its start.

    Shapes:
        x: (B, T, E); w_down: (R, E); w_up: (E, R); bias: (E,). Returns (B, T, E), positive.

    Notice:
        2 R E weights in place of E E. At the beginning the bias decides: the channels have fixed step lengths from
        dt_min to dt_max, and so different spans of memory, until the projection has learned to change them.

    Source: Gu and Dao 2023, sections 3.2 and 3.6.

    >>> step_size(torch.zeros(1, 2, 4), torch.zeros(1, 4), torch.zeros(4, 1), torch.zeros(4))[0, 0]
    tensor([0.6931, 0.6931, 0.6931, 0.6931])
    """
    return F.softplus(x @ w_down.T @ w_up.T + bias)
