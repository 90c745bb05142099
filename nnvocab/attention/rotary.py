"""Rotary positional embedding: turn queries and keys by their position, and scores see the distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nnvocab.attention.positions import PositionalEncoding, check_offset
from nnvocab.vocabulary import Example, entry

Layout = Literal["interleaved", "half"]


def rotary_frequencies(
    dim: int, *, base: float = 10000.0, scaling: Literal["linear", "ntk"] | None = None, factor: float = 1.0
) -> Tensor:
    r"""Say how far each pair turns from one position to the next: :math:`\theta_i = b^{-2i/R}`, in radians.

    Args:
        dim: even number R of columns that turn.
        base: the base b.
        scaling: how to reach texts ``factor`` times as long as those of the training: ``"linear"`` turns every pair
            more slowly (position interpolation), ``"ntk"`` raises the base to b * factor^(R / (R - 2)), which leaves
            the fastest pair as it was and slows the slowest down by the whole factor.
        factor: how many times longer.

    Shapes:
        Returns (R / 2,).

    Raises:
        ValueError: if ``dim`` is odd, or an option has no such value.
    """
    return torch.tensor(_frequencies(dim, base, scaling, factor), dtype=torch.float64)


def _frequencies(dim: int, base: float, scaling: str | None, factor: float) -> tuple[float, ...]:
    """Compute the same as plain numbers, so that a layer can be made on any device, ``"meta"`` too."""
    if dim < 2 or dim % 2:
        raise ValueError(f"{dim} columns were to turn, but they turn in pairs: give an even number, at least 2")
    if base <= 1 or factor < 1:
        raise ValueError(f"base is {base} and factor is {factor}; give a base above 1 and a factor of at least 1")
    if scaling not in (None, "linear", "ntk"):
        raise ValueError(f"scaling is {scaling!r}, but must be None, 'linear' or 'ntk'")
    if scaling is None and factor != 1:
        raise ValueError(f"factor is {factor}, but no scaling was chosen: pass scaling='linear' or scaling='ntk'")
    if scaling == "ntk":
        if dim < 4:
            raise ValueError("scaling='ntk' needs at least two pairs (dim 4): a single pair has no slower one")
        base = base * factor ** (dim / (dim - 2))
    slower = factor if scaling == "linear" else 1.0
    return tuple(base ** (-i / dim) / slower for i in range(0, dim, 2))


def _check_turning(x: Tensor, positions: Tensor, theta: Tensor, layout: str) -> None:
    _check_layout(layout)
    shapes = tuple(x.shape), tuple(positions.shape), tuple(theta.shape)
    if x.ndim < 2 or shapes[1] != (x.shape[-2],) or theta.ndim != 1 or 2 * len(theta) != x.shape[-1]:
        raise ValueError(
            f"x has shape {shapes[0]}, positions {shapes[1]} and theta {shapes[2]}, but need (..., T, R), (T,) and "
            f"(R / 2,): a position for each row, an angle for each pair of columns"
        )


def _check_layout(layout: str) -> None:
    if layout not in ("interleaved", "half"):
        raise ValueError(f"layout is {layout!r}, but must be 'interleaved' or 'half'")


def rotate_by_position(x: Tensor, positions: Tensor, theta: Tensor, *, layout: Layout = "interleaved") -> Tensor:
    r"""Multiply each vector with its rotation matrix, as the equation is written.

    .. math::
        R_t = \operatorname{diag}\begin{pmatrix} \cos t\theta_i & -\sin t\theta_i \\
        \sin t\theta_i & \cos t\theta_i \end{pmatrix}_{i}

    Args:
        x: queries or keys; every column turns.
        positions: position t of each.
        theta: angle from one position to the next, for each pair of columns.
        layout: which columns are pairs: ``"interleaved"`` 0 with 1, 2 with 3, ...; ``"half"`` i with i + R / 2.

    Shapes:
        x: (..., T, R); positions: (T,); theta: (R / 2,). Returns (..., T, R).

    Raises:
        ValueError: if shapes do not fit together, or there is no such layout.
    """
    _check_turning(x, positions, theta, layout)
    half = x.shape[-1] // 2
    rows = []
    for n, t in enumerate(positions):
        R = torch.zeros(2 * half, 2 * half, dtype=x.dtype, device=x.device)
        for i in range(half):
            a, b = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, i + half)
            c, s = torch.cos(t * theta[i]), torch.sin(t * theta[i])
            R[a, a], R[a, b], R[b, a], R[b, b] = c, -s, s, c
        rows.append(x[..., n, :] @ R.T)
    return torch.stack(rows, dim=-2)


def rotate_by_position_fused(x: Tensor, positions: Tensor, theta: Tensor, *, layout: Layout = "interleaved") -> Tensor:
    """The same function: no matrix, two products a number."""
    _check_turning(x, positions, theta, layout)
    angles = positions.unsqueeze(-1) * theta  # (T, R / 2)
    return turn_pairs(x, angles.cos().to(x.dtype), angles.sin().to(x.dtype), layout)


def turn_pairs(x: Tensor, cos: Tensor, sin: Tensor, layout: Layout) -> Tensor:
    """Turn pairs of columns of x, (..., T, R), by angles whose cos and sin are (T, R / 2)."""
    if layout == "half":
        a, b = x.chunk(2, dim=-1)  # (..., T, R / 2) each
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)


@entry(
    name="Rotary positional embedding",
    aliases=("RoPE", "rotary embedding", "rope_base"),
    page="positions",
    ids=("rope", "caramba_rope_options"),
    paper="su2024roformer",
    peer="rotary_embedding_torch.RotaryEmbedding",
    example=lambda: Example(RotaryEmbedding(4), (torch.randn(2, 3, 5, 6),)),
    related=("Rotary position embedding attention", "Positional encodings", "Attention with linear biases"),
)
class RotaryEmbedding(PositionalEncoding):
    r"""Turn each pair of columns of a query or key by an angle proportional to its position.

    .. math::
        \begin{pmatrix} x'_{a} \\ x'_{b} \end{pmatrix} =
        \begin{pmatrix} \cos t\theta_i & -\sin t\theta_i \\ \sin t\theta_i & \cos t\theta_i \end{pmatrix}
        \begin{pmatrix} x_{a} \\ x_{b} \end{pmatrix}, \qquad \theta_i = b^{-2i/R}

    where :math:`t` is the position, :math:`(a, b)` the columns of pair :math:`i`, :math:`R` the number of columns that
    turn and :math:`b` the base.

    Args:
        dim: columns R of each head that turn, an even number; further columns stay as they are (partial rotary).
        base: the base b.
        layout: ``"interleaved"`` pairs columns 0 and 1, 2 and 3, ...; ``"half"`` pairs i and i + R / 2.
        scaling: ``"linear"`` or ``"ntk"`` for texts longer than those of the training, see ``rotary_frequencies``.
        factor: how many times longer.
        max_positions: positions whose cosines and sines are kept ready; others are computed when they occur.

    Shapes:
        x: (B, H, T, D), queries or keys with D >= R. Returns (B, H, T, D).

    Notice:
        A rotation keeps lengths, and the dot product of a query at t with a key at s depends on t - s only. Values are
        not turned. The two layouts compute the same with the columns in another order, so weights of one give nonsense
        in the other.

    Raises:
        ValueError: if ``dim`` is odd or wider than a head, the offset is negative, or an option has no such value.

    Source: Su et al. 2024, sections 3.2 to 3.4; linear scaling: Chen et al. 2023; NTK-aware: Peng et al. 2024,
    section 3.1.

    >>> rope = RotaryEmbedding(64)
    >>> q = torch.randn(1, 8, 10, 64)
    >>> bool(torch.allclose(rope(q, offset=5).norm(dim=-1), q.norm(dim=-1), rtol=1e-4))
    True
    """

    def __init__(
        self,
        dim: int,
        *,
        base: float = 10000.0,
        layout: Layout = "interleaved",
        scaling: Literal["linear", "ntk"] | None = None,
        factor: float = 1.0,
        max_positions: int = 2048,
    ) -> None:
        super().__init__()
        _check_layout(layout)
        if max_positions < 1:
            raise ValueError(f"max_positions is {max_positions}, but must be at least 1")
        self.dim, self.layout, self.max_positions = dim, layout, max_positions
        self.theta = _frequencies(dim, base, scaling, factor)  # exact, whatever dtype the module is moved to
        self.register_buffer("cos", self._table(np.cos), persistent=False)
        self.register_buffer("sin", self._table(np.sin), persistent=False)

    def _table(self, wave: Callable, device: torch.device | None = None) -> Tensor:
        angles = np.outer(np.arange(self.max_positions), self.theta)  # (max_positions, R / 2) in float64
        return torch.tensor(wave(angles), dtype=torch.float32, device=device)

    def _apply(self, fn: Callable, recurse: bool = True) -> RotaryEmbedding:
        """Move the layer; tables that lost precision, or had no numbers on the meta device, are made anew."""
        empty = self.cos.is_meta
        super()._apply(fn, recurse)
        if self.cos.dtype != torch.float32 or empty:
            self.cos, self.sin = (self._table(wave, self.cos.device) for wave in (np.cos, np.sin))
        return self

    def cos_sin(self, T: int, offset: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines for T positions from ``offset`` on, (T, R / 2) each, in the dtype of ``like``."""
        end = offset + T
        if end <= self.max_positions and like.dtype != torch.float64 and like.device == self.cos.device:
            return self.cos.narrow(0, offset, T).to(like.dtype), self.sin.narrow(0, offset, T).to(like.dtype)
        exact = torch.promote_types(like.dtype, torch.float32)  # half precision cannot tell large positions apart
        theta = torch.tensor(self.theta, dtype=exact, device=like.device)
        angles = torch.arange(offset, end, dtype=exact, device=like.device).unsqueeze(-1) * theta
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)

    def rotate(self, x: Tensor, *, offset: int = 0) -> Tensor:
        check_offset(offset)
        if x.ndim < 2 or x.shape[-1] < self.dim:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but {self.dim} columns of each head are to turn: give (..., positions, "
                f"head width) with a head width of at least {self.dim}"
            )
        cos, sin = self.cos_sin(x.shape[-2], offset, x)
        if x.shape[-1] == self.dim:
            return turn_pairs(x, cos, sin, self.layout)
        turning, rest = x.split([self.dim, x.shape[-1] - self.dim], dim=-1)
        return torch.cat([turn_pairs(turning, cos, sin, self.layout), rest], dim=-1)

    def forward(self, x: Tensor, *, offset: int = 0) -> Tensor:
        return self.rotate(x, offset=offset)
