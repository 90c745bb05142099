"""Grid softmax: a flat vector of scores is read as rows, and every row is normalised by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from nnvocab.activation._shared import check_scores
from nnvocab.activation.temperature_softmax import temperature_softmax, temperature_softmax_fused
from nnvocab.vocabulary import Example, entry


def _check_rows(x: Tensor, rows: int, dim: int) -> None:
    check_scores(x, dim)
    if rows < 1 or x.shape[dim] % rows:
        raise ValueError(
            f"{x.shape[dim]} scores do not make {rows} rows of equal length: give a number of rows that divides them"
        )


@entry(
    name="Grid softmax",
    aliases=("row-wise softmax", "SoftmaxGrid", "Grid"),
    ids=("loom_grid_softmax",),
    page="softmax_family",
    kind="function",
    paper="bridle1990probabilistic",
    peer="torch.softmax",
    related=("Softmax", "Hierarchical softmax"),
    example=lambda: Example(grid_softmax, (torch.randn(2, 12), 3)),
)
def grid_softmax(x: Tensor, rows: int, temperature: float | Tensor = 1.0, dim: int = -1) -> Tensor:
    r"""Read a flat vector as rows times columns and normalise every row by itself.

    .. math::
        p_{rc} = \frac{e^{x_{rc} / T}}{\sum_{c'} e^{x_{rc'} / T}}

    where row :math:`r` may be an agent and column :math:`c` one of its actions, and :math:`T` is the temperature.

    Args:
        x: scores, row after row.
        rows: number of rows; the columns follow from the length.
        temperature: T, above 0.
        dim: the axis that holds the flat vector.

    Shapes:
        x: (..., rows * columns). Returns the same shape; every stretch of ``columns`` numbers sums to one.

    Notice:
        The rows know nothing of each other, and nothing is mixed. The gate of a mixture of experts is another thing:
        one softmax across the experts, whose weights multiply the experts' outputs.

    Raises:
        TypeError: if x is not of a floating-point type.
        ValueError: if the rows do not divide the scores; if temperature is a number and not above 0.

    Source: Bridle 1990, for each row.

    >>> grid_softmax(torch.tensor([0.0, 0.0, 5.0, 5.0]), rows=2)
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    _check_rows(x, rows, dim)
    grid = x.movedim(dim, -1).unflatten(-1, (rows, -1))  # (..., rows, columns)
    return temperature_softmax(grid, temperature).flatten(-2).movedim(-1, dim)


def grid_softmax_fused(x: Tensor, rows: int, temperature: float | Tensor = 1.0, dim: int = -1) -> Tensor:
    """The same function by torch's kernel."""
    _check_rows(x, rows, dim)
    grid = x.movedim(dim, -1).unflatten(-1, (rows, -1))  # (..., rows, columns)
    return temperature_softmax_fused(grid, temperature).flatten(-2).movedim(-1, dim)
