"""Sparsemax: the nearest point of the simplex, which gives many positions a weight of exactly zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nnvocab.activation._shared import check_scores
from nnvocab.vocabulary import Example, entry


@entry(
    name="Sparsemax",
    aliases=("Euclidean projection onto the simplex", "SoftmaxSparse"),
    ids=("loom_sparsemax",),
    page="softmax_family",
    kind="function",
    paper="martins2016from",
    peer="entmax.sparsemax",
    related=("Softmax", "Entmax"),
    example=lambda: Example(sparsemax, (torch.tensor([[0.3, 0.9, -1.2, 0.5], [2.0, 0.1, 0.4, 1.7]]),)),
)
def sparsemax(x: Tensor, dim: int = -1) -> Tensor:
    r"""Project the scores on the simplex: a common threshold goes off, and what falls below zero is zero.

    .. math::
        p = \arg\min_{q \in \Delta} \lVert q - x \rVert^2, \qquad
        p_i = \max(x_i - \tau, 0), \qquad
        \tau = \max_k \frac{1}{k}\Big(\sum_{i \le k} x_{(i)} - 1\Big)

    where :math:`\Delta` is the set of positive weights that sum to one, and :math:`x_{(1)} \ge x_{(2)} \ge \dots` are
    the sorted scores. The :math:`k` of the maximum is the number of weights above zero (the support).

    Args:
        x: scores.
        dim: the axis along which the weights sum to one.

    Shapes:
        x: any, with at least one score along ``dim``. Returns the same shape.

    Notice:
        A position that is a whole 1 below the largest score has weight zero, at the latest. On the support :math:`S`
        the gradient is :math:`g_S` less its mean, elsewhere zero: what has weight zero does not learn.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if x has no axis ``dim``, or that axis is empty.

    Source: Martins & Astudillo 2016, algorithm 1. They take the last k with 1 + k x_(k) above the sum; the average
    grows as long as the next score is above it and falls from there on, so the largest average is the same threshold.

    >>> sparsemax(torch.tensor([2.0, 1.0, 0.1]))
    tensor([1., 0., 0.])
    >>> sparsemax(torch.tensor([1.0, 0.8, 0.1]))
    tensor([0.6000, 0.4000, 0.0000])
    """
    check_scores(x, dim)
    z = (x - x.amax(dim, keepdim=True).detach()).movedim(dim, -1)  # a shift changes nothing, and keeps the sums small
    z_sorted = z.sort(dim=-1, descending=True).values
    k = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)
    tau = ((z_sorted.cumsum(-1) - 1) / k).amax(-1, keepdim=True)
    return torch.clamp(z - tau, min=0).movedim(-1, dim)


class _Sparsemax(torch.autograd.Function):
    """The projection with its Jacobian written out: only the weights are kept for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        z = x - x.amax(dim, keepdim=True)
        z_sorted = z.sort(dim=dim, descending=True).values
        shape = [1] * x.dim()
        shape[dim] = -1
        k = torch.arange(1, x.shape[dim] + 1, dtype=x.dtype, device=x.device).view(shape)
        p = z.sub_(z_sorted.cumsum(dim).sub_(1).div_(k).amax(dim, keepdim=True)).clamp_(min=0)
        ctx.save_for_backward(p)
        ctx.dim = dim
        return p

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (p,) = ctx.saved_tensors
        support = (p > 0).to(g.dtype)
        g = g * support
        return g - support * (g.sum(ctx.dim, keepdim=True) / support.sum(ctx.dim, keepdim=True)), None


def sparsemax_fused(x: Tensor, dim: int = -1) -> Tensor:
    """The same function with the Jacobian of its support instead of the way back through the sort."""
    check_scores(x, dim)
    return _Sparsemax.apply(x, dim)
