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
    if values is None:
        return None
    if values.shape != x.shape[1:2]:
        raise ValueError(
            f"x has the shape {tuple(x.shape)} and a weight, bias or average {tuple(values.shape)}, but one number for "
            f"each of the {x.shape[1]} channels is needed: ({x.shape[1]},)"
        )
    return values.view(-1, *[1] * (x.dim() - 2))


def shape_of(normalized_shape: int | tuple[int, ...] | list[int]) -> tuple[int, ...]:
    """Read ``normalized_shape``: one size, or the sizes of the last axes.

    >>> shape_of(5), shape_of([3, 4])
    ((5,), (3, 4))
    """
    shape = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    if not shape or any(not isinstance(n, int) or n < 1 for n in shape):
        raise ValueError(
            f"normalized_shape is {normalized_shape!r}; give the size of the last axis, or the sizes of the last axes"
        )
    return shape


def check_floats(x: Tensor) -> None:
    """Refuse integers, which have no fractions to be scaled to."""
    if not x.is_floating_point():
        raise TypeError(f"x has dtype {x.dtype}, but a floating-point type is needed: give x.float()")


def check_last_axes(x: Tensor, shape: tuple[int, ...], *weights: Tensor | None) -> None:
    """Refuse an input whose last axes are not those that are normalized, no axes at all, and weights of another shape."""
    check_floats(x)
    for w in weights:
        if w is not None and tuple(w.shape) != tuple(shape):
            raise ValueError(f"weight and bias must have the shape {tuple(shape)}, but one has {tuple(w.shape)}")
    if not shape or tuple(x.shape[-len(shape) :]) != tuple(shape):
        raise ValueError(
            f"x has the shape {tuple(x.shape)}, but its last axes must be {shape}: those are normalized together; "
            f"move the features to the end, or give another normalized_shape"
        )


def check_width(num_features: int) -> None:
    """Refuse a layer without channels."""
    if num_features < 1:
        raise ValueError(f"the number of channels is {num_features}, but at least 1 is needed")


def check_channels(x: Tensor, num_features: int | None = None) -> None:
    """Refuse an input that is not (B, C, ...), with the right C if it is given."""
    check_floats(x)
    if x.dim() < 2 or num_features not in (None, x.shape[1]):
        raise ValueError(
            f"x has the shape {tuple(x.shape)}, but (B, {num_features or 'C'}, ...) is needed: channels stand on axis 1; "
            f"a single sample needs x[None], channels at the end need x.movedim(-1, 1)"
        )
