"""What only GLU must hold."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.glu import GLU, glu, split_halves


@pytest.mark.oracle("glu", by="brute force")
def test_the_second_half_gates_the_first_one_by_one(scores):
    x = scores(2, 6)
    expected = [[float(row[i] / (1 + torch.exp(-row[i + 3]))) for i in range(3)] for row in x]
    assert_close(GLU()(x), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("dim", [0, 1, -1, -3])
def test_two_tensors_and_the_kernel_agree(agree, scores, dim):
    agree(lambda x: glu(*split_halves(x, dim)), GLU(dim), scores(2, 4, 6))
    x = scores(2, 4, 6)
    assert_close(GLU(dim)(x), nn.GLU(dim)(x))


def test_an_odd_length_is_refused():
    wrong = ((torch.zeros(2, 5), -1), (torch.zeros(()), -1), (torch.zeros(2, 4), 2), (torch.zeros(2, 4), -3))
    for x, dim in wrong:
        with pytest.raises(ValueError, match="even length"):
            GLU(dim)(x)
        with pytest.raises(ValueError, match="even length"):
            split_halves(x, dim)


def test_alone_it_halves_the_width_and_behind_a_doubled_map_it_keeps_it():
    x = torch.randn(3, 6, 8)
    assert GLU()(x).shape == split_halves(x)[0].shape == F.glu(x).shape == (3, 6, 4)
    assert GLU()(nn.Linear(8, 16)(x)).shape == (3, 6, 8)


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        GLU()(torch.tensor([1, 2]))


def test_a_value_and_a_gate_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="two tensors of one shape"):
        glu(torch.zeros(2, 3), torch.zeros(2, 1))
