"""Dense versus sparse connectivity: the unrolled convolution and its counts."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.layers.connectivity import connectivity


@pytest.mark.oracle("dense-versus-sparse-connectivity", by="peer: torch.nn.Conv2d")
@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_the_matrix_does_what_the_convolution_does(stride, padding):
    x, weight = torch.randn(2, 3, 6, 5), torch.randn(4, 3, 3, 3)
    found = connectivity(weight, (6, 5), stride=stride, padding=padding)
    expected = F.conv2d(x, weight, stride=stride, padding=padding)
    assert_close(F.linear(x.flatten(1), found.matrix), expected.flatten(1))


def test_counts_are_those_of_windows_times_weights():
    found = connectivity(torch.randn(2, 3, 3, 3), (8, 8))
    assert found.dense == (2 * 6 * 6) * (3 * 8 * 8)
    assert found.connections == (2 * 6 * 6) * (3 * 3 * 3) == int((found.matrix != 0).sum())
    assert found.distinct == 2 * 3 * 3 * 3 == len(found.matrix[found.matrix != 0].unique())


def test_a_weight_of_zero_is_a_connection_all_the_same():
    assert connectivity(torch.zeros(1, 1, 3, 3), (4, 4)).connections == 4 * 9


def test_padding_has_no_connections():
    assert connectivity(torch.randn(1, 1, 3, 3), (3, 3), padding=1).connections == 49  # (2 + 3 + 2) squared
