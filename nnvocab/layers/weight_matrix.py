"""Weight matrix: a row for each output, a column for each input."""

from __future__ import annotations

import torch
from torch import Tensor

from nnvocab.layers.linear import check_width
from nnvocab.vocabulary import Example, entry


@entry(
    name="Weight matrix",
    page="linear",
    kind="concept",
    aliases=("kernel matrix", "weight matrix of a dense layer"),
    ids=("loom_weight_matrix",),
    paper="rosenblatt1958perceptron",
    peer="torch.nn.Linear",
    example=lambda: Example(
        weight_contributions, (torch.randn(2, 4), torch.randn(3, 4)), skip={"batch_of_one": "a weight has no batch"}
    ),
    related=("Linear layer", "Dense layer"),
)
def weight_contributions(x: Tensor, weight: Tensor) -> Tensor:
    r"""Split the outputs of a linear layer into their terms: what each input gives to each output.

    .. math::
        t_{ij} = w_{ij}\, x_j, \qquad y_i - b_i = \sum_j t_{ij}

    Args:
        x: the inputs.
        weight: the weight matrix W.

    Shapes:
        x: (..., I); weight: (O, I). Returns (..., O, I).

    Notice:
        Output i is the sum over row i and sees no other row. What comes of input j stands in column j alone.

    Raises:
        ValueError: if the weight is no matrix, or x is not as wide as it.

    Source: Rosenblatt 1958; the terms are those of the sum in the definition.

    >>> weight_contributions(torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 4.0]]))
    tensor([[3., 8.]])
    """
    if weight.ndim != 2:
        raise ValueError(
            f"weight has the shape {tuple(weight.shape)}, but a matrix of two axes (outputs, inputs) is needed"
        )
    check_width(x, weight.shape[1])
    return weight * x.unsqueeze(-2)  # (O, I) * (..., 1, I)


def without(weight: Tensor, *, row: int | None = None, column: int | None = None) -> Tensor:
    """Copy a weight matrix with a row or a column set to 0.

    Args:
        weight: the matrix, (O, I).
        row: the output that is cut off.
        column: the input that is cut off.

    >>> without(torch.ones(2, 2), column=0)
    tensor([[0., 1.],
            [0., 1.]])
    """
    cut = weight.detach().clone()
    if row is not None:
        cut.select(0, row).zero_()
    if column is not None:
        cut.select(1, column).zero_()
    return cut
