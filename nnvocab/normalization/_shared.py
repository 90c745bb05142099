"""What the normalizations share: sums in float32 for half-precision input, the learned scale and shift, checks."""

from __future__ import annotations

import torch
from torch import Tensor


def widen(x: Tensor) -> Tensor:
    """float16 and bfloat16 become float32, so that sums of many squares neither overflow nor lose their digits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def scale_and_shift(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Multiply by gamma and add beta, where there is one; both broadcast against y."""
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def per_channel(values: Tensor | None, x: Tensor) -> Tensor | None:
    """(C,) -> (C, 1, ...), which broadcasts against x of (B, C, ...)."""
    return None if values is None else values.view(-1, *[1] * (x.dim() - 2))


def shape_of(normalized_shape: int | tuple[int, ...] | list[int]) -> tuple[int, ...]:
    """Read ``normalized_shape``: one size, or the sizes of the last axes.

    >>> shape_of(5), shape_of([3, 4])
    ((5,), (3, 4))
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or any(n < 1 for n in shape):
        raise ValueError(
            f"normalized_shape is {normalized_shape!r}; give the size of the last axis, or the sizes of the last axes"
        )
    return shape


def check_last_axes(x: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse an input whose last axes are not those that are normalized."""
    if tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(
            f"x has the shape {tuple(x.shape)}, but its last axes must be {shape}: those are normalized together; "
            f"move the features to the end, or give another normalized_shape"
        )


def check_channels(x: Tensor, num_features: int) -> None:
    """Refuse an input that is not (B, C, ...) with the right C."""
    if x.dim() < 2 or x.shape[1] != num_features:
        raise ValueError(
            f"x has the shape {tuple(x.shape)}, but (B, {num_features}, ...) is needed: channels stand on axis 1; "
            f"a single sample needs x[None], channels at the end need x.movedim(-1, 1)"
        )
