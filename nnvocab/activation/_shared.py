"""What the functions of this chapter share: the checks of their input."""

from __future__ import annotations

import torch
from torch import Tensor


def check_floats(x: Tensor) -> None:
    """Refuse what has no exponentials: integers and booleans.

    Raises:
        TypeError: if x is not of a floating-point type.
    """
    if not x.is_floating_point():
        raise TypeError(f"x has dtype {x.dtype}, but a floating-point type is needed: give x.float()")


def check_scores(x: Tensor, dim: int) -> None:
    """Refuse scores over which nothing can be normalised: no floats, no such axis, an empty axis.

    Only the shape and the type are looked at, which costs nothing on any device. Whether a score is NaN would have to
    be read back from the device: ``require_finite`` does that, where the caller asks for it.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if x has no axis ``dim``, or that axis is empty.
    """
    check_floats(x)
    if not x.dim():
        raise ValueError("x is a single number, without an axis along which to normalise: give a vector of scores")
    if not -x.dim() <= dim < x.dim():
        raise ValueError(f"dim is {dim}, but x of shape {tuple(x.shape)} has {x.dim()} axes: give -1 for the last")
    if x.shape[dim] == 0:
        raise ValueError(
            f"x of shape {tuple(x.shape)} has no score along axis {dim}: at least one is needed to sum to 1"
        )


def check_temperature(temperature: float | Tensor) -> None:
    """Refuse a temperature that is not above zero; one that is a tensor is not read back, so not checked.

    Raises:
        ValueError: if temperature is a number and not above 0.
    """
    if not isinstance(temperature, Tensor) and not temperature > 0:
        raise ValueError(
            f"temperature is {temperature}, but must be above 0; the limit at 0 is the argmax: "
            "take torch.nn.functional.one_hot(x.argmax(dim))"
        )


def require_finite(x: Tensor, name: str = "x") -> Tensor:
    """Return x if every number in it is finite, else say where the first is that is not.

    The functions of this chapter hand a NaN on (a row with a NaN score becomes NaN) and never look for one, since
    that would read the tensor back from the device at every call. Call this where a run went wrong, or once a step.

    Args:
        x: any tensor.
        name: what to call it in the message.

    Raises:
        ValueError: if a number of x is NaN or infinite.

    >>> require_finite(torch.zeros(2)).shape
    torch.Size([2])
    """
    bad = ~torch.isfinite(x)
    if bad.any():
        place = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"{name} has {int(bad.sum())} of {x.numel()} numbers that are not finite, the first, {x[place].item()}, at "
            f"{place}: look for a division by zero or an overflow in what made it; to forbid a position, give a mask"
        )
    return x
