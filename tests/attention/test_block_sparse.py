"""Blocks that are not listed are never read."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import bigbird_attention, bigbird_attention_blocked, block_sparse_attention


def test_a_block_that_is_not_listed_may_hold_anything():
    q, k, v = torch.randn(3, 1, 2, 12, 4).unbind()
    layout = [[0, 2], [1], [0, 1, 2]]
    poisoned_k, poisoned_v = k.clone(), v.clone()
    poisoned_k[:, :, 8:] = poisoned_v[:, :, 8:] = float("nan")
    y = block_sparse_attention(q, poisoned_k, poisoned_v, layout, block_size=4)
    assert y[:, :, 4:8].isfinite().all()
    assert y[:, :, :4].isnan().all()


def test_a_row_without_blocks_gets_zero():
    q = torch.randn(1, 1, 4, 2)
    y = block_sparse_attention(q, q, q, [[0], []], block_size=2)
    assert (y[:, :, 2:] == 0).all() and (y[:, :, :2] != 0).all()


def test_all_blocks_are_ordinary_attention_of_any_length():
    q, k, v = (torch.randn(2, 2, 11, width) for width in (4, 4, 3))
    y = block_sparse_attention(q, k, v, [[0, 1, 2]] * 3, block_size=4)
    assert_close(y, torch.nn.functional.scaled_dot_product_attention(q, k, v))


def test_a_layout_of_another_length_is_refused():
    q = torch.randn(1, 1, 4, 2)
    with pytest.raises(ValueError, match="make 2 blocks"):
        block_sparse_attention(q, q, q, [[0]], block_size=2)


@pytest.mark.parametrize("row", [[0, 0], [2], [-1]])
def test_a_layout_that_names_a_block_twice_or_one_that_is_not_there_is_refused(row):
    q = torch.randn(1, 1, 4, 2)
    for form in (bigbird_attention, bigbird_attention_blocked):
        with pytest.raises(ValueError, match="row 1 of the layout"):
            form(q, q, q, [[0], row], block_size=2)
        with pytest.raises(ValueError, match="block_size"):
            form(q, q, q, [[0], [1]], block_size=0)
