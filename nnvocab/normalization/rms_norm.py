"""RMS normalization: scale by the root mean square, without centring."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.normalization._shared import check_last_axes, scale_and_shift, shape_of, widen
from nnvocab.vocabulary import Example, entry


def rms_norm(x: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    r"""Divide by the root mean square over the last axes, as the equation is written.

    .. math::
        y = \frac{x}{\sqrt{\frac{1}{C} \sum_c x_c^2 + \varepsilon}} \odot \gamma

    Shapes:
        x: any shape that ends with normalized_shape; weight: normalized_shape. Returns the shape of x.
    """
    check_last_axes(x, normalized_shape, weight)
    axes = tuple(range(-len(normalized_shape), 0))
    wide = widen(x)  # in float16 a square overflows from 256 on
    mean_square = wide.square().mean(axes, keepdim=True)
    return scale_and_shift(wide * (mean_square + eps).rsqrt(), weight, None).to(x.dtype)


def rms_norm_fused(
    x: Tensor, normalized_shape: tuple[int, ...], weight: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """The same function by torch's kernel, which widens half precision by itself."""
    return F.rms_norm(x, normalized_shape, weight, eps)


@entry(
    name="RMS normalization",
    page="root_mean_square",
    aliases=("RMSNorm", "root mean square layer normalization", "RMSNormLayer", "RMS normalization layer"),
    ids=("rms_norm", "loom_rmsnorm", "caramba_rmsnorm"),
    paper="zhang2019root",
    peer="torch.nn.RMSNorm",
    example=lambda: Example(RMSNorm(6), (torch.randn(2, 5, 6),)),
    related=("Layer normalization", "Partial RMS normalization", "When to use each normalization"),
)
class RMSNorm(nn.Module):
    r"""Layer that gives the features of each sample, or of each token, root mean square 1.

    .. math::
        y = \frac{x}{\sqrt{\frac{1}{C} \sum_c x_c^2 + \varepsilon}} \odot \gamma

    Args:
        normalized_shape: the size C of the last axis, or the sizes of the last axes, normalized together.
        eps: :math:`\varepsilon` below the root; a row of zeros stays 0 instead of 0 / 0. torch's own layer takes the
            machine epsilon of the input's type unless told otherwise.
        elementwise_affine: learn a scale :math:`\gamma` for each feature; there is no shift.

    Shapes:
        x: any shape that ends with normalized_shape. Returns the same shape.

    Notice:
        Multiplying x by a positive number changes nothing (but for eps); shifting x does. On centred input it equals
        layer normalization without its shift.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if ``normalized_shape`` holds no positive sizes, or x does not end with them.

    Source: Zhang and Sennrich 2019, equation 4; eps below the root as in Llama's and torch's code.

    >>> RMSNorm(2)(torch.tensor([3.0, 4.0])).pow(2).mean().round(decimals=3).item()
    1.0
    """

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, elementwise_affine: bool = True
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = shape_of(normalized_shape), eps
        self.weight = nn.Parameter(torch.ones(self.normalized_shape)) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        check_last_axes(x, self.normalized_shape)
        return rms_norm_fused(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"
