"""What only the temperature must hold."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.activation.temperature_softmax import fit_temperature, temperature_softmax, temperature_softmax_fused


@pytest.mark.oracle("temperature-softmax", by="brute force")
@pytest.mark.parametrize("T", [0.1, 1.0, 2.0])
def test_is_the_softmax_of_the_divided_scores_one_by_one(scores, T):
    x = scores(3, 4)
    expected = [[math.exp(v / T) / sum(math.exp(w / T) for w in row) for v in row] for row in x.tolist()]
    assert_close(temperature_softmax(x, T), torch.tensor(expected, dtype=torch.float64))


def test_both_forms_agree_and_a_tensor_gets_its_gradient(agree, scores):
    agree(temperature_softmax, temperature_softmax_fused, scores(3, 4), temperature=0.7)
    T = torch.tensor([[0.5], [1.0], [3.0]], dtype=torch.float64)
    agree(temperature_softmax, temperature_softmax_fused, scores(3, 4), T)
    agree(temperature_softmax, temperature_softmax_fused, scores(3, 4), temperature=0.7, dim=0)


def test_the_jacobian_is_that_of_softmax_over_the_temperature(scores):
    x, T = scores(5), 1.7
    p = temperature_softmax(x, T)
    jacobian = torch.autograd.functional.jacobian(lambda v: temperature_softmax(v, T), x)
    assert_close(jacobian, (torch.diag(p) - torch.outer(p, p)) / T)


def test_the_limits_are_the_argmax_and_the_uniform_distribution(scores):
    x = scores(6, 5)
    assert_close(temperature_softmax(x, 1e-6), F.one_hot(x.argmax(-1), 5).double())
    assert_close(temperature_softmax(x, 1e9), torch.full_like(x, 0.2))
    ties = temperature_softmax(torch.tensor([3.0, 3.0, 1.0]), 1e-6)
    assert_close(ties, torch.tensor([0.5, 0.5, 0.0]))


@pytest.mark.parametrize("form", [temperature_softmax, temperature_softmax_fused])
def test_is_the_softmax_unless_told_otherwise(form, scores):
    assert_close(form(scores(3, 4)), scores(3, 4).softmax(-1))


@pytest.mark.parametrize("form", [temperature_softmax, temperature_softmax_fused])
def test_a_small_temperature_does_not_overflow(form):
    assert form(torch.tensor([1000.0, 0.0]), 1e-38).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("T", [0.0, -1.0, float("nan")])
def test_a_temperature_not_above_zero_is_refused(T):
    for form in (temperature_softmax, temperature_softmax_fused):
        with pytest.raises(ValueError, match="above 0"):
            form(torch.zeros(2), T)


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_the_fit_finds_the_temperature_that_drew_the_labels(true):
    generator = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(20_000, 5, generator=generator)
    labels = torch.multinomial(honest.softmax(-1), 1, generator=generator)[:, 0]
    assert_close(fit_temperature(honest * true, labels), true, rtol=0.03, atol=0)


def test_the_fit_is_the_least_cross_entropy(scores):
    x = scores(300, 4)
    y = torch.multinomial((x / 2).softmax(-1), 1, generator=torch.Generator().manual_seed(0))[:, 0]
    T = fit_temperature(x, y)
    best = F.cross_entropy(x / T, y)
    for factor in (0.9, 0.99, 1.01, 1.1):
        assert F.cross_entropy(x / (T * factor), y) > best


def test_a_fit_that_has_no_answer_is_refused():
    for height in (torch.ones(3), torch.tensor([1.0, 2.0, 3.0])):
        with pytest.raises(ValueError, match="T goes to 0"):
            fit_temperature(height.diag(), torch.arange(3))
    with pytest.raises(ValueError, match=r"\(N, C\)"):
        fit_temperature(torch.eye(3), torch.arange(2))
    with pytest.raises(ValueError, match="T goes to infinity"):
        fit_temperature(torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 2, 1, 1]))
    with pytest.raises(ValueError, match="target has from 0 to 3"):
        fit_temperature(torch.eye(3), torch.tensor([0, 1, 3]))
    with pytest.raises(ValueError, match="target has none"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    with pytest.raises(ValueError, match="not finite"):
        fit_temperature(torch.full((2, 3), float("nan")), torch.zeros(2, dtype=torch.long))


def test_scores_that_are_barely_right_get_a_high_temperature():
    x = torch.tensor([[1.0, 0.0]]).expand(200, 2)
    y = torch.tensor([0] * 101 + [1] * 99)
    assert_close(fit_temperature(x, y), 1 / math.log(101 / 99), rtol=1e-6, atol=0)  # the odds 101 to 99


@pytest.mark.parametrize("gap", [1e-3, 1.0, 1e3])
def test_of_a_thousand_classes_the_odds_give_the_temperature(gap):
    x = gap * F.one_hot(torch.zeros(10, dtype=torch.long), 1000).double()
    y = torch.tensor([0] * 9 + [1])  # right nine times in ten: e^(gap / T) = 9 * 999
    assert_close(fit_temperature(x, y), gap / math.log(9 * 999), rtol=1e-6, atol=0)
