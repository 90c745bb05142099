"""Shapes found without computing: equal to those of a real call."""

import pytest
import torch
from torch import nn

from nnvocab.compose.sequential import Sequential
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


def test_lazy_layers_are_looked_at_without_drawing_a_random_number():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).double()
    state = torch.get_rng_state()
    assert output_shape(model, (3, 8, 8)) == (2,)
    assert torch.equal(torch.get_rng_state(), state) and model[3].has_uninitialized_params()


@pytest.mark.parametrize("shape", [64, None, "ab"])
def test_what_is_no_shape_is_refused(shape):
    for ask in (lambda s: output_shape(nn.Linear(64, 2), s), Sequential(nn.Linear(64, 2)).output_shape):
        with pytest.raises(TypeError, match=r"without the batch: \(64,\)"):
            ask(shape)


def test_a_layer_of_several_inputs_is_refused_with_its_name():
    with pytest.raises(ValueError, match="MultiheadAttention cannot take"):
        output_shape(nn.MultiheadAttention(4, 2), (4,))
