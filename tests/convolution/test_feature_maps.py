"""The report must say what a run of the model shows."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnvocab.convolution.conv2d import Conv2d
from nnvocab.convolution.feature_maps import feature_map_report
from nnvocab.convolution.receptive_field import measured_receptive_field
from nnvocab.convolution.separable import DepthwiseSeparableConv2d
from nnvocab.convolution.transposed import TransposedConv2d


def model():
    return nn.Sequential(
        nn.Sequential(Conv2d(3, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Conv2d(8, 16, (3, 1), groups=2, dilation=2),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 6 * 8, 10),
    )


@pytest.mark.oracle("feature-maps", by="peer: torch.utils.flop_counter")
def test_counts_what_torch_counts():
    with FlopCounterMode(display=False) as counter:
        model().eval()(torch.zeros(1, 3, 32, 32))
    rows = feature_map_report(model(), torch.zeros(1, 3, 32, 32))
    assert 2 * sum(row.multiply_adds for row in rows) == counter.get_total_flops()
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model().parameters())


def test_sizes_and_fields_are_those_of_the_real_maps():
    x = torch.randn(4, 3, 32, 32)
    whole = model().eval()
    rows = feature_map_report(whole, x[:1])
    flat = [*whole[0], *whole[1:]]
    for depth, row in enumerate(rows[:5], start=1):
        part = nn.Sequential(*flat[:depth])
        assert (row.channels, *row.size) == tuple(part(x).shape[1:])
        assert measured_receptive_field(part, x)[0] == row.receptive_field
    assert [row.receptive_field for row in rows[5:]] == [None, None]
    assert rows[4].jump == (4, 4)


def test_leaves_the_model_in_the_mode_it_was_in():
    whole = model()
    whole[1].eval()
    feature_map_report(whole, torch.zeros(1, 3, 32, 32))
    assert whole.training and whole[0][1].training and not whole[1].training
    assert whole[0][1].num_batches_tracked == 0


def test_a_transposed_layer_pays_for_its_inputs():
    rows = feature_map_report(nn.Sequential(TransposedConv2d(2, 3, 4, stride=2)), torch.zeros(1, 2, 5, 5))
    with FlopCounterMode(display=False) as counter:
        nn.ConvTranspose2d(2, 3, 4, stride=2)(torch.zeros(1, 2, 5, 5))
    assert 2 * rows[0].multiply_adds == counter.get_total_flops()
    assert rows[0].receptive_field is None


def test_thirty_two_filters_make_thirty_two_maps():
    (row,) = feature_map_report(nn.Sequential(Conv2d(1, 32, 3)), torch.zeros(1, 1, 28, 28))
    assert (row.channels, row.size, row.parameters) == (32, (26, 26), 32 * 10)


def test_a_model_with_branches_is_refused():
    with pytest.raises(TypeError, match="an nn.Sequential is needed"):
        feature_map_report(nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 5, 5))


def test_a_layer_with_layers_of_its_own_is_refused():
    with pytest.raises(TypeError, match="holds a DepthwiseSeparableConv2d"):
        feature_map_report(nn.Sequential(DepthwiseSeparableConv2d(1, 2, 3, padding=1)), torch.zeros(1, 1, 5, 5))


def test_the_mode_comes_back_even_if_the_input_does_not_fit():
    whole = model()
    with pytest.raises(ValueError, match="x has 4 channels"):
        feature_map_report(whole, torch.zeros(1, 4, 32, 32))
    assert all(module.training for module in whole.modules())


def test_a_linear_layer_along_the_width_mixes_positions_and_pays_for_each_row():
    stack = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm((3, 4, 6)))
    with FlopCounterMode(display=False) as counter:
        stack(torch.zeros(1, 3, 4, 6))
    rows = feature_map_report(stack, torch.zeros(1, 3, 4, 6))
    assert [row.receptive_field for row in rows] == [None, None]
    assert 2 * sum(row.multiply_adds for row in rows) == counter.get_total_flops()
