"""Entmax: one family from softmax (alpha 1) to sparsemax (alpha 2) and beyond; alpha may be learned."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nnvocab.activation._shared import check_scores
from nnvocab.activation.softmax import softmax_fused
from nnvocab.activation.sparsemax import sparsemax_fused
from nnvocab.vocabulary import Example, entry


def entmax15(x: Tensor, dim: int = -1) -> Tensor:
    r"""Compute entmax with alpha 1.5, exactly, by sorting.

    .. math::
        p_i = \max(x_i / 2 - \tau, 0)^2, \qquad \tau = \mu_k - \sqrt{(1 - v_k) / k}

    where :math:`\mu_k` is the mean of the k largest halved scores, :math:`v_k` the sum of their squared distances from
    it, and k the largest number for which the k-th score is not below its own threshold.

    Shapes:
        x: any, with at least one score along ``dim``. Returns the same shape.

    Source: Peters et al. 2019, section 3 (the exact algorithm for alpha 1.5).
    """
    check_scores(x, dim)
    z = ((x - x.amax(dim, keepdim=True).detach()) / 2).movedim(dim, -1)
    return torch.clamp(z - _threshold15(z), min=0).square().movedim(-1, dim)


def _threshold15(z: Tensor) -> Tensor:
    """The threshold of halved scores along the last axis: no candidate whose own score reaches it is above the true one."""
    z_sorted = z.sort(dim=-1, descending=True).values
    k = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)
    mean = z_sorted.cumsum(-1) / k
    spread = z_sorted.square().cumsum(-1) - k * mean.square()
    room = (1 - spread) / k
    tau = mean - torch.where(room > 0, room, 1).sqrt() * (room > 0)  # the root of 0 has no slope
    return tau.masked_fill(tau > z_sorted, float("-inf")).amax(-1, keepdim=True)


def _root15(z: Tensor) -> Tensor:
    """The same threshold in fewer passes, without a gradient: the lower root of k t^2 - 2 t sum(z) + sum(z^2) - 1."""
    z_sorted = z.sort(dim=-1, descending=True).values
    k = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)
    total, squares = z_sorted.cumsum(-1), z_sorted.square().cumsum(-1)
    tau = total.sub(torch.addcmul(total.square(), k, squares.sub_(1), value=-1).clamp_(min=0).sqrt_()).div_(k)
    return tau.masked_fill_(tau > z_sorted, float("-inf")).amax(-1, keepdim=True)


def _power(v: Tensor, epsilon: float | Tensor) -> Tensor:
    """(1 + epsilon v)_+ to the power 1 / epsilon, which is exp(v) at epsilon = 0."""
    if not isinstance(epsilon, Tensor):
        return (1 + epsilon * v).clamp(min=0).pow(1 / epsilon)
    near = epsilon.abs() < 1e-6
    safe = torch.where(near, 1.0, epsilon)
    zero = torch.logical_not(near) & (safe * v <= -1)
    logs = torch.log1p(torch.where(zero, 0, safe * v)) / safe  # where() first: no slope of log1p at -1
    return torch.exp(torch.where(near, v, logs)).masked_fill(zero, 0)


def _shift(z: Tensor, epsilon: float | Tensor) -> Tensor:
    """Halve the interval that holds the shift until it is as narrow as the numbers are fine (last axis, z at most 0)."""
    n = z.shape[-1]
    low = torch.zeros_like(z.narrow(-1, 0, 1))
    if isinstance(epsilon, Tensor):
        near = epsilon.abs() < 1e-6
        safe = torch.where(near, 1.0, epsilon)
        width = torch.where(near, math.log(n), -torch.expm1(-safe * math.log(n)) / safe) + low
    else:
        width = low + -math.expm1(-epsilon * math.log(n)) / epsilon
    for _ in range(4 - round(math.log2(torch.finfo(z.dtype).eps))):  # 27 halvings in float32, 56 in float64
        width = width / 2
        over = _power(z - (low + width), epsilon).sum(-1, keepdim=True) >= 1
        low = torch.where(over, low + width, low)
    return low


def entmax_bisect(x: Tensor, alpha: float | Tensor, dim: int = -1) -> Tensor:
    r"""Compute entmax for any alpha above 1 by bisection, and differentiate by the implicit function theorem.

    .. math::
        p_i = \big[1 + \varepsilon (x_i - \sigma)\big]_+^{1 / \varepsilon}, \qquad \varepsilon = \alpha - 1,
        \qquad \sigma :\; \sum_i p_i = 1

    where :math:`\sigma` is the common shift: the logsumexp of the scores as alpha goes to 1. Bisection finds its value;
    a Newton step on the sum, of length zero, carries its gradient, and a second one the gradient of that.

    Shapes:
        x: any. alpha: a number, or a tensor that broadcasts to x with length 1 along ``dim``. Returns the shape of x.
    """
    check_scores(x, dim)
    if not isinstance(alpha, Tensor) and not alpha > 1:
        raise ValueError(f"alpha is {alpha}, but must be above 1: for 1 take the softmax")
    epsilon = (alpha.to(x.dtype) if isinstance(alpha, Tensor) else x.new_tensor(float(alpha))) - 1
    z = (x - x.amax(dim, keepdim=True).detach()).movedim(dim, -1)
    epsilon = epsilon.movedim(dim, -1) if epsilon.dim() == x.dim() else epsilon
    with torch.no_grad():
        sigma = _shift(z, epsilon)
    for _ in range(2):
        p = _power(z - sigma, epsilon)
        held = p > 0
        slope = (torch.where(held, p, 1).pow(1 - epsilon) * held).sum(-1, keepdim=True)  # of the sum
        sigma = sigma + (p.sum(-1, keepdim=True) - 1) / slope
    return _power(z - sigma, epsilon).movedim(-1, dim)


class _Entmax(torch.autograd.Function):
    """Entmax along the last axis with its Jacobian written out, for the scores and for alpha."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor | None, number: float) -> Tensor:
        given, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))  # sums of bfloat16 are too coarse
        z = x - x.amax(-1, keepdim=True)
        if alpha is None and number == 1.5:
            kept = z.div_(2).sub_(_root15(z)).clamp_(min=0)  # p^(2 - 1.5) is all that the way back needs
            p = kept.square()
        else:
            epsilon = number - 1 if alpha is None else alpha.to(x.dtype) - 1
            p = _power(z - _shift(z, epsilon), epsilon)
            kept = p = p / p.sum(-1, keepdim=True)
        ctx.number = number
        ctx.save_for_backward(kept, alpha)
        return p.to(given)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, None]:
        p, alpha = ctx.saved_tensors
        given, g = g.dtype, g.to(p.dtype)
        if alpha is None:
            s = p if ctx.number == 1.5 else torch.where(p > 0, p.pow(2 - ctx.number), 0)
        else:
            s = torch.where(p > 0, p.pow(2 - alpha.to(p.dtype)), 0)
        sg = s * g
        grad_x = sg - s * (sg.sum(-1, keepdim=True) / s.sum(-1, keepdim=True))
        if alpha is None or not ctx.needs_input_grad[1]:
            return grad_x.to(given), None, None
        grad_alpha = (g * alpha_slope(p, alpha.to(p.dtype))).sum_to_size(alpha.shape)
        return grad_x.to(given), grad_alpha.to(alpha.dtype), None


def alpha_slope(p: Tensor, alpha: Tensor) -> Tensor:
    r"""Give the derivative of entmax by alpha from its weights, along the last axis.

    .. math::
        \frac{\partial p_i}{\partial \alpha} = \frac{p_i - \tilde p_i}{(\alpha - 1)^2}
        + \frac{h_i - \tilde p_i \sum_j h_j}{\alpha - 1}, \qquad \tilde p_i = \frac{p_i^{2 - \alpha}}{\sum_j p_j^{2 - \alpha}},
        \qquad h_i = -p_i \log p_i

    Both terms grow without bound as alpha goes to 1, and their sum does not. With :math:`t = -(\alpha - 1) \log p` and
    :math:`r = (e^t - 1 - t) / (\alpha - 1)^2` it is :math:`p_i (\bar r (1 + t_i) - r_i (1 + \bar t)) / (1 + \overline{e^t - 1})`,
    means taken under p: the same number, without a division by alpha - 1.

    Shapes:
        p: (..., C). alpha: broadcasts to (..., 1). Returns (..., C).

    Source: Correia et al. 2019, proposition 1.
    """
    epsilon = alpha - 1
    logs = torch.where(p > 0, p, 1).log()
    t = -epsilon * logs
    small = t.abs() < 0.03
    series = 1 / 2 + t / 6 + t.square() / 24 + t**3 / 120 + t**4 / 720  # (e^t - 1 - t) / t^2, error below 1e-11
    u = torch.expm1(t)
    ratio = torch.where(small, series, (u - t) / torch.where(small, 1, t).square())
    r = logs.square() * ratio

    def mean(v: Tensor) -> Tensor:
        return (p * v).sum(-1, keepdim=True)

    return p * (mean(r) * (1 + t) - r * (1 + mean(t))) / (1 + mean(u))


@entry(
    name="Entmax",
    aliases=("alpha-entmax", "SoftmaxEntmax"),
    page="softmax_family",
    kind="function",
    paper="peters2019sparse",
    peer="entmax.entmax_bisect",
    related=("Softmax", "Sparsemax", "Softmax family"),
    example=lambda: Example(entmax, (torch.tensor([[0.3, 0.9, -1.2, 0.5], [2.0, 0.1, 0.4, 1.7]]), 1.5)),
)
def entmax(x: Tensor, alpha: float | Tensor = 1.5, dim: int = -1) -> Tensor:
    r"""Give the weights that agree with the scores best, with Tsallis' entropy as the price of being sure.

    .. math::
        p = \arg\max_{q \in \Delta} \; q^{\top} x + \frac{1}{\alpha (\alpha - 1)} \sum_i (q_i - q_i^{\alpha}), \qquad
        p_i = \big[(\alpha - 1) x_i - \tau\big]_+^{1 / (\alpha - 1)}

    where :math:`\tau` makes the weights sum to one. At :math:`\alpha = 1` it is softmax, at 2 sparsemax.

    Args:
        x: scores.
        alpha: at least 1; above 1 weights can be exactly zero, the more the larger it is. A number (1, 1.5 and 2 have
            their own exact algorithms), or a tensor, which may be learned: a single one, or one that broadcasts to x
            with length 1 along ``dim``. A tensor is not read back, so that it is at least 1 is not checked.
        dim: the axis along which the weights sum to one.

    Shapes:
        x: any, with at least one score along ``dim``. Returns the same shape.

    Notice:
        It is no blend of softmax and sparsemax, which has no zero before it reaches sparsemax. On the support the Jacobian is
        :math:`\operatorname{diag}(s) - s s^{\top} / \sum_j s_j` with :math:`s = p^{2 - \alpha}`.
        It can be differentiated once; for second derivatives take ``entmax15`` or ``entmax_bisect``.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if alpha is a number below 1, or a tensor of a shape that does not fit.

    Source: Peters et al. 2019, section 3; the gradient of alpha: Correia et al. 2019, proposition 1.

    >>> entmax(torch.tensor([2.0, 1.0, 0.5, 1.5]), alpha=1.5)
    tensor([0.6234, 0.0839, 0.0016, 0.2911])
    """
    check_scores(x, dim)
    if not isinstance(alpha, Tensor):
        if not 1 <= alpha < math.inf:
            raise ValueError(f"alpha is {alpha}, but must be at least 1: 1 is softmax, 2 is sparsemax")
        if alpha == 1:
            return softmax_fused(x, dim)
        if alpha == 2:
            return sparsemax_fused(x, dim)
        return _Entmax.apply(x.movedim(dim, -1), None, float(alpha)).movedim(-1, dim)
    if alpha.dim() == x.dim() and alpha.dim():
        alpha = alpha.movedim(dim, -1)
    fits = alpha.numel() == 1 or (alpha.dim() == x.dim() and alpha.shape[-1] == 1)
    if not fits:
        raise ValueError(
            f"alpha of shape {tuple(alpha.shape)} does not fit x of shape {tuple(x.shape)}: give one number, or a tensor "
            f"with as many axes and length 1 along axis {dim}"
        )
    return _Entmax.apply(x.movedim(dim, -1), alpha, 0.0).movedim(-1, dim)
