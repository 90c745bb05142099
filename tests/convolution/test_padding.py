"""What lies beyond the edge, in four modes."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from nnvocab.convolution.padding import pad, pad_torch

NUMPY = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.oracle("padding", by="peer: numpy.pad")
@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("padding", [0, 1, (2, 3)])
def test_is_numpys_padding(mode, padding):
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    h, w = (padding, padding) if isinstance(padding, int) else padding
    expected = np.pad(x.numpy(), [(0, 0), (0, 0), (h, h), (w, w)], mode=NUMPY[mode])
    assert_close(pad(x, padding, mode=mode), torch.from_numpy(expected))


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("shape", [(2, 1, 5), (2, 1, 4, 5), (1, 2, 3, 4, 3)])
def test_torch_form_agrees_on_the_value_and_on_the_gradient(mode, shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    plain, fast = (f(x, 2, mode=mode) for f in (pad, pad_torch))
    assert_close(plain, fast)
    weights = torch.randn_like(plain)
    assert_close(torch.autograd.grad((plain * weights).sum(), x), torch.autograd.grad((fast * weights).sum(), x))


def test_one_row_of_zeros_turns_four_by_four_into_six_by_six():
    assert pad(torch.ones(1, 1, 4, 4), 1).shape == (1, 1, 6, 6)
    assert pad(torch.full((1, 1, 4, 4), float("inf")), 1)[0, 0, 0].tolist() == [0.0] * 6


@pytest.mark.parametrize(
    ("shape", "padding", "mode", "message"),
    [
        ((1, 1, 4), 1, "mirror", "mode is 'mirror'"),
        ((1, 1, 2, 2, 2, 2), 1, "zeros", "one to three more axes"),
        ((4, 4), 1, "zeros", "batch, channels and one to three more axes"),
        ((1, 1, 4, 4), (1, 2, 3), "zeros", "or 2 of them"),
        ((1, 1, 4, 4), -1, "zeros", "at least 0"),
        ((1, 1, 4, 4), 1.5, "zeros", "padding is 1.5"),
        ((1, 1, 4, 4), (1, 1.5), "zeros", "a whole number"),
        ((1, 1, 0), 1, "replicate", "without positions"),
        ((1, 1, 3), 3, "reflect", "needs an axis of at least 4"),
        ((1, 1, 3), 4, "circular", "needs an axis of at least 4"),
    ],
)
def test_padding_that_cannot_be_is_refused(shape, padding, mode, message):
    with pytest.raises(ValueError, match=message):
        pad(torch.zeros(shape), padding, mode=mode)
