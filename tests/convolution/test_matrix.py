"""The matrix of a convolution does what the convolution does."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.convolution.matrix import convolution_matrix, convolution_matrix_columns

CASES = [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2}]


@pytest.mark.oracle("convolution-as-a-matrix", by="peer: torch.nn.functional.conv2d")
@pytest.mark.parametrize("options", CASES, ids=str)
def test_times_the_flattened_image_is_the_convolution(options):
    weight, x = torch.randn(3, 2, 3, 2, dtype=torch.float64), torch.randn(4, 2, 5, 6, dtype=torch.float64)
    matrix = convolution_matrix(weight, (5, 6), **options)
    assert_close(x.flatten(1) @ matrix.T, F.conv2d(x, weight, **options).flatten(1))


@pytest.mark.parametrize("options", CASES, ids=str)
def test_both_ways_give_one_matrix_and_one_gradient(options):
    weight = torch.randn(2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    plain, columns = (f(weight, (5, 4), **options) for f in (convolution_matrix, convolution_matrix_columns))
    assert_close(plain, columns)
    weights = torch.randn_like(plain)
    assert_close(
        torch.autograd.grad((plain * weights).sum(), weight), torch.autograd.grad((columns * weights).sum(), weight)
    )


def test_its_transpose_is_the_transposed_convolution():
    weight, y = torch.randn(3, 2, 3, 3, dtype=torch.float64), torch.randn(1, 3, 3, 3, dtype=torch.float64)
    matrix = convolution_matrix(weight, (5, 5), stride=2, padding=1)
    expected = F.conv_transpose2d(y, weight, stride=2, padding=1)
    assert_close((y.flatten(1) @ matrix).view_as(expected), expected)


def test_is_mostly_zeros_and_holds_only_the_kernels_weights():
    weight = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    matrix = convolution_matrix(weight, (8, 8))
    assert matrix.shape == (36, 64)
    assert (matrix != 0).sum(dim=1).tolist() == [9] * 36
    assert set(matrix.flatten().tolist()) == {0.0, *weight.flatten().tolist()}


def test_a_kernel_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="spans 3 positions, but the padded input has 2"):
        convolution_matrix(torch.ones(1, 1, 3, 3), (2, 5))


@pytest.mark.parametrize("function", [convolution_matrix, convolution_matrix_columns])
@pytest.mark.parametrize(
    ("weight", "size", "message"), [((3, 3), (5, 5), "4 axes"), ((1, 1, 3, 3), 5, "height and width")]
)
def test_kernels_and_sizes_of_another_form_are_refused(function, weight, size, message):
    with pytest.raises(ValueError, match=message):
        function(torch.ones(weight), size)
