"""Masks: who may look at whom, one convention for the chapter."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention.masks import causal_mask, join_masks, padding_mask, positions_mask


@pytest.mark.parametrize(("T", "S"), [(1, 1), (4, 4), (2, 5), (1, 6)])
def test_a_query_sees_its_own_position_and_what_came_before(T, S):
    mask = causal_mask(T, S)
    for t in range(T):
        for s in range(S):
            assert mask[t, s] == (s <= t + S - T)


@pytest.mark.parametrize(("T", "S"), [(0, 0), (3, 2)])
def test_a_query_without_its_own_key_is_refused(T, S):
    with pytest.raises(ValueError, match="1 <= T <= S"):
        causal_mask(T, S)


def test_a_window_counts_the_own_position():
    mask = positions_mask(torch.tensor([5]), torch.arange(8), window=3)
    assert mask[0].nonzero().flatten().tolist() == [3, 4, 5]


def test_keys_may_be_stored_in_any_order():
    keys = torch.tensor([4, 1, 2, 3])
    assert positions_mask(torch.tensor([2]), keys).tolist() == [[False, True, True, False]]


def test_padding_is_hidden_and_the_rest_is_seen():
    padded = torch.tensor([[False, False, True]])
    assert padding_mask(padded, 1, 3).tolist() == [[[[True, True, False]]]]


def test_padding_masks_of_the_wrong_kind_are_refused():
    with pytest.raises(TypeError, match="torch.bool"):
        padding_mask(torch.zeros(1, 3), 1, 3)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        padding_mask(torch.zeros(3, dtype=torch.bool), 2, 3)


def test_joined_masks_allow_what_all_allow():
    a, b = torch.tensor([True, True, False, False]), torch.tensor([True, False, True, False])
    assert join_masks(a, None, b).tolist() == [True, False, False, False]
    assert join_masks(None, None) is None
    inf = float("inf")
    assert_close(join_masks(torch.tensor([1.0, 2.0, 3.0, 4.0]), a), torch.tensor([1.0, 2.0, -inf, -inf]))
    assert_close(join_masks(torch.ones(2), torch.ones(2)), torch.full((2,), 2.0))


def test_whole_numbers_are_no_mask():
    with pytest.raises(TypeError, match="True: may look"):
        join_masks(torch.ones(3, dtype=torch.long))


def test_windows_and_positions_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="window is 0"):
        positions_mask(torch.arange(2), torch.arange(2), window=0)
    with pytest.raises(ValueError, match=r"\(T,\)"):
        positions_mask(torch.zeros(1, 2), torch.arange(2))


def test_masks_that_do_not_broadcast_are_refused():
    wide = torch.ones(2, 1, 3, 4, dtype=torch.bool)
    assert join_masks(wide, torch.ones(3, 1, dtype=torch.bool)).shape == (2, 1, 3, 4)
    for narrow in (torch.zeros(4), torch.zeros(3, 4), torch.zeros(1, 4), torch.zeros(1, 5, 1, 1)):
        assert join_masks(narrow, wide).shape == join_masks(wide, narrow).shape == (narrow + wide).shape
    for other in (torch.ones(2, 4, dtype=torch.bool), torch.zeros(3, 3)):
        with pytest.raises(ValueError, match="do not broadcast"):
            join_masks(wide, other)
