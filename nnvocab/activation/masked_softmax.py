"""Masked softmax: what is forbidden gets weight zero, exactly, and so does its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from nnvocab.activation._shared import check_scores
from nnvocab.vocabulary import Example, entry


def _check_mask(x: Tensor, mask: Tensor, dim: int) -> None:
    check_scores(x, dim)
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask is a {type(mask).__name__}, but a tensor is needed: give torch.tensor(mask)")
    if mask.dtype != torch.bool:
        raise TypeError(f"mask has dtype {mask.dtype}, but torch.bool is needed, True where allowed: give mask.bool()")
    try:
        fits = torch.broadcast_shapes(mask.shape, x.shape) == x.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"mask of shape {tuple(mask.shape)} does not broadcast to x of shape {tuple(x.shape)}: "
            "give one boolean for each score, or 1 along the axes that share"
        )


@entry(
    name="Masked softmax",
    aliases=("SoftmaxMasked", "action masking", "Masked"),
    ids=("loom_masked_softmax",),
    page="softmax",
    kind="function",
    paper="vaswani2017attention",
    peer="torch.masked.softmax",
    related=("Softmax", "Scaled dot-product attention"),
    example=lambda: Example(masked_softmax, (torch.randn(3, 5), torch.tensor([[True, True, False, True, False]] * 3))),
)
def masked_softmax(x: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    r"""Take the softmax over the allowed positions only.

    .. math::
        p_i = \frac{a_i\, e^{x_i - m}}{\sum_j a_j\, e^{x_j - m}}, \qquad m = \max_{j:\, a_j = 1} x_j

    where :math:`a_i` is 1 if position :math:`i` is allowed, else 0.

    Args:
        x: scores.
        mask: True where allowed; broadcasts to the shape of x.
        dim: the axis along which the weights sum to one.

    Shapes:
        x: any. mask: broadcasts to x, never the other way. Returns the shape of x.

    Notice:
        A forbidden position has weight 0 and gradient 0, exactly, whatever its score, NaN included. Where nothing is
        allowed the row is all zeros and passes no gradient: the only row that does not sum to one. Where all that is
        allowed is at minus infinity the row is NaN, as in a plain softmax.

    Raises:
        TypeError: if mask is not boolean, or x not of a floating-point type.
        ValueError: if mask does not broadcast to the shape of x; if axis ``dim`` is missing or empty.

    Source: Vaswani et al. 2017, section 3.2.3, sets the forbidden scores to minus infinity.

    >>> masked_softmax(torch.tensor([1.0, 9.0, 1.0]), torch.tensor([True, False, True]))
    tensor([0.5000, 0.0000, 0.5000])
    """
    _check_mask(x, mask, dim)
    m = x.masked_fill(torch.logical_not(mask), float("-inf")).amax(dim, keepdim=True).detach()
    e = torch.exp(torch.where(mask, x - m, 0)) * mask  # where() first: what is forbidden must not reach exp()
    total = e.sum(dim, keepdim=True)
    return e / total.masked_fill(total == 0, 1)


def masked_softmax_fused(x: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """The same function by torch's softmax of scores at minus infinity; a row that may nothing is set to 0 apart."""
    _check_mask(x, mask, dim)
    some = mask.expand(x.shape).view(torch.uint8).amax(dim, keepdim=True).to(x.dtype)  # 1 where a row may anything
    low = torch.zeros_like(some).masked_fill(some > 0, float("-inf"))
    return torch.softmax(torch.where(mask, x, low), dim) * some
