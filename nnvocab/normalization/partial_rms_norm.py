"""Partial RMS normalization: the root mean square is estimated from the first few features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nnvocab.normalization._shared import check_last_axes, scale_and_shift, widen
from nnvocab.vocabulary import Example, entry


def _first(x: Tensor, k: int) -> Tensor:
    if not x.dim() or not 1 <= k <= x.shape[-1]:
        raise ValueError(f"k is {k}, but x of shape {tuple(x.shape)} needs one from 1 to the size of its last axis")
    return x.narrow(-1, 0, k)


def partial_rms_norm(x: Tensor, k: int, weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    r"""Divide all features by the root mean square of the first k, as the equation is written.

    .. math::
        y_c = \frac{x_c}{\sqrt{\frac{1}{k} \sum_{j \le k} x_j^2 + \varepsilon}}\, \gamma_c

    Shapes:
        x: (..., C); weight: (C,). Returns (..., C).
    """
    wide = widen(x)
    mean_square = _first(wide, k).square().mean(-1, keepdim=True)  # (..., 1)
    return scale_and_shift(wide * (mean_square + eps).rsqrt(), weight, None).to(x.dtype)


def partial_rms_norm_by_length(x: Tensor, k: int, weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """The same function by the length of the part, which makes no squared copy of it."""
    wide = widen(x)
    length = torch.linalg.vector_norm(_first(wide, k), dim=-1, keepdim=True)  # (..., 1): sqrt(k) times the RMS
    return scale_and_shift(wide * (length.square() / k + eps).rsqrt(), weight, None).to(x.dtype)


@entry(
    name="Partial RMS normalization",
    page="root_mean_square",
    aliases=("pRMSNorm", "partial RMSNorm"),
    paper="zhang2019root",
    example=lambda: Example(PartialRMSNorm(8, 0.5), (torch.randn(2, 5, 8),)),
    related=("RMS normalization",),
)
class PartialRMSNorm(nn.Module):
    r"""Layer that takes the root mean square of the first ``fraction`` of the features for that of all.

    .. math::
        y_c = \frac{x_c}{\sqrt{\frac{1}{k} \sum_{j \le k} x_j^2 + \varepsilon}}\, \gamma_c,
        \qquad k = \lceil p\, C \rceil

    Args:
        normalized_shape: the width C of the last axis.
        fraction: the share p of the features that is looked at, above 0 and at most 1; the paper takes 1/16.
        eps: :math:`\varepsilon` below the root.
        elementwise_affine: learn a scale :math:`\gamma` for each feature.

    Shapes:
        x: (..., C). Returns (..., C).

    Notice:
        A fraction of 1 is RMS normalization. The estimate from k features scatters by about 1 / sqrt(2 k) where the
        features are independent Gaussian numbers, and it is biased where the first features are unlike the rest.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if the width is below 1, ``fraction`` is not above 0 and at most 1, or x has another width.

    Source: Zhang and Sennrich 2019, there called pRMSNorm, with p = 6.25 %.

    >>> PartialRMSNorm(512, 1 / 16).k
    32
    """

    def __init__(
        self, normalized_shape: int, fraction: float = 1 / 16, eps: float = 1e-5, elementwise_affine: bool = True
    ) -> None:
        super().__init__()
        if normalized_shape < 1:
            raise ValueError(f"normalized_shape is {normalized_shape}, but a width of at least 1 is needed")
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction is {fraction}, but must be above 0 and at most 1, e.g. 1/16")
        self.normalized_shape, self.eps = (normalized_shape,), eps
        self.k = math.ceil(fraction * normalized_shape)
        self.weight = nn.Parameter(torch.ones(normalized_shape)) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        check_last_axes(x, self.normalized_shape)
        return partial_rms_norm_by_length(x, self.k, self.weight, self.eps)
