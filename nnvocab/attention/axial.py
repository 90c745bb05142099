"""Axial attention: along the rows, then along the columns, and two layers see the whole picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnvocab.attention.heads import check_heads
from nnvocab.attention.masks import causal_mask
from nnvocab.attention.qkv import HeadProjections, check_at_least
from nnvocab.attention.scaled_dot_product import scaled_dot_product_attention, scaled_dot_product_attention_fused
from nnvocab.vocabulary import Example, entry


def check_axis(q: Tensor, k: Tensor, v: Tensor, axis: int) -> None:
    """Raise an error unless q, k and v are the heads of one grid that has this axis."""
    if q.ndim < 4 or not q.shape == k.shape == v.shape:
        raise ValueError(
            f"q, k and v have shapes {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}, but need the same "
            f"(batch, heads, axes of the grid, width)"
        )
    if not 0 <= axis < q.ndim - 3:
        raise ValueError(
            f"axis is {axis}, but the grid has axes 0 to {q.ndim - 4}; the batch, heads and width are none"
        )


def axial_attention(q: Tensor, k: Tensor, v: Tensor, *, axis: int, causal: bool = False) -> Tensor:
    r"""Attend along one axis, line by line, as the equation is written.

    .. math::
        y_{i,j} = \sum_{l} \operatorname{softmax}_l\left(\frac{q_{i,j}^{\top} k_{i,l}}{\sqrt D}\right) v_{i,l}
        \qquad \text{(along the last of two axes)}

    Args:
        q, k, v: queries, keys and values on a grid.
        axis: the axis of the grid along which to attend, counted from 0.
        causal: look at earlier cells of the line only, and at the own.

    Shapes:
        q, k, v: (B, H, N_0, N_1, ..., D). Returns the same shape.
    """
    check_axis(q, k, v, axis)
    y = torch.empty_like(v)
    others = [n for a, n in enumerate(q.shape[2:-1]) if a != axis]
    for at in (
        torch.cartesian_prod(*(torch.arange(n) for n in others)).view(-1, len(others)).tolist() if others else [[]]
    ):
        line = [slice(None), slice(None), *at, slice(None)]
        line.insert(2 + axis, slice(None))
        here = tuple(line)
        y[here] = scaled_dot_product_attention(q[here], k[here], v[here], causal=causal)
    return y


def axial_attention_fused(q: Tensor, k: Tensor, v: Tensor, *, axis: int, causal: bool = False) -> Tensor:
    """The same function: all lines at once, as a larger batch."""
    check_axis(q, k, v, axis)

    def lines(t: Tensor) -> Tensor:
        return t.movedim(2 + axis, -2).movedim(1, -3)  # (B, others ..., H, N_axis, D)

    q, k, v = (lines(t) for t in (q, k, v))
    shape = v.shape
    y = scaled_dot_product_attention_fused(*(t.flatten(0, -4) for t in (q, k, v)), causal=causal)
    return y.view(shape).movedim(-3, 1).movedim(-2, 2 + axis)


class AxisPositions(nn.Module):
    """Vectors for the distance along one axis, for queries, keys and values (the position-sensitive form).

    Args:
        size: cells along the axis.
        head_dim: width D of a head.

    Shapes:
        q, k, v: (..., N, D) with N at most ``size``. Returns (..., N, D).
    """

    def __init__(self, size: int, head_dim: int) -> None:
        super().__init__()
        check_at_least(1, size=size)
        self.size = size
        self.of = nn.Parameter(torch.randn(3, 2 * size - 1, head_dim) * head_dim**-0.5)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
        N, D = q.shape[-2:]
        if N > self.size:
            raise ValueError(f"a line has {N} cells, but the distances were made for {self.size}: give larger sizes")
        at = torch.arange(N, device=q.device)
        apart = (at - at.unsqueeze(1) + self.size - 1).flatten()
        r_q, r_k, r_v = self.of.index_select(1, apart).unflatten(1, (N, N))  # (N, N, D) each: row i, column j
        scores = q @ k.transpose(-2, -1)  # (..., N, N)
        scores = scores + torch.einsum("...id,ijd->...ij", q, r_q) + torch.einsum("...jd,ijd->...ij", k, r_k)
        scores = scores * D**-0.5
        if causal:
            scores = scores.masked_fill(~causal_mask(N, device=q.device), float("-inf"))
        weights = scores.softmax(dim=-1)
        return weights @ v + torch.einsum("...ij,ijd->...id", weights, r_v)


@entry(
    name="Axial attention",
    aliases=("row-column attention",),
    page="latents",
    ids=("axial_attention",),
    paper="ho2019axial",
    peer="torch.nn.functional.scaled_dot_product_attention run per row and per column",
    example=lambda: Example(AxialAttention(8, 2, sizes=(3, 4)), (torch.randn(2, 3, 4, 8),)),
    related=("Self-attention", "Sparse attention", "Perceiver cross-attention to latents"),
)
class AxialAttention(nn.Module):
    r"""Self-attention layer on a grid that attends along one axis after the other.

    .. math::
        y = \mathrm{att}_{N}(\cdots \mathrm{att}_{2}(\mathrm{att}_{1}(x))), \qquad
        \mathrm{att}_a: \text{ self-attention of each line along axis } a \text{ by itself}

    where each axis has weights of its own.

    Args:
        embed_dim: width C of the input and of the output.
        num_heads: heads H; H must divide C.
        num_axes: axes of the grid, 2 for pictures.
        causal: along each axis, look at earlier cells only, and at the own.
        sizes: the grid's extent, for the position-sensitive form; None leaves positions unseen.
        bias: add a bias in the projections.

    Shapes:
        x: (B, N_1, ..., N_num_axes, C), the last axis of the grid is attended first: rows, then columns. Returns the
        same shape.

    Notice:
        A picture of h by w costs O(h w (h + w)) scores in place of (h w)^2, and every cell still depends on every
        other once all axes are done. With ``causal`` it depends on the cells that come before it on *every* axis, the
        rectangle up and to the left, which is less than all that was written before it row by row.

    Raises:
        ValueError: if H does not divide C, or the input has not the axes, width or extent that the layer has.

    Source: Ho et al. 2019, section 3.1; position-sensitive: Wang et al. 2020, sections 3.1 and 3.2.

    >>> layer = AxialAttention(32, num_heads=4)
    >>> layer(torch.randn(1, 10, 12, 32)).shape
    torch.Size([1, 10, 12, 32])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        num_axes: int = 2,
        causal: bool = False,
        sizes: Sequence[int] | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_at_least(1, num_axes=num_axes)
        if sizes is not None and len(sizes) != num_axes:
            raise ValueError(f"sizes is {tuple(sizes)}, but {num_axes} axes need one extent each")
        D = check_heads(embed_dim, num_heads)
        self.embed_dim, self.num_axes, self.causal = embed_dim, num_axes, causal
        self.heads = nn.ModuleList(HeadProjections(embed_dim, num_heads, bias=bias) for _ in range(num_axes))
        self.positions = None if sizes is None else nn.ModuleList(AxisPositions(n, D) for n in sizes)

    def along(self, x: Tensor, axis: int) -> Tensor:
        """Self-attention along one axis of the grid, counted from 0."""
        x = x.movedim(1 + axis, -2)  # (B, others ..., N, C)
        heads, shape = self.heads[axis], x.shape
        q, k, v = heads(x.reshape(-1, *shape[-2:]))  # (B * others, H, N, D)
        if self.positions is not None:
            y = self.positions[axis](q, k, v, causal=self.causal)
        else:
            y = scaled_dot_product_attention_fused(q, k, v, causal=self.causal)
        return heads.back(y).view(shape).movedim(-2, 1 + axis)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != self.num_axes + 2 or x.shape[-1] != self.embed_dim:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but needs (batch, {self.num_axes} axes of the grid, {self.embed_dim}), "
                f"channels last; use x.movedim(1, -1) where they come second"
            )
        for axis in reversed(range(self.num_axes)):
            x = self.along(x, axis)
        return x
