"""What a weight matrix must hold: rows make outputs, columns carry inputs."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.layers.weight_matrix import weight_contributions, without


@pytest.mark.oracle("weight-matrix", by="peer: torch.nn.Linear")
def test_the_terms_of_a_row_add_up_to_its_output():
    layer, x = nn.Linear(6, 4, bias=False), torch.randn(3, 6)
    assert_close(weight_contributions(x, layer.weight).sum(-1), layer(x))


def test_zeroing_a_row_changes_its_output_alone():
    x, weight = torch.randn(6), torch.randn(4, 6)
    changed = (without(weight, row=2) @ x - weight @ x) != 0
    assert changed.tolist() == [False, False, True, False]


def test_zeroing_a_column_takes_out_that_input_alone():
    x, weight = torch.randn(6), torch.randn(4, 6)
    silent = x.clone()
    silent[3] = 0
    assert_close(without(weight, column=3) @ x, weight @ silent)
    assert_close(weight @ x - weight @ silent, weight_contributions(x, weight)[:, 3])


def test_another_width_is_refused():
    with pytest.raises(ValueError, match="last axis must have 6 features"):
        weight_contributions(torch.zeros(5), torch.zeros(4, 6))
    with pytest.raises(ValueError, match="a matrix of two axes"):
        weight_contributions(torch.zeros(2, 6), torch.zeros(6))


def test_the_first_row_and_the_first_column_can_be_cut_too():
    weight = torch.ones(2, 3)
    assert without(weight, row=0).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert without(weight, column=0).tolist() == [[0, 1, 1], [0, 1, 1]]
    assert without(weight).tolist() == weight.tolist()
