"""The lattice of a self-organizing map: where its units stand, how far apart, and which are neighbours."""

from __future__ import annotations

import math
from itertools import product
from operator import index

import torch
from torch import Tensor

TOPOLOGIES = ("rectangular", "hexagonal")
"""The kinds of lattice: 8 neighbours around a unit of a plane, or 6."""


def lattice_shape(shape: int | tuple[int, ...], topology: str = "rectangular") -> tuple[int, ...]:
    """Return the shape of a lattice as a tuple, after a look at whether such a lattice exists.

    Args:
        shape: units along each of one to three axes; a number means one axis.
        topology: "rectangular" or "hexagonal".

    Raises:
        TypeError: if the number of units is no whole number.
        ValueError: if there are no axes or more than three, an axis has no unit, the topology is unknown, or a
            hexagonal lattice is asked for on one axis.

    >>> lattice_shape(5), lattice_shape((4, 6), "hexagonal")
    ((5,), (4, 6))
    """
    try:
        axes = tuple(index(s) for s in (shape if isinstance(shape, tuple | list) else (shape,)))
    except TypeError:
        raise TypeError(f"shape is {shape!r}, but must be a whole number or a tuple of them, e.g. (20, 20)") from None
    if not 1 <= len(axes) <= 3 or min(axes) < 1:
        raise ValueError(
            f"shape is {shape!r}, but a lattice has 1 to 3 axes with at least one unit each, e.g. (20, 20)"
        )
    if topology not in TOPOLOGIES:
        raise ValueError(f"topology is {topology!r}, but must be one of {TOPOLOGIES}")
    if topology == "hexagonal" and len(axes) == 1:
        raise ValueError("a hexagonal lattice needs two or three axes; a line of units is 'rectangular'")
    return axes


def lattice_positions(
    shape: int | tuple[int, ...],
    topology: str = "rectangular",
    *,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""Give every unit its place, such that neighbours are one apart.

    .. math::
        r_{ij} = (i,\ j) \quad\text{or, hexagonal,}\quad
        r_{ij} = \bigl(\tfrac{\sqrt 3}{2}\, i,\ \ j + \tfrac12 (i \bmod 2)\bigr)

    Args:
        shape: units along each of one to three axes.
        topology: "rectangular" or "hexagonal". With three axes a hexagonal lattice is a pile of hexagonal layers.
        device, dtype: of the result.

    Shapes:
        Returns (N, axes), the last axis running fastest.

    >>> lattice_positions((2, 2), "hexagonal")
    tensor([[0.0000, 0.0000],
            [0.0000, 1.0000],
            [0.8660, 0.5000],
            [0.8660, 1.5000]])
    """
    axes = lattice_shape(shape, topology)
    steps = [torch.arange(n, device=device, dtype=dtype or torch.get_default_dtype()) for n in axes]
    places = torch.stack(torch.meshgrid(*steps, indexing="ij"), dim=-1).reshape(-1, len(axes))  # (N, axes)
    if topology == "hexagonal":
        row, column = places[:, -2], places[:, -1]
        places = torch.cat(
            [places[:, :-2], (row * math.sqrt(3) / 2)[:, None], (column + row.remainder(2) / 2)[:, None]], dim=-1
        )
    return places


def lattice_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the Euclidean distance between every place of ``a`` and every place of ``b``.

    Shapes:
        a: (A, axes); b: (B, axes). Returns (A, B).

    >>> places = lattice_positions(3)
    >>> lattice_distance(places, places[:1]).flatten()
    tensor([0., 1., 2.])
    """
    return torch.linalg.vector_norm(a[:, None] - b, dim=-1)  # (A, 1, axes) - (B, axes) -> (A, B)


def adjacent(a: Tensor, b: Tensor, topology: str = "rectangular") -> Tensor:
    """Say of each pair of places whether they are the same or neighbours.

    On a rectangular lattice diagonal neighbours count, so that a unit of a plane has 8 (as MiniSom has it) and one of a
    block 26; a unit of a hexagonal plane has 6.

    Args:
        a, b: places, as ``lattice_positions`` gives them.
        topology: "rectangular" or "hexagonal".

    Shapes:
        a and b: (..., axes). Returns (...), true or false.
    """
    apart = (a - b).abs()
    if topology == "rectangular":
        return apart.amax(-1) < 1.2  # the next are 2 apart
    return apart.square().sum(-1) < 1.2**2  # the next are sqrt(2) or sqrt(3) apart


def neighbour_pairs(
    shape: int | tuple[int, ...], topology: str = "rectangular", *, device: torch.device | None = None
) -> Tensor:
    """List the pairs of neighbouring units, each pair once.

    Args:
        shape: units along each axis.
        topology: "rectangular" or "hexagonal".
        device: of the result.

    Shapes:
        Returns (E, 2): numbers of units, the smaller first.

    >>> neighbour_pairs(3).tolist()
    [[0, 1], [1, 2]]
    """
    axes = lattice_shape(shape, topology)
    places = lattice_positions(axes, topology, device=device)
    cells = lattice_positions(axes, device=device).long()  # (N, axes): row, column, ... as whole numbers
    size = torch.tensor(axes, device=device)
    stride = torch.tensor([math.prod(axes[i + 1 :]) for i in range(len(axes))], device=device)
    number = torch.arange(len(cells), device=device)
    found = []
    for offset in product((-1, 0, 1), repeat=len(axes)):
        near = cells + torch.tensor(offset, device=device)
        inside = ((near >= 0) & (near < size)).all(-1)
        other = (near * stride).sum(-1)
        keep = inside & (other > number)
        one, two = number[keep], other[keep]
        touch = adjacent(places[one], places[two], topology)
        found.append(torch.stack([one[touch], two[touch]], dim=-1))
    return torch.cat(found)
