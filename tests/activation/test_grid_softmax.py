"""What only grid softmax must hold."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.activation.grid_softmax import grid_softmax, grid_softmax_fused


@pytest.mark.oracle("grid-softmax", by="brute force")
def test_every_row_is_a_softmax_of_its_own(scores):
    x = scores(2, 12)
    y = grid_softmax(x, 3, 2.0)
    for b in range(2):
        for r in range(3):
            e = [torch.exp(x[b, 4 * r + c] / 2) for c in range(4)]
            assert_close(y[b, 4 * r : 4 * r + 4], torch.stack([v / sum(e) for v in e]))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_both_forms_agree(agree, scores, dim):
    agree(grid_softmax, grid_softmax_fused, scores(6, 6, 6), rows=2, dim=dim)


def test_the_jacobian_is_a_block_for_each_row(scores):
    x = scores(6)
    jacobian = torch.autograd.functional.jacobian(lambda v: grid_softmax(v, 2), x)
    blocks = [torch.diag(p) - torch.outer(p, p) for p in grid_softmax(x, 2).view(2, 3)]
    assert_close(jacobian, torch.block_diag(*blocks))


def test_rows_sum_to_one_and_columns_do_not(scores):
    y = grid_softmax(scores(12), 3).view(3, 4)
    assert_close(y.sum(1), torch.ones(3).double())
    assert (y.sum(0) - 1).abs().max() > 0.1


def test_one_row_is_the_softmax_and_rows_that_do_not_divide_are_refused(scores):
    x = scores(2, 6)
    for form in (grid_softmax, grid_softmax_fused):
        assert_close(form(x, 1), x.softmax(-1))
        assert_close(form(x[0], 1), x[0].softmax(-1))
    for rows in (4, 0):
        with pytest.raises(ValueError, match="rows of equal length"):
            grid_softmax(x, rows)
