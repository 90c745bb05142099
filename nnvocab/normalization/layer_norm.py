"""Layer normalization: each sample is centred and scaled over its own features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.normalization._shared import check_last_axes, scale_and_shift, shape_of, widen
from nnvocab.vocabulary import Example, entry


def layer_norm(
    x: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r"""Centre and scale over the last axes, as the equation is written.

    .. math::
        y = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} \odot \gamma + \beta, \qquad
        \mu = \frac{1}{C} \sum_c x_c, \qquad \sigma^2 = \frac{1}{C} \sum_c (x_c - \mu)^2

    Shapes:
        x: any shape that ends with normalized_shape; weight and bias: normalized_shape. Returns the shape of x.
    """
    check_last_axes(x, normalized_shape, weight, bias)
    axes = tuple(range(-len(normalized_shape), 0))
    wide = widen(x)
    centred = wide - wide.mean(axes, keepdim=True)  # first the mean, then the squares: the digits survive a large mean
    variance = centred.square().mean(axes, keepdim=True)
    return scale_and_shift(centred * (variance + eps).rsqrt(), weight, bias).to(x.dtype)


def layer_norm_fused(
    x: Tensor,
    normalized_shape: tuple[int, ...],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The same function by torch's kernel, which reads x once and stores no centred copy of it."""
    return F.layer_norm(x, normalized_shape, weight, bias, eps)


@entry(
    name="Layer normalization",
    page="over_which_axes",
    aliases=("LayerNorm", "LN", "LayerNormLayer", "Layer normalization layer"),
    ids=("layer_norm", "loom_layernorm", "caramba_layernorm"),
    paper="ba2016layer",
    peer="torch.nn.LayerNorm",
    example=lambda: Example(LayerNorm((3, 4)), (torch.randn(2, 5, 3, 4),)),
    related=("RMS normalization", "Batch normalization", "Group normalization", "When to use each normalization"),
)
class LayerNorm(nn.Module):
    r"""Layer that gives the features of each sample, or of each token, mean 0 and variance 1.

    .. math::
        y = \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} \odot \gamma + \beta

    where :math:`\mu` and the biased variance :math:`\sigma^2` are taken over ``normalized_shape`` alone.

    Args:
        normalized_shape: the size of the last axis, or the sizes of the last axes, normalized together.
        eps: :math:`\varepsilon` below the root; a row of equal numbers becomes 0 instead of 0 / 0.
        elementwise_affine: learn a scale :math:`\gamma` for each feature.
        bias: learn a shift :math:`\beta` too; without effect if ``elementwise_affine`` is False.

    Shapes:
        x: any shape that ends with normalized_shape. Returns the same shape.

    Notice:
        No sample sees another, so training and evaluation are the same and a batch of one works. The output does not
        change when x is multiplied by a positive number or shifted (but for eps).

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if ``normalized_shape`` holds no positive sizes, or x does not end with them.

    Source: Ba et al. 2016, section 3; scale and shift in section 3.1.

    >>> LayerNorm(4)(torch.tensor([100.0, -50.0, 25.0, 75.0])).detach().numpy().round(3)
    array([ 1.091, -1.528, -0.218,  0.655], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.normalized_shape, self.eps = shape_of(normalized_shape), eps
        self.weight = nn.Parameter(torch.ones(self.normalized_shape)) if elementwise_affine else None
        self.bias = nn.Parameter(torch.zeros(self.normalized_shape)) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        check_last_axes(x, self.normalized_shape)
        return layer_norm_fused(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"
