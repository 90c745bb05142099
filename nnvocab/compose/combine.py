"""How the outputs of several branches become one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvocab.compose.grid_scatter import grid_scatter_stacked
from nnvocab.vocabulary import Example, entry


class CombineMode(str, Enum):
    """The five ways in which branches are combined; each is its own name as a string."""

    CONCAT = "concat"
    ADD = "add"
    AVG = "avg"
    GRID_SCATTER = "grid_scatter"
    FILTER = "filter"

    @classmethod
    def of(cls, mode: str | CombineMode) -> CombineMode:
        """The mode of that name.

        Raises:
            ValueError: if there is no such mode; the message lists them.
        """
        try:
            return cls(mode)
        except ValueError:
            raise ValueError(f"mode is {mode!r}, but must be one of {', '.join(m.value for m in cls)}") from None


def check_outputs(outputs: Sequence[Tensor], dim: int, *, equal: bool, word: str) -> None:
    """Refuse branch outputs that cannot be combined, and say which and why."""
    if not outputs:
        raise ValueError(f"there is no branch output to {word}: give at least one branch")
    shapes = [tuple(o.shape) for o in outputs]
    if len({len(s) for s in shapes}) > 1:
        raise ValueError(
            f"the branches return {shapes}, with different numbers of axes: flatten them, or take one step of a sequence "
            f"(SequenceBranch)"
        )
    axes = len(shapes[0])
    if not -axes <= dim < axes:
        raise ValueError(f"dim is {dim}, but the branches return {shapes}, with {axes} axes: choose one of theirs")
    rest = [s[: dim % len(s)] + s[dim % len(s) + 1 :] for s in shapes]
    if len(set(rest)) > 1:
        raise ValueError(
            f"the branches return {shapes}, which differ in more than axis {dim}: only that one may differ"
        )
    if equal and len(set(shapes)) > 1:
        raise ValueError(
            f"the branches return {shapes}, but to {word} them they must be equal: bring them to one size with Stitch, "
            f"or fill up with zeros by pad=True"
        )


def pad_to_widest(outputs: Sequence[Tensor], dim: int = -1) -> list[Tensor]:
    """Fill the smaller outputs with zeros at the end of axis ``dim`` until all are as wide as the widest.

    The last features then come from the wider branches alone.

    >>> [t.tolist() for t in pad_to_widest([torch.ones(3), torch.ones(1)])]
    [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    """
    check_outputs(outputs, dim, equal=False, word="pad")
    widest = max(o.shape[dim] for o in outputs)
    axes_behind = outputs[0].dim() - 1 - dim % outputs[0].dim()
    return [F.pad(o, [0, 0] * axes_behind + [0, widest - o.shape[dim]]) for o in outputs]


def concat_branches(outputs: Sequence[Tensor], dim: int = -1) -> Tensor:
    """Put the outputs behind one another along ``dim``; backwards each branch gets its slice of the gradient."""
    check_outputs(outputs, dim, equal=False, word="concatenate")
    return torch.cat(list(outputs), dim=dim)


def add_branches(outputs: Sequence[Tensor], dim: int = -1, *, pad: bool = False) -> Tensor:
    """Add the outputs; backwards each branch gets the whole gradient."""
    outputs = pad_to_widest(outputs, dim) if pad else outputs
    check_outputs(outputs, dim, equal=True, word="add")
    total = outputs[0]
    for output in outputs[1:]:
        total = total + output
    return total


def average_branches(outputs: Sequence[Tensor], dim: int = -1, *, pad: bool = False) -> Tensor:
    """Average the outputs; backwards each of N branches gets the gradient divided by N."""
    return add_branches(outputs, dim, pad=pad) / len(outputs)


@entry(
    name="Gate-weighted sum of branches",
    aliases=(
        "how filter mode works",
        "gate-weighted gradient",
        "gradient in filter mode",
        "zero auto-padding in filter mode",
        "output padding",
    ),
    ids=("par_filter_weighted_sum", "par_gradient_filter", "par_auto_padding"),
    page="gates",
    kind="function",
    paper="jacobs1991adaptive",
    related=("Filter combine mode", "Combine modes", "Stitch layer"),
    example=lambda: Example(
        lambda a, b, w: weighted_sum([a, b], w.softmax(-1), pad=True),
        (torch.randn(2, 4), torch.randn(2, 3), torch.randn(2, 2)),
    ),
)
def weighted_sum(outputs: Sequence[Tensor], weights: Tensor, *, dim: int = -1, pad: bool = False) -> Tensor:
    r"""Add the outputs of the branches, each times its weight, as the equation is written.

    .. math::
        y = \sum_i w_i\, y_i, \qquad \frac{\partial L}{\partial y_i} = w_i\, g, \qquad
        \frac{\partial L}{\partial z_i} = \frac{w_i}{T}\Big(s_i - \sum_j w_j s_j\Big), \quad s_i = \langle g, y_i \rangle

    where :math:`y_i` is the output of branch i, :math:`w = \operatorname{softmax}(z / T)` and :math:`g = \partial L / \partial y`.

    Args:
        outputs: what the N branches return.
        weights: one weight for each branch, in the last axis.
        dim: the axis in which the outputs may differ if ``pad``.
        pad: fill smaller outputs with zeros up to the widest; else they must be equal.

    Shapes:
        outputs: N tensors (B, ...); weights: (B, N), or (B, T, N) to weigh every position by itself. Returns (B, ...).

    Notice:
        A branch learns in proportion to its weight; a gate pushes up a branch whose output points along :math:`-g` more
        than the mixture does. What is padded has features that come from the wider branches alone, times their weight.

    Raises:
        ValueError: if there are not as many weights as outputs, or the outputs differ and ``pad`` is False.

    Source: Jacobs et al. 1991, equation 1.1. They prefer their equation 1.2, in which each expert is compared with the target
    by itself: in the sum the experts depend on one another.

    >>> three = [torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5, 0.5, 0.5]]), torch.tensor([[0.2, 0.3, 0.2]])]
    >>> [round(v, 2) for v in weighted_sum(three, torch.tensor([[0.6, 0.3, 0.1]]))[0].tolist()]
    [0.77, 1.38, 1.97]
    """
    outputs = _ready(outputs, weights, dim, pad)
    total = torch.zeros_like(outputs[0])
    for output, w in zip(outputs, weights.unbind(-1), strict=True):
        total = total + w.reshape(*w.shape, *[1] * (output.dim() - w.dim())) * output  # (B, 1, ..., 1) * (B, ...)
    return total


def weighted_sum_stacked(outputs: Sequence[Tensor], weights: Tensor, *, dim: int = -1, pad: bool = False) -> Tensor:
    """The same function with one multiplication: the outputs are stacked, and a matrix product adds them."""
    outputs = _ready(outputs, weights, dim, pad)
    stacked = torch.stack(list(outputs), dim=weights.dim() - 1)  # (B, N, ...)
    stacked = stacked.unsqueeze(-1).flatten(weights.dim())  # (B, N, C), C = 1 where an output is a single number
    return (weights.unsqueeze(-2) @ stacked).reshape(outputs[0].shape)  # (B, 1, N) @ (B, N, C) -> (B, ...)


def _ready(outputs: Sequence[Tensor], weights: Tensor, dim: int, pad: bool) -> Sequence[Tensor]:
    if weights.dim() == 0 or weights.shape[-1] != len(outputs):
        found = "a single weight" if weights.dim() == 0 else f"{weights.shape[-1]} weights"
        raise ValueError(
            f"there are {found} for {len(outputs)} branches: the gate must have one output for each "
            f"branch, as nn.Linear(in_features, {len(outputs)})"
        )
    outputs = pad_to_widest(outputs, dim) if pad else outputs
    check_outputs(outputs, dim, equal=True, word="weigh and add")
    if tuple(weights.shape[:-1]) != tuple(outputs[0].shape[: weights.dim() - 1]):
        raise ValueError(
            f"the weights have shape {tuple(weights.shape)} and the outputs {tuple(outputs[0].shape)}: all axes of the "
            f"weights but the last must be the first axes of the outputs"
        )
    return outputs


@entry(
    name="Combine modes",
    aliases=(
        "CombineMode",
        "Concat combine mode",
        "concatenate",
        "gradient slicing",
        "gradient in concat mode",
        "Add combine mode",
        "element-wise sum",
        "gradient copying",
        "gradient in add mode",
        "Parallel layer in add mode",
        "summed branches",
        "Average combine mode",
        "avg",
        "ensemble average",
    ),
    ids=(
        "par_combine_modes",
        "par_concat",
        "par_add",
        "par_avg",
        "par_gradient_concat",
        "par_gradient_add",
        "par_add_layer",
    ),
    page="side_by_side",
    kind="function",
    paper="szegedy2015going",
    related=("Parallel layer", "Grid scatter combine mode", "Gate-weighted sum of branches"),
    example=lambda: Example(lambda a, b: combine([a, b], "concat"), (torch.randn(2, 3), torch.randn(2, 2))),
)
def combine(
    outputs: Sequence[Tensor],
    mode: str | CombineMode = CombineMode.CONCAT,
    *,
    dim: int = -1,
    pad: bool = False,
    weights: Tensor | None = None,
    grid: Sequence[int] | None = None,
    positions: Sequence[Sequence[int]] | None = None,
) -> Tensor:
    r"""Combine the outputs of branches in one of five ways: concat, add, avg, grid_scatter or filter.

    .. math::
        [y_1; \dots; y_N], \qquad \sum_i y_i, \qquad \frac1N \sum_i y_i, \qquad Y_{r_i c_i l_i} = y_i, \qquad \sum_i w_i y_i

    where :math:`y_i` is the output of branch i, :math:`(r_i, c_i, l_i)` its cell in a grid and :math:`w_i` its weight.

    Args:
        outputs: what the N branches return.
        mode: a :class:`CombineMode` or its name.
        dim: the feature axis: along it outputs are concatenated, and padded.
        pad: fill smaller outputs with zeros instead of refusing them; concat never needs it.
        weights: the weights of "filter", one for each branch.
        grid: rows, columns and layers of "grid_scatter".
        positions: the cell of each branch, for "grid_scatter".

    Shapes:
        outputs: N tensors (B, C_i). Returns (B, sum of C_i) for concat, (B, C) for add, avg and filter,
        (B, rows, columns, layers, C) for grid_scatter.

    Notice:
        Backwards, concat gives each branch its own slice of the gradient, add the whole gradient to each, avg the
        gradient over N, grid_scatter the gradient of its cell, and filter the gradient times its weight.

    Raises:
        ValueError: if the mode is unknown, sizes differ where they must not, or what the mode needs is missing.

    Source: Szegedy et al. 2015, section 4 (branches concatenated); Breiman 1996 (averages).

    >>> three = [torch.zeros(1, 3), torch.zeros(1, 2), torch.zeros(1, 4)]
    >>> combine(three, "concat").shape
    torch.Size([1, 9])
    """
    mode = CombineMode.of(mode)
    if mode is CombineMode.CONCAT:
        return concat_branches(outputs, dim)
    if mode is CombineMode.ADD:
        return add_branches(outputs, dim, pad=pad)
    if mode is CombineMode.AVG:
        return average_branches(outputs, dim, pad=pad)
    if mode is CombineMode.FILTER:
        if weights is None:
            raise ValueError("mode 'filter' needs weights=, one for each branch, as a gate returns them")
        return weighted_sum_stacked(outputs, weights, dim=dim, pad=pad)
    if grid is None or positions is None:
        raise ValueError("mode 'grid_scatter' needs grid=(rows, columns) and positions=, one cell for each branch")
    return grid_scatter_stacked(outputs, grid, positions, pad=pad)
