"""Branches side by side: one input for all, their outputs combined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from nnvocab.compose.combine import CombineMode, combine
from nnvocab.compose.filtered import check_branches, check_gate, mix_branches_skipping
from nnvocab.compose.grid_scatter import check_grid
from nnvocab.compose.shapes import first_tensor, output_shape
from nnvocab.vocabulary import Example, entry


@entry(
    name="Parallel layer",
    aliases=(
        "multi-branch layer",
        "LayerParallel",
        "Nested parallel layers",
        "hierarchical mixture of experts",
        "Basic parallel layer (concat)",
        "InitParallelLayer",
    ),
    ids=("loom_parallel", "par_parallel_layer", "par_nested", "par_basic_concat_layer"),
    page="side_by_side",
    kind="block",
    paper="szegedy2015going",
    related=("Combine modes", "Filter combine mode", "Sequential layer"),
    example=lambda: Example(
        Parallel([nn.Linear(4, 3), Parallel([nn.Linear(4, 2), nn.Identity()])]), (torch.randn(2, 4),)
    ),
)
class Parallel(nn.Module):
    r"""Give one input to several branches, and combine what they return.

    .. math::
        y = \operatorname{combine}\big(f_1(x), \dots, f_N(x)\big)

    where :math:`f_i` are the branches, each of which sees all of x, and combine is one of five modes.

    Args:
        branches: modules of the same input; containers, and other parallel layers, included.
        mode: "concat", "add", "avg", "grid_scatter" or "filter" (:class:`CombineMode`).
        dim: the feature axis of the outputs: -1, or 1 for pictures (B, C, H, W).
        pad: fill smaller outputs with zeros instead of refusing them.
        gate: for "filter": a module from the input to one weight for each branch (:class:`Gate`).
        grid: for "grid_scatter": (rows, columns) or (rows, columns, layers).
        positions: for "grid_scatter": the cell of each branch.
        skip_zeros: for "filter": run a branch on those samples alone in which its weight is not exactly zero.

    Shapes:
        x: what the branches take, (B, ...). Returns (B, sum of C_i) for concat, (B, C) for add, avg and filter,
        (B, rows, columns, layers, C) for grid_scatter.

    Notice:
        The input is not divided: every branch sees the whole of it, and the gradients of all branches add up in x. What
        concat divides is the gradient of the output. A branch that should see a part begins with :class:`Slice`.

    Raises:
        ValueError: if there is no branch, the mode is unknown or lacks what it needs, or the outputs do not fit.
        TypeError: if a branch is no module.

    Source: Szegedy et al. 2015, section 4, figure 2 (branches of different kinds, concatenated).

    >>> layer = Parallel([nn.Linear(64, 32), nn.Sequential(nn.Linear(64, 8), nn.ReLU())])
    >>> layer(torch.zeros(2, 64)).shape, layer.output_shape((64,))
    (torch.Size([2, 40]), (40,))
    """

    def __init__(
        self,
        branches: Iterable[nn.Module],
        mode: str | CombineMode = "concat",
        *,
        dim: int = -1,
        pad: bool = False,
        gate: nn.Module | None = None,
        grid: Sequence[int] | None = None,
        positions: Sequence[Sequence[int]] | None = None,
        skip_zeros: bool = False,
    ) -> None:
        super().__init__()
        self.branches = check_branches(branches)
        self.mode = CombineMode.of(mode)
        wants_gate, wants_grid = self.mode is CombineMode.FILTER, self.mode is CombineMode.GRID_SCATTER
        if wants_gate != (gate is not None):
            raise ValueError(
                "mode 'filter' needs gate=, as Gate(nn.Linear(in_features, number of branches))"
                if wants_gate
                else f"a gate was given, but mode is {self.mode.value!r}: choose mode='filter', or leave the gate out"
            )
        if wants_grid != (grid is not None and positions is not None) or (not wants_grid and (grid or positions)):
            raise ValueError(
                "mode 'grid_scatter' needs grid=(rows, columns) and positions=, one cell for each branch"
                if wants_grid
                else f"a grid was given, but mode is {self.mode.value!r}: choose mode='grid_scatter', or leave it out"
            )
        if skip_zeros and (not wants_gate or pad):
            raise ValueError(
                "skip_zeros needs mode='filter' without pad: a branch that is skipped has no width to pad to"
            )
        if gate is not None:
            check_gate(gate, len(self.branches))
        if grid is not None and positions is not None:
            check_grid(len(self.branches), grid, positions)
        self.dim, self.pad, self.gate, self.grid, self.positions = dim, pad, gate, grid, positions
        self.skip_zeros = skip_zeros

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """The shape that one sample of shape ``input_shape`` leaves with, found without computing.

        Raises:
            ValueError: if a branch cannot take it (the message says which), or the outputs do not fit.
        """
        shapes = []
        for number, branch in enumerate(self.branches):
            try:
                shapes.append(output_shape(branch, input_shape))
            except ValueError as error:
                raise ValueError(f"branch {number}: {error}") from error
        samples = [torch.empty(1, *shape, device="meta") for shape in shapes]
        weights = torch.empty(1, len(shapes), device="meta") if self.gate is not None else None
        return tuple(self._combine(samples, weights).shape[1:])

    def _combine(self, outputs: Sequence[Tensor], weights: Tensor | None) -> Tensor:
        return combine(
            outputs,
            self.mode,
            dim=self.dim,
            pad=self.pad,
            weights=weights,
            grid=self.grid,
            positions=self.positions,
        )

    def forward(self, x: Tensor) -> Tensor:
        weights = None if self.gate is None else self.gate(x)
        if self.skip_zeros and weights is not None:
            return mix_branches_skipping(self.branches, x, weights)
        return self._combine([first_tensor(branch(x)) for branch in self.branches], weights)

    def extra_repr(self) -> str:
        return f"mode={self.mode.value!r}, dim={self.dim}, pad={self.pad}"
