"""What changes while a map learns: the neighbourhood function, and the decay of its radius and of the rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NEIGHBOURHOODS = ("gaussian", "bubble", "mexican_hat")
"""The neighbourhood functions."""

DECAYS = ("exponential", "linear", "inverse")
"""The ways from a first value to a last one."""


def neighbourhood(distance: Tensor, radius: float, kind: str = "gaussian") -> Tensor:
    r"""Say how much a unit at some lattice distance from the winner learns with it.

    .. math::
        h(d) = e^{-d^2/2\sigma^2} \ \text{(gaussian)},\qquad
        h(d) = [\,d \le \sigma\,] \ \text{(bubble)},\qquad
        h(d) = \Bigl(1 - \frac{d^2}{\sigma^2}\Bigr) e^{-d^2/2\sigma^2} \ \text{(mexican hat)}

    Args:
        distance: lattice distance from the winner.
        radius: :math:`\sigma`, above 0.
        kind: "gaussian", "bubble" or "mexican_hat", which pushes away what is further than the radius.

    Shapes:
        distance: any. Returns the same.

    Raises:
        ValueError: if ``kind`` is unknown, or ``radius`` is not above 0.

    >>> neighbourhood(torch.tensor([0.0, 1.0, 2.0]), 1.0)
    tensor([1.0000, 0.6065, 0.1353])
    """
    check_neighbourhood(kind)
    if not radius > 0:
        raise ValueError(f"radius is {radius}, but must be above 0; for the winner alone use 'bubble' with radius 0.5")
    if kind == "bubble":
        return (distance <= radius).to(distance.dtype)
    square = (distance / radius).square()
    bell = torch.exp(-square / 2)
    return bell if kind == "gaussian" else (1 - square) * bell


def gaussian_spread(values: Tensor, shape: tuple[int, ...], radius: float | tuple[float, ...]) -> Tensor:
    r"""Sum values over a rectangular lattice with Gaussian weights, one axis after the other.

    .. math::
        y_i = \sum_j e^{-\lVert r_i - r_j \rVert^2 / 2\sigma^2}\, v_j,
        \qquad e^{-(a^2 + b^2)/2\sigma^2} = e^{-a^2/2\sigma^2}\, e^{-b^2/2\sigma^2}

    Args:
        values: one row a unit, the last axis of the lattice running fastest.
        shape: units along each axis.
        radius: :math:`\sigma`, one for all axes or one for each; infinity adds an axis up, 0 leaves it as it is.

    Shapes:
        values: (N, C). Returns (N, C).

    Notice:
        The Gaussian of a Euclidean distance is a product over the axes, so 20 x 20 units need two 20 x 20 matrices and
        not one of 400 x 400. Neither a bubble nor a hexagonal lattice has this property.

    Raises:
        ValueError: if there is not one row a unit, or the radii are below 0 or not one for each axis.

    >>> gaussian_spread(torch.tensor([[1.0], [0.0], [0.0]]), (3,), 1.0).flatten()
    tensor([1.0000, 0.6065, 0.1353])
    """
    radii = radius if isinstance(radius, tuple) else (radius,) * len(shape)
    if len(radii) != len(shape) or not all(sigma >= 0 for sigma in radii):
        raise ValueError(f"radius is {radius}, but must be 0 or more, one number or one for each of {len(shape)} axes")
    if values.dim() != 2 or len(values) != math.prod(shape):
        raise ValueError(f"values have shape {tuple(values.shape)}, but {math.prod(shape)} rows are needed, one a unit")
    y = values
    for axis, (n, sigma) in enumerate(zip(shape, radii, strict=True)):
        if n == 1 or sigma == 0:
            continue
        line = torch.arange(n, device=values.device, dtype=values.dtype)
        kernel = torch.exp((line[:, None] - line).square() / (-2 * sigma**2))  # (n, n)
        y = kernel @ y.reshape(math.prod(shape[:axis]), n, -1)  # (before, n, after * C)
    return y.reshape(values.shape)


def check_neighbourhood(kind: str) -> None:
    """Refuse a neighbourhood function that does not exist.

    Raises:
        ValueError: if ``kind`` is not among the three.
    """
    if kind not in NEIGHBOURHOODS:
        raise ValueError(f"neighbourhood is {kind!r}, but must be one of {NEIGHBOURHOODS}")


def first_and_last(name: str, values: tuple[float, float]) -> tuple[float, float]:
    """Return the two ends of a decay, or say that one number is not two.

    Raises:
        TypeError: if ``values`` is not a pair.

    >>> first_and_last("rate", (0.5, 0.01))
    (0.5, 0.01)
    """
    if not isinstance(values, tuple | list) or len(values) != 2:
        raise TypeError(f"{name} is {values!r}, but must be a pair (first, last); equal ones keep it constant")
    return values[0], values[1]


def decay(step: int, steps: int, start: float, end: float, kind: str = "exponential") -> float:
    r"""Go from ``start`` at the first step to ``end`` at the last.

    .. math::
        a_t = a_0 \Bigl(\frac{a_1}{a_0}\Bigr)^{f},\qquad
        a_t = a_0 + (a_1 - a_0)\, f,\qquad
        a_t = \frac{a_0}{1 + (a_0/a_1 - 1)\, f},\qquad f = \frac{t}{T-1}

    Args:
        step: t, from 0.
        steps: T, how many there are.
        start: the value at t = 0.
        end: the value at t = T - 1; with ``end`` equal to ``start`` nothing decays.
        kind: "exponential", "linear" or "inverse".

    Raises:
        ValueError: if ``kind`` is unknown, a value is not above 0, or ``step`` is not among the ``steps``.

    >>> [round(decay(t, 3, 4.0, 1.0), 2) for t in range(3)]
    [4.0, 2.0, 1.0]
    """
    if kind not in DECAYS:
        raise ValueError(f"decay is {kind!r}, but must be one of {DECAYS}")
    if not (start > 0 and end > 0):
        raise ValueError(f"it decays from {start} to {end}, but both must be above 0")
    if not 0 <= step < steps:
        raise ValueError(f"step is {step}, but there are {steps} steps, counted from 0")
    f = step / max(steps - 1, 1)
    if kind == "exponential":
        return start * (end / start) ** f
    return start + (end - start) * f if kind == "linear" else start / (1 + (start / end - 1) * f)
