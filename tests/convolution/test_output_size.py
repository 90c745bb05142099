"""The rule for sizes must hold for what torch really returns."""

import itertools

import pytest
import torch
from torch import nn

from nnvocab.convolution.output_size import conv_output_size, conv_transpose_output_size


@pytest.mark.oracle("output-size", by="peer: torch.nn.Conv1d")
def test_is_the_size_that_torch_returns():
    count = 0
    for n, k, s, p, d in itertools.product((4, 5, 8), (1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2)):
        if n + 2 * p >= d * (k - 1) + 1:
            y = nn.Conv1d(1, 1, k, stride=s, padding=p, dilation=d)(torch.zeros(1, 1, n))
            assert conv_output_size(n, k, stride=s, padding=p, dilation=d) == y.shape[-1]
            count += 1
    assert count > 100
    assert conv_output_size(7, 3) == 5  # without options: stride 1, no padding, no dilation


def test_is_the_size_that_torch_returns_when_transposed():
    assert conv_transpose_output_size(8, 3) == 10  # without options: stride 1, no padding, no dilation
    for n, k, s, p, q, d in itertools.product((2, 5), (2, 3, 4), (1, 2, 3), (0, 1), (0, 1), (1, 2)):
        if q < max(s, d) and (n - 1) * s - 2 * p + d * (k - 1) + q + 1 > 0:
            layer = nn.ConvTranspose1d(1, 1, k, stride=s, padding=p, output_padding=q, dilation=d)
            size = conv_transpose_output_size(n, k, stride=s, padding=p, output_padding=q, dilation=d)
            assert size == layer(torch.zeros(1, 1, n)).shape[-1]


def test_transposed_sizes_are_those_that_convolution_brings_back():
    for n, k, s, p in itertools.product((5, 8), (3, 4), (1, 2, 3), (0, 1)):
        sizes = {conv_transpose_output_size(n, k, stride=s, padding=p, output_padding=q) for q in range(s)}
        assert sizes == {m for m in range(k, 99) if conv_output_size(m, k, stride=s, padding=p) == n}


def test_a_stride_of_two_doubles_only_with_a_kernel_and_padding_that_match():
    assert conv_transpose_output_size(8, 3, stride=2, padding=1) == 15
    assert conv_transpose_output_size(8, 4, stride=2, padding=1) == 16


@pytest.mark.parametrize(
    ("function", "arguments", "options", "message"),
    [
        (conv_output_size, (4, 5), {}, "spans 5 positions, but the padded input has 4"),
        (conv_output_size, (4, 3), {"dilation": 2}, "spans 5 positions"),
        (conv_output_size, (0, 3), {}, "size is 0"),
        (conv_output_size, (4, 3), {"stride": 0}, "stride is 0"),
        (conv_output_size, (4, 3), {"padding": -1}, "padding is -1"),
        (conv_output_size, (4, 2.0), {}, "kernel_size is 2.0"),
        (conv_transpose_output_size, (4, 3), {"stride": 2, "output_padding": 2}, "less than stride or dilation"),
        (conv_transpose_output_size, (1, 2), {"padding": 1}, "removes everything"),
    ],
)
def test_numbers_that_give_no_size_are_refused(function, arguments, options, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments, **options)
