"""What only SELU, its start and its dropout must hold."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from nnvocab.activation.selu import (
    SELU,
    AlphaDropout,
    alpha_dropout,
    lecun_normal_,
    selu,
    selu_constants,
    selu_fused,
)


@pytest.mark.oracle("selu", by="closed form")
def test_the_constants_keep_mean_and_variance_of_a_normal_input():
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2) / (2 * torch.pi) ** 0.5
    y = selu(z)
    assert_close(torch.trapezoid(y * density, z).item(), 0.0, rtol=0, atol=1e-8)
    assert_close(torch.trapezoid(y**2 * density, z).item(), 1.0, rtol=0, atol=1e-8)


def test_torch_has_the_same_constants():
    scale, alpha = selu_constants()
    assert_close(scale, F.selu(torch.ones(1, dtype=torch.float64)).item())
    assert_close(scale * alpha, -F.selu(torch.full((1,), -100.0, dtype=torch.float64)).item())


def test_both_forms_agree(agree, numbers):
    agree(selu, selu_fused, numbers)


def test_no_elu_is_a_selu():
    x = torch.tensor([1.0], dtype=torch.float64)
    for alpha in (0.1, 1.0, 1.6732632423543772, 10.0):
        assert not torch.allclose(F.elu(x, alpha), selu(x))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mean_and_variance_are_kept_through_32_layers(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(256, 256, generator=generator)
    for _ in range(32):
        x = SELU()(x @ lecun_normal_(torch.empty(256, 256), generator=generator).T)
    assert abs(float(x.mean())) < 0.15
    assert 0.6 < float(x.var()) < 1.5


def test_the_start_has_variance_one_over_fan_in():
    w = lecun_normal_(torch.empty(64, 16, 5, 5), generator=torch.Generator().manual_seed(0))
    assert_close(float(w.var()), 1 / 400, rtol=0.05, atol=0)
    for wrong in (torch.empty(3), torch.empty(0, 3), torch.empty(3, 0)):
        with pytest.raises(ValueError, match="set a bias to zero"):
            lecun_normal_(wrong)


@pytest.mark.parametrize("p", [0.05, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(p):
    x = torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    y = alpha_dropout(x, p, generator=torch.Generator().manual_seed(1))
    assert abs(float(y.mean())) < 0.01
    assert abs(float(y.var()) - 1) < 0.02


def test_alpha_dropout_takes_the_two_values_that_torch_gives():
    x = torch.full((1000,), 0.7)
    values = {round(v, 4) for v in nn.AlphaDropout(0.3).train()(x).tolist()}
    assert {round(v, 4) for v in AlphaDropout(0.3).train()(x).tolist()} == values


def test_alpha_dropout_does_nothing_in_eval_and_follows_its_generator():
    x = torch.randn(50)
    assert AlphaDropout(0.5).eval()(x) is x
    same = [AlphaDropout(0.5, generator=torch.Generator().manual_seed(3))(x) for _ in range(2)]
    assert_close(*same, rtol=0, atol=0)
    for p in (1.0, -0.1):
        for call in (AlphaDropout, lambda p: alpha_dropout(x, p)):
            with pytest.raises(ValueError, match="below 1"):
                call(p)
    assert_close(alpha_dropout(x, 0.0), x)
    half = alpha_dropout(x, 0.5, generator=torch.Generator().manual_seed(3))
    for form in (alpha_dropout, lambda x, generator: AlphaDropout(generator=generator)(x)):
        assert_close(form(x, generator=torch.Generator().manual_seed(3)), half)


def test_in_place():
    x = torch.tensor([1.0])
    assert SELU(inplace=True)(x) is x


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"x.float\(\)"):
        SELU()(torch.tensor([1, 2]))
