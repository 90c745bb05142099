"""Shapes found without computing: equal to those of a real call."""

import pytest
import torch
from torch import nn

from nnvocab.compose.shapes import first_tensor, output_shape


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 4), (6,)),
        (nn.Linear(6, 4), (3, 6)),
        (nn.Conv2d(1, 16, 3), (1, 8, 8)),
        (nn.Conv2d(1, 16, 3, padding=1), (1, 8, 8)),
        (nn.Conv2d(1, 16, 3, stride=2, padding=1), (1, 8, 8)),
        (nn.LSTM(5, 7, batch_first=True), (4, 5)),
        (nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8)), (3,)),
        (nn.LazyLinear(9), (5,)),
    ],
)
def test_equals_the_shape_of_a_real_call(layer, shape):
    found = output_shape(layer, shape)
    assert found == tuple(first_tensor(layer(torch.randn(3, *shape))).shape[1:])


def test_looking_changes_nothing():
    layer = nn.BatchNorm1d(3)
    output_shape(layer, (3,))
    assert layer.num_batches_tracked == 0 and layer.running_mean.device.type == "cpu"
    lazy = nn.LazyLinear(4)
    output_shape(lazy, (3,))
    assert lazy.has_uninitialized_params()


def test_a_sample_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"Linear cannot take samples of shape \(5,\)"):
        output_shape(nn.Linear(6, 4), (5,))


def test_a_result_without_a_tensor_is_refused():
    with pytest.raises(TypeError, match="a tensor"):
        first_tensor({"a": 1})
