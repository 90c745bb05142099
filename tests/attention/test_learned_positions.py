"""Learned positional embeddings: a table, its end, and what lies beyond."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.attention.learned_positions import LearnedPositions


@pytest.mark.oracle("learned-positional-embeddings", by="peer: torch.nn.functional.embedding")
@pytest.mark.parametrize("offset", [0, 3])
def test_adds_the_row_of_each_position(offset):
    layer, x = LearnedPositions(8, 4), torch.randn(2, 5, 4)
    expected = x + F.embedding(torch.arange(offset, offset + 5), layer.table.weight)
    assert_close(layer(x, offset=offset), expected)


def test_only_rows_that_were_used_get_a_gradient():
    layer = LearnedPositions(8, 4)
    layer(torch.randn(2, 3, 4), offset=2).sum().backward()
    used = layer.table.weight.grad.abs().sum(-1) > 0
    assert used.tolist() == [False, False, True, True, True, False, False, False]


def test_a_longer_sequence_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"positions 6 to 8 .* 0 to 7 .*interpolate"):
        LearnedPositions(8, 4)(torch.zeros(1, 3, 4), offset=6)


def test_interpolation_keeps_the_ends_and_is_linear_between():
    layer = LearnedPositions(3, 1, beyond="interpolate")
    with torch.no_grad():
        layer.table.weight.copy_(torch.tensor([[0.0], [2.0], [6.0]]))
    assert_close(layer(torch.zeros(1, 5, 1))[0, :, 0], torch.tensor([0.0, 1.0, 2.0, 4.0, 6.0]))
    assert_close(layer(torch.zeros(1, 3, 1))[0, :, 0], torch.tensor([0.0, 2.0, 6.0]))  # nothing to stretch


def test_a_stretched_table_cannot_continue_a_prefix():
    with pytest.raises(ValueError, match="offset=0"):
        LearnedPositions(3, 1, beyond="interpolate")(torch.zeros(1, 2, 1), offset=2)


def test_dropout_acts_only_while_training():
    layer, x = LearnedPositions(8, 64, dropout=0.5), torch.ones(1, 5, 64)
    assert (layer(x) == 0).float().mean() > 0.3
    layer.eval()
    assert_close(layer(x), layer(x))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        LearnedPositions(0, 4)
    with pytest.raises(ValueError, match="'error' or 'interpolate'"):
        LearnedPositions(8, 4, beyond="wrap")
    with pytest.raises(ValueError, match="width 5"):
        LearnedPositions(8, 4)(torch.zeros(1, 2, 5))


def test_one_position_of_width_one_is_a_table_too():
    layer = LearnedPositions(1, 1)
    assert_close(layer(torch.zeros(2, 1, 1))[0], layer.table.weight)
