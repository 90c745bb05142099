"""Which weights go, and when: masks by magnitude, gradient, chance, rows and the 2:4 pattern; and schedules."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Schedule = Literal["one-shot", "iterative", "gradual"]


def check_sparsity(sparsity: float) -> float:
    """Return the share; raise an error if it is none."""
    if not 0.0 <= sparsity <= 1.0:
        raise ValueError(f"sparsity is {sparsity}, but must be between 0 and 1: the share of weights that are zero")
    return sparsity


def mask_of_largest(score: Tensor, sparsity: float, kept: Tensor | None = None) -> Tensor:
    """Mask that is False at exactly round(sparsity * n) entries, those of the smallest score.

    Args:
        score: how important each weight is.
        sparsity: share of the entries to drop.
        kept: an earlier mask; what it dropped is the first to go.

    Shapes:
        score: any. Returns the same shape, bool.

    Raises:
        ValueError: if the share is not between 0 and 1, or the earlier mask does not fit.

    >>> mask_of_largest(torch.tensor([[3.0, 1.0], [0.5, 2.0]]), 0.5)
    tensor([[ True, False],
            [False,  True]])
    """
    if kept is not None and (kept.dtype != torch.bool or kept.shape != score.shape):
        raise ValueError(
            f"kept is {kept.dtype} of shape {tuple(kept.shape)}, but must be torch.bool of the shape {tuple(score.shape)}, "
            f"True where an entry is still there"
        )
    drop = round(check_sparsity(sparsity) * score.numel())
    if kept is not None:
        score = score.masked_fill(~kept, -math.inf)
    mask = torch.ones(score.numel(), dtype=torch.bool, device=score.device)
    mask[score.reshape(-1).argsort(stable=True)[:drop]] = False
    return mask.view_as(score)


def magnitude_mask(weight: Tensor, sparsity: float, kept: Tensor | None = None) -> Tensor:
    """Keep the weights that are largest in absolute value.

    Args:
        weight: the weights.
        sparsity: share of them to drop.
        kept: an earlier mask; what it dropped is the first to go.

    Shapes:
        weight: any. Returns the same shape, bool.

    Source: Han et al. 2015, section 3.

    >>> magnitude_mask(torch.tensor([0.1, -2.0, 1.0, -0.2]), 0.5)
    tensor([False,  True,  True, False])
    """
    return mask_of_largest(weight.detach().abs(), sparsity, kept)


def gradient_mask(weight: Tensor, gradient: Tensor, sparsity: float, kept: Tensor | None = None) -> Tensor:
    """Keep the weights whose removal would change the loss most, to first order: by the size of weight times gradient.

    Args:
        weight: the weights.
        gradient: gradient of the loss with respect to them.
        sparsity: share of them to drop.
        kept: an earlier mask; what it dropped is the first to go.

    Shapes:
        weight and gradient: any, the same. Returns the same shape, bool.

    Source: Molchanov et al. 2017 (there for whole feature maps); Lee et al. 2019 (for single weights).

    >>> gradient_mask(torch.tensor([2.0, 1.0]), torch.tensor([0.0, 1.0]), 0.5)
    tensor([False,  True])
    """
    if weight.shape != gradient.shape:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)} and gradient {tuple(gradient.shape)}: each weight needs its own"
        )
    return mask_of_largest((weight * gradient).detach().abs(), sparsity, kept)


def random_mask(
    weight: Tensor, sparsity: float, kept: Tensor | None = None, *, generator: torch.Generator | None = None
) -> Tensor:
    """Keep weights by chance: the baseline that any measure of importance has to beat.

    Args:
        weight: the weights; only their shape and device matter.
        sparsity: share of them to drop.
        kept: an earlier mask; what it dropped is the first to go.

    Shapes:
        weight: any. Returns the same shape, bool.

    >>> int(random_mask(torch.zeros(10, 10), 0.9).sum())
    10
    """
    return mask_of_largest(torch.rand(weight.shape, generator=generator, device=weight.device), sparsity, kept)


def row_mask(weight: Tensor, sparsity: float) -> Tensor:
    """Keep the rows (output units) of the largest Euclidean length, whole: structured pruning.

    Args:
        weight: the weights of a linear layer.
        sparsity: share of the rows to drop.

    Shapes:
        weight: (C_out, C_in). Returns the same shape, bool.

    Source: Li et al. 2017, section 3.1 (there with the sum of absolute values, of convolution filters).

    >>> row_mask(torch.tensor([[1.0, 1.0], [3.0, 0.0]]), 0.5)
    tensor([[False, False],
            [ True,  True]])
    """
    if weight.ndim != 2:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, but rows need two axes (C_out, C_in)")
    return mask_of_largest(weight.detach().norm(dim=1), sparsity)[:, None].expand_as(weight).clone()


def two_four_mask(weight: Tensor) -> Tensor:
    """Keep the two largest of every four neighbours in a row: the pattern that sparse tensor cores read.

    Args:
        weight: the weights of a linear layer; C_in is a multiple of 4.

    Shapes:
        weight: (C_out, C_in). Returns the same shape, bool.

    Raises:
        ValueError: if C_in is not a multiple of 4.

    Source: Mishra et al. 2021, section 2.

    >>> two_four_mask(torch.tensor([[1.0, 4.0, -3.0, 2.0]]))
    tensor([[False,  True,  True, False]])
    """
    if weight.shape[-1] % 4:
        raise ValueError(f"a row has {weight.shape[-1]} weights, but the 2:4 pattern needs a multiple of 4")
    fours = weight.detach().abs().unflatten(-1, (-1, 4))  # (C_out, C_in / 4, 4)
    best = fours.argsort(dim=-1, descending=True, stable=True)[..., :2]
    return torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, best, True).flatten(-2)


def scheduled_sparsity(
    step: int, schedule: Schedule, sparsity: float, *, begin: int = 0, end: int = 0, rounds: int = 5
) -> float:
    r"""Say how sparse a layer should be at a step.

    .. math::
        s_t = s \quad (\text{one-shot}), \qquad
        s_t = 1 - (1 - s)^{r / R} \quad (\text{iterative}), \qquad
        s_t = s - s \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^3 \quad (\text{gradual})

    where :math:`t_0` is ``begin``, :math:`t_1` is ``end``, and r of R rounds are over: each round keeps the same
    share of what is left.

    Args:
        step: t, the step at hand.
        schedule: ``"one-shot"`` (all at ``begin``), ``"iterative"`` (in rounds) or ``"gradual"`` (a cubic).
        sparsity: s, what is reached in the end.
        begin: first step at which anything goes.
        end: step from which on s is reached; not used if one-shot.
        rounds: R, in how many equal rounds; iterative only.

    Shapes:
        numbers only.

    Raises:
        ValueError: if there is no such schedule, or it has no room between ``begin`` and ``end``.

    Source: Frankle and Carbin 2019, section 1 (rounds); Zhu and Gupta 2017, equation 1 (cubic).

    >>> [round(scheduled_sparsity(t, "gradual", 0.8, begin=0, end=4), 3) for t in range(5)]
    [0.0, 0.463, 0.7, 0.787, 0.8]
    """
    check_sparsity(sparsity)
    if schedule not in ("one-shot", "iterative", "gradual"):
        raise ValueError(f"schedule is {schedule!r}, but must be 'one-shot', 'iterative' or 'gradual'")
    if schedule == "one-shot":
        return sparsity if step >= begin else 0.0
    if end <= begin or rounds < 1:
        raise ValueError(
            f"begin {begin}, end {end}, rounds {rounds}: a schedule in parts needs end above begin and at least 1 round"
        )
    steps, length = min(max(step - begin, 0), end - begin), end - begin
    if schedule == "iterative":
        return 1 - (1 - sparsity) ** (steps * rounds // length / rounds)
    return sparsity - sparsity * (1 - steps / length) ** 3
