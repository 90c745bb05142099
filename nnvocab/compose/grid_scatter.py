"""Branch outputs put into the cells of a grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvocab.vocabulary import Example, entry

Cells = Sequence[Sequence[int]]


def check_grid(count: int, grid: Sequence[int], positions: Cells) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """The grid and the cells with three numbers each; refuses cells outside, cells used twice, and a wrong count."""
    size = tuple(int(n) for n in grid)
    if len(size) not in (2, 3) or min(size) < 1:
        raise ValueError(
            f"grid is {tuple(grid)}, but (rows, columns) or (rows, columns, layers) of at least 1 is needed"
        )
    size = (*size, 1) if len(size) == 2 else size
    if len(positions) != count:
        raise ValueError(f"there are {len(positions)} positions for {count} branches: give one cell for each branch")
    cells: list[tuple[int, ...]] = []
    for branch, position in enumerate(positions):
        cell = tuple(int(n) for n in position)
        if len(cell) not in (2, 3):
            raise ValueError(
                f"the position of branch {branch} is {cell}, but (row, column) or (row, column, layer) is needed"
            )
        cell = (*cell, 0) if len(cell) == 2 else cell
        if any(not 0 <= n < top for n, top in zip(cell, size, strict=True)):
            raise ValueError(
                f"the cell {cell} of branch {branch} lies outside the grid of {size}: rows, columns and layers count from 0"
            )
        if cell in cells:
            raise ValueError(f"branches {cells.index(cell)} and {branch} both go to cell {cell}: each needs its own")
        cells.append(cell)
    return size, cells


def _equal(outputs: Sequence[Tensor], pad: bool) -> list[Tensor]:
    if not outputs:
        raise ValueError("there is no branch output to scatter: give at least one branch")
    shapes = [tuple(o.shape) for o in outputs]
    if len({s[:-1] for s in shapes}) > 1:
        raise ValueError(f"the branches return {shapes}, which differ in more than the last axis: flatten them first")
    widest = max(s[-1] for s in shapes)
    if pad:
        return [F.pad(o, [0, widest - o.shape[-1]]) for o in outputs]
    if len(set(shapes)) > 1:
        raise ValueError(
            f"the branches return {shapes}, but the cells of a grid are equal: bring the branches to one size with "
            f"Stitch, or fill up with zeros by pad=True"
        )
    return list(outputs)


@entry(
    name="Grid scatter combine mode",
    aliases=(
        "grid_scatter",
        "GridPositions",
        "Parallel layer in grid-scatter mode",
        "GridOutputRows",
        "GridOutputCols",
        "GridOutputLayers",
    ),
    ids=("par_grid_scatter", "par_grid_scatter_layer"),
    page="side_by_side",
    kind="function",
    paper="shazeer2017outrageously",
    related=("Combine modes", "Parallel layer"),
    example=lambda: Example(
        lambda a, b: grid_scatter([a, b], (2, 2), [(0, 1), (1, 0)]), (torch.randn(2, 3), torch.randn(2, 3))
    ),
)
def grid_scatter(outputs: Sequence[Tensor], grid: Sequence[int], positions: Cells, *, pad: bool = False) -> Tensor:
    r"""Write the output of each branch into its cell of a grid; cells that no branch fills stay zero.

    .. math::
        Y_{r_i, c_i, l_i} = y_i, \qquad Y = 0 \text{ elsewhere}

    where :math:`(r_i, c_i, l_i)` is the row, column and layer of branch i, and :math:`y_i` what it returns.

    Args:
        outputs: what the N branches return.
        grid: (rows, columns) or (rows, columns, layers).
        positions: the cell of each branch, (row, column) or (row, column, layer), counted from 0.
        pad: fill smaller outputs with zeros; else they must be equal.

    Shapes:
        outputs: N tensors (B, C). Returns (B, rows, columns, layers, C).

    Notice:
        The result has a row, a column and a layer axis, so a convolution can follow. Backwards each branch gets the
        gradient of its own cell; the gradient of an empty cell goes nowhere.

    Raises:
        ValueError: if a cell lies outside the grid or is used twice, if there are not as many cells as branches, or if
            the outputs differ in size and ``pad`` is False.

    Source: a scatter over the cells of a grid, the inverse of a gather; Shazeer et al. 2017 gather and scatter the samples of
    experts alike.

    >>> y = grid_scatter([torch.ones(1, 4), 2 * torch.ones(1, 4)], (2, 2), [(0, 0), (1, 1)])
    >>> y[0, :, :, 0, 0].tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    outputs = _equal(outputs, pad)
    (R, C, L), cells = check_grid(len(outputs), grid, positions)
    y = torch.zeros_like(outputs[0]).unsqueeze(-2)
    for output, (row, column, layer) in zip(outputs, cells, strict=True):
        place = (row * C + column) * L + layer
        y = y + F.pad(output.unsqueeze(-2), [0, 0, place, R * C * L - 1 - place])  # zeros before and behind its cell
    return y.unflatten(-2, (R, C, L))  # (B, R*C*L, features) -> (B, R, C, L, features)


def grid_scatter_stacked(
    outputs: Sequence[Tensor], grid: Sequence[int], positions: Cells, *, pad: bool = False
) -> Tensor:
    """The same function without a sum: all cells, the empty ones too, are stacked in their order."""
    outputs = _equal(outputs, pad)
    (R, C, L), cells = check_grid(len(outputs), grid, positions)
    filled = dict(zip(cells, outputs, strict=True))
    empty = torch.zeros_like(outputs[0]) if len(cells) < R * C * L else outputs[0]
    every_cell = [(row, column, layer) for row in range(R) for column in range(C) for layer in range(L)]
    return torch.stack([filled.get(cell, empty) for cell in every_cell], dim=-2).unflatten(-2, (R, C, L))
