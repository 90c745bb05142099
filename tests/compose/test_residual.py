"""The open road beside a layer."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.compose.residual import Residual, residual
from nnvocab.compose.sequential import Sequential


@pytest.mark.oracle("residual-layer", by="closed form")
def test_of_a_linear_layer_has_the_weights_plus_one():
    layer = nn.Linear(5, 5).double()
    x = torch.randn(3, 5, dtype=torch.float64)
    whole = layer.weight + torch.eye(5)
    assert_close(Residual(layer)(x), x @ whole.mT + layer.bias)
    assert_close(torch.autograd.functional.jacobian(lambda v: Residual(layer)(v[None])[0], x[0]), whole)


def test_zero_sub_layers_give_the_identity_and_identity_gives_twice_the_input():
    x = torch.randn(3, 5)
    assert_close(Residual(Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 5))).start_at_identity()(x), x)
    assert_close(Residual(nn.Identity())(x), 2 * x)
    ten = Sequential(*(Residual(nn.Identity()) for _ in range(10)))
    assert_close(ten(x), 1024 * x)


@pytest.mark.parametrize(
    ("layer", "shape", "kind"),
    [
        (nn.Linear(6, 6), (6,), type(None)),
        (nn.Linear(6, 4), (6,), nn.Linear),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 8, 8), nn.Conv2d),
    ],
)
def test_a_projection_is_made_only_where_shapes_differ(layer, shape, kind):
    block = Residual.fitting(layer, shape)
    x = torch.randn(2, *shape)
    assert isinstance(block.projection, kind) and block(x).shape == layer(x).shape
    assert block.output_shape(shape) == tuple(layer(x).shape[1:])


def test_different_shapes_without_a_projection_are_refused():
    x = torch.zeros(2, 6)
    with pytest.raises(ValueError, match=r"projection=nn.Linear\(6, 4\)"):
        Residual(nn.Linear(6, 4))(x)
    with pytest.raises(ValueError, match="give a projection"):
        Residual(nn.Linear(6, 1)).output_shape((6,))
    with pytest.raises(ValueError, match="came in"):
        residual(x, torch.zeros(2, 1))  # would broadcast
    with pytest.raises(ValueError, match="no linear map"):
        Residual.fitting(nn.Flatten(), (2, 3))


def test_what_has_no_last_weights_cannot_start_at_the_identity():
    with pytest.raises(ValueError, match="does not end in weights"):
        Residual(Sequential(nn.Linear(3, 3), nn.ReLU())).start_at_identity()
    with pytest.raises(TypeError, match="Sequential"):
        Residual([nn.Linear(3, 3)])


def test_a_recurrent_layer_hands_on_its_outputs():
    layer, x = nn.LSTM(4, 4, batch_first=True), torch.randn(2, 3, 4)
    assert_close(Residual(layer)(x), x + layer(x)[0])


def test_a_layer_that_makes_pictures_larger_has_no_1x1_projection():
    with pytest.raises(ValueError, match="no linear map or 1x1 convolution leads from"):
        Residual.fitting(nn.Upsample(scale_factor=2), (3, 4, 4))
    with pytest.raises(ValueError, match="no linear map or 1x1 convolution leads from"):
        Residual.fitting(nn.Flatten(0, 1), (3, 4))
    with pytest.raises(TypeError, match="projection is a function"):
        Residual(nn.Linear(3, 3), projection=lambda x: x)


def test_a_projection_has_the_type_of_the_layer_and_no_offset():
    block = Residual.fitting(nn.Linear(6, 4).double(), (6,))
    assert block.projection.weight.dtype == torch.float64 and block.projection.bias is None
    conv = Residual.fitting(nn.Conv2d(3, 8, 3, stride=(2, 1), padding=1), (3, 8, 8)).projection
    assert conv.kernel_size == (1, 1) and conv.stride == (2, 1) and conv.bias is None
