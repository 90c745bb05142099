"""A shared kernel answers a shifted input with a shifted output; what breaks that is measured here."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.convolution.kernel import equivariance_gap


@pytest.mark.oracle("kernel-and-weight-sharing", by="brute force")
def test_is_the_distance_between_the_two_ways_round():
    layer, x = nn.Conv2d(1, 2, 3, padding=1), torch.randn(2, 1, 5, 5)
    gap = equivariance_gap(layer, x, 1)
    for b in range(2):
        y, shifted = layer(x)[b], torch.zeros(1, 5, 5)
        expected = torch.zeros_like(y)
        for u in range(5):
            for v in range(5):
                shifted[:, (u + 1) % 5, (v + 1) % 5] = x[b, :, u, v]
                expected[:, (u + 1) % 5, (v + 1) % 5] = y[:, u, v]
        assert_close(gap[b], (layer(shifted[None])[0] - expected).norm() / y.norm())


def test_circular_padding_and_stride_one_leave_no_gap():
    layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular").double()
    x = torch.randn(4, 2, 8, 8, dtype=torch.float64)
    assert equivariance_gap(layer, x, 3).max() < 1e-12
    assert equivariance_gap(layer, x, 3, output_shift=0).min() > 0.1  # equivariant, not invariant


def test_a_stride_keeps_only_shifts_by_its_multiples():
    layer = nn.Conv2d(1, 3, 3, stride=2, padding=1, padding_mode="circular").double()
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    assert equivariance_gap(layer, x, 2, output_shift=1).max() < 1e-12
    assert all(equivariance_gap(layer, x, 1, output_shift=b).min() > 0.1 for b in (0, 1))


def test_zero_padding_leaves_a_gap_at_the_edge_only():
    layer, x = nn.Conv2d(1, 1, 3, padding=1), torch.randn(1, 1, 8, 8)
    assert equivariance_gap(layer, x, 1) > 0.01
    inner = torch.zeros(1, 1, 8, 8)
    inner[..., 2:5, 2:5] = torch.randn(3, 3)
    bare = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    assert equivariance_gap(bare, inner, 1) < 1e-6


def test_a_global_average_after_it_is_invariant():
    layer = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, padding_mode="circular"), nn.AdaptiveAvgPool2d(1)).double()
    assert equivariance_gap(layer, torch.randn(2, 1, 8, 8, dtype=torch.float64), 3, output_shift=0).max() < 1e-12


def test_an_edge_kernel_and_a_bar_kernel_answer_differently_to_a_bar():
    bar = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]).expand(1, 1, 5, 7)
    edge, line = torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([-1.0, 2.0, -1.0])
    answers = [nn.functional.conv2d(bar, k.expand(1, 1, 3, 3))[0, 0, 0].tolist() for k in (edge, line)]
    assert answers == [[0.0, 3.0, 0.0, -3.0, 0.0], [0.0, -3.0, 6.0, -3.0, 0.0]]


def test_an_input_without_height_and_width_is_refused():
    with pytest.raises(ValueError, match="4 axes are needed"):
        equivariance_gap(torch.relu, torch.zeros(1, 2, 3), 1)


def test_an_answer_that_is_flattened_is_refused():
    with pytest.raises(ValueError, match="the layer's answer has shape"):
        equivariance_gap(nn.Flatten(), torch.zeros(1, 1, 4, 4), 1)
