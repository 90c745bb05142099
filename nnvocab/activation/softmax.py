"""Softmax: scores become positive weights that sum to one. Log-softmax: the logarithm of that, without underflow."""

from __future__ import annotations

import torch
from torch import Tensor

from nnvocab.activation._shared import check_scores
from nnvocab.vocabulary import Example, entry


@entry(
    name="Softmax",
    aliases=("Softmax (standard)", "SoftmaxStandard", "normalised exponential", "normalized exponential"),
    ids=("softmax", "loom_softmax"),
    page="softmax",
    kind="function",
    paper="bridle1990probabilistic",
    peer="torch.nn.functional.softmax",
    related=("Log-softmax", "Temperature softmax", "Masked softmax", "Softmax family"),
    example=lambda: Example(softmax, (torch.randn(3, 5),)),
)
def softmax(x: Tensor, dim: int = -1) -> Tensor:
    r"""Turn scores into weights that are positive and sum to one.

    .. math::
        p_i = \frac{e^{x_i - m}}{\sum_j e^{x_j - m}}, \qquad m = \max_j x_j

    where :math:`x_i` are the scores. Any :math:`m` gives the same weights; the largest score keeps every exponential
    at most 1, so that nothing overflows.

    Args:
        x: scores, also called logits.
        dim: the axis along which the weights sum to one.

    Shapes:
        x: any, with at least one score along ``dim``. Returns the same shape.

    Notice:
        Only differences of scores matter. The Jacobian is :math:`\operatorname{diag}(p) - p p^{\top}`: it vanishes where
        one weight is near 1, so a sure network hardly learns through it. A score of minus infinity has weight 0; to forbid
        positions by a mask take ``masked_softmax``. A NaN score makes its whole row NaN, and so does a row in which all
        scores are minus infinity.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if x has no axis ``dim``, or that axis is empty.

    Source: Bridle 1990, who gave it its name.

    >>> softmax(torch.tensor([2.0, 1.0, 0.1]))
    tensor([0.6590, 0.2424, 0.0986])
    """
    check_scores(x, dim)
    e = torch.exp(x - x.amax(dim, keepdim=True).detach())  # the shift changes nothing, so nothing flows through it
    return e / e.sum(dim, keepdim=True)


def softmax_fused(x: Tensor, dim: int = -1) -> Tensor:
    """The same function by torch's kernel: one pass, and a backward pass that keeps the weights only."""
    check_scores(x, dim)
    return torch.softmax(x, dim)


@entry(
    name="Log-softmax",
    aliases=("numerically stable softmax + log", "log softmax"),
    ids=("log_softmax",),
    page="softmax",
    kind="function",
    paper="blanchard2021accurately",
    peer="torch.nn.functional.log_softmax",
    related=("Softmax",),
    example=lambda: Example(log_softmax, (torch.randn(3, 5),)),
)
def log_softmax(x: Tensor, dim: int = -1) -> Tensor:
    r"""Give the logarithm of the softmax without computing the softmax.

    .. math::
        \log p_i = x_i - m - \log \sum_j e^{x_j - m}, \qquad m = \max_j x_j

    where :math:`x_i` are the scores; what is subtracted is their logsumexp.

    Args:
        x: scores.
        dim: the axis along which the weights sum to one.

    Shapes:
        x: any, with at least one score along ``dim``. Returns the same shape.

    Notice:
        A weight below about 1e-45 is 0 in float32, and the logarithm of 0 is minus infinity; this form stays finite.
        Cross-entropy is the negative of this number at the right class.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if x has no axis ``dim``, or that axis is empty.

    Source: Blanchard et al. 2021, on the errors of the shifted and of the plain formula.

    >>> log_softmax(torch.tensor([1000.0, 0.0]))
    tensor([    0., -1000.])
    """
    check_scores(x, dim)
    shifted = x - x.amax(dim, keepdim=True).detach()
    return shifted - shifted.exp().sum(dim, keepdim=True).log()


def log_softmax_fused(x: Tensor, dim: int = -1) -> Tensor:
    """The same function by torch's kernel."""
    check_scores(x, dim)
    return torch.log_softmax(x, dim)
