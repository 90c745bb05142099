"""Outputs in the cells of a grid."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.compose.grid_scatter import grid_scatter, grid_scatter_stacked


def doubles(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]


@pytest.mark.oracle("grid-scatter-combine-mode", by="brute force")
def test_each_cell_holds_its_branch_and_the_rest_is_zero():
    outputs = doubles((2, 3), (2, 3), (2, 3))
    cells = {(0, 1, 0): 0, (2, 0, 1): 1, (1, 1, 1): 2}
    y = grid_scatter(outputs, (3, 2, 2), list(cells))
    assert y.shape == (2, 3, 2, 2, 3)
    for b in range(2):
        for cell in [(r, c, k) for r in range(3) for c in range(2) for k in range(2)]:
            expected = outputs[cells[cell]][b] if cell in cells else torch.zeros(3, dtype=torch.float64)
            assert_close(y[b][cell], expected)


def test_the_gradient_of_a_cell_goes_to_its_branch():
    outputs = doubles((2, 3), (2, 3))
    g = torch.randn(2, 2, 2, 1, 3, dtype=torch.float64)
    grads = torch.autograd.grad(grid_scatter(outputs, (2, 2), [(0, 1), (1, 0)]), outputs, g)
    assert_close(grads, (g[:, 0, 1, 0], g[:, 1, 0, 0]))


@pytest.mark.parametrize("pad", [False, True])
def test_stacked_form_agrees_on_the_value_and_on_every_gradient(pad):
    outputs = doubles((2, 4, 3), (2, 4, 3 - pad), (2, 4, 3))
    values = [
        f(outputs, (2, 2, 2), [(0, 0, 0), (1, 1, 1), (0, 1, 0)], pad=pad) for f in (grid_scatter, grid_scatter_stacked)
    ]
    assert_close(*values)
    g = torch.randn_like(values[0])
    assert_close(*[torch.autograd.grad(v, outputs, g) for v in values])


@pytest.mark.parametrize("scatter", [grid_scatter, grid_scatter_stacked])
def test_padding_fills_up_to_the_widest(scatter):
    y = scatter([torch.ones(2, 3), torch.ones(2, 1)], (2, 1), [(0, 0), (1, 0)], pad=True)
    assert_close(y[1, :, 0, 0], torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("scatter", [grid_scatter, grid_scatter_stacked])
@pytest.mark.parametrize(
    ("grid", "cells", "message"),
    [
        ((2, 2), [(0, 0)], "1 positions for 2 branches"),
        ((2, 2), [(0, 0), (0, 2)], "outside the grid"),
        ((2, 2), [(0, 0), (0, -1)], "outside the grid"),
        ((2, 2), [(0, 0, 1), (0, 1)], "outside the grid"),
        ((2, 2), [(1, 0), (1, 0)], "branches 0 and 1 both go to cell"),
        ((2, 2), [(1,), (1, 0)], "position of branch 0"),
        ((2,), [(0, 0), (0, 1)], "rows, columns"),
        ((0, 2), [(0, 0), (0, 1)], "at least 1"),
    ],
)
def test_cells_that_do_not_fit_are_refused(scatter, grid, cells, message):
    with pytest.raises(ValueError, match=message):
        scatter([torch.zeros(1, 3)] * 2, grid, cells)


def test_outputs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="Stitch.*pad=True"):
        grid_scatter([torch.zeros(1, 3), torch.zeros(1, 2)], (2, 1), [(0, 0), (1, 0)])
    with pytest.raises(ValueError, match="more than the last axis"):
        grid_scatter([torch.zeros(1, 3), torch.zeros(2, 3)], (2, 1), [(0, 0), (1, 0)])
    with pytest.raises(ValueError, match="at least one branch"):
        grid_scatter([], (1, 1), [])
