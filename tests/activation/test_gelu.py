"""What only GELU must hold."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.gelu import GELU, gelu, gelu_fused


@pytest.mark.oracle("gelu", by="brute force")
def test_is_x_times_the_normal_distribution_function_one_by_one(numbers):
    expected = [v * math.erfc(-v / 2**0.5) / 2 for v in numbers.tolist()]
    assert_close(gelu(numbers), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_both_forms_agree_and_torch_has_them(agree, numbers, approximate):
    agree(gelu, gelu_fused, numbers, approximate=approximate)
    assert_close(GELU(approximate)(numbers), nn.GELU(approximate)(numbers))


def test_the_derivative_is_the_distribution_plus_x_times_the_density(numbers):
    numbers.requires_grad_()
    (slope,) = torch.autograd.grad(gelu(numbers).sum(), numbers)
    density = torch.exp(-(numbers**2) / 2) / math.sqrt(2 * math.pi)
    assert_close(slope, torch.special.ndtr(numbers) + numbers * density)


def test_the_approximation_is_near_but_not_equal():
    x = torch.linspace(-6, 6, 10_001, dtype=torch.float64)
    worst = float((gelu(x) - gelu(x, "tanh")).abs().max())
    assert 1e-4 < worst < 5e-4


def test_an_unknown_form_is_refused():
    for call in (lambda: GELU("fast"), lambda: gelu(torch.zeros(1), "erf"), lambda: gelu_fused(torch.zeros(1), "erf")):
        with pytest.raises(ValueError, match="approximate is"):
            call()


def test_t5_has_relu_and_its_later_version_a_gated_gelu():
    transformers = pytest.importorskip("transformers", reason="transformers is an optional peer")
    assert transformers.T5Config().feed_forward_proj == "relu"


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        GELU()(torch.tensor([1, 2]))
