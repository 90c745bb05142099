"""The positions that the windows visit must be those that a real convolution reads."""

import pytest
import torch
import torch.nn.functional as F

from nnvocab.convolution.output_size import conv_output_size
from nnvocab.convolution.stride import window_positions


@pytest.mark.oracle("stride", by="peer: torch.nn.functional.conv1d")
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"stride": 3, "padding": 2}, {"stride": 2, "dilation": 2}], ids=str
)
def test_windows_read_what_a_convolution_with_ones_depends_on(options):
    x = torch.zeros(1, 1, 9, requires_grad=True)
    y = F.conv1d(x, torch.ones(1, 1, 3), **options)[0, 0]
    windows = window_positions(9, 3, **options)
    assert len(windows) == len(y) == conv_output_size(9, 3, **options)
    for value, window in zip(y, windows, strict=True):
        (gradient,) = torch.autograd.grad(value, x, retain_graph=True)
        assert gradient[0, 0].nonzero().flatten().tolist() == [i for i in window if 0 <= i < 9]


def test_neighbouring_windows_are_a_stride_apart():
    starts = [window[0] for window in window_positions(12, 3, stride=4, padding=1)]
    assert starts == [-1, 3, 7]


def test_a_window_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="spans 5 positions"):
        window_positions(4, 3, dilation=2)
