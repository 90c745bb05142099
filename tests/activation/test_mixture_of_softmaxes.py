"""What only the mixture of softmaxes must hold."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.activation.mixture_of_softmaxes import (
    MixtureOfSoftmaxes,
    mixture_of_log_softmaxes,
    mixture_of_softmaxes,
)


@pytest.mark.oracle("mixture-of-softmaxes", by="brute force")
def test_is_the_weighted_sum_of_softmaxes_written_out(scores):
    x, prior = scores(2, 3, 5), scores(2, 3, seed=1)
    expected = torch.zeros(2, 5, dtype=torch.float64)
    for b in range(2):
        for k in range(3):
            expected[b] += prior[b].softmax(0)[k] * x[b, k].softmax(0)
    assert_close(mixture_of_softmaxes(x, prior), expected)
    assert_close(mixture_of_log_softmaxes(x, prior), expected.log())
    assert_close(mixture_of_softmaxes(x.mT, prior, dim=-2), expected)


def test_the_jacobian_is_closed_form(scores):
    x, prior = scores(3, 4), scores(3, seed=1)
    pi, p = prior.softmax(0), x.softmax(-1)
    by_x, by_prior = torch.autograd.functional.jacobian(mixture_of_softmaxes, (x, prior))
    for k in range(3):
        assert_close(by_x[:, k], pi[k] * (torch.diag(p[k]) - torch.outer(p[k], p[k])))
        assert_close(by_prior[:, k], pi[k] * (p[k] - pi @ p))


def test_the_layer_is_the_formula_of_the_paper():
    layer, x = MixtureOfSoftmaxes(4, 6, 3), torch.randn(2, 4)
    pi, latent = layer.prior(x).softmax(-1), torch.tanh(layer.latent(x)).view(2, 3, 4)
    expected = sum(pi[:, k, None] * layer.decoder(latent[:, k]).softmax(-1) for k in range(3))
    assert_close(layer(x), expected)
    assert_close(layer.log_prob(x), expected.log())


def rank(log_probabilities):
    values = torch.linalg.svdvals(log_probabilities)
    return int((values > 1e-8 * values[0]).sum())


def test_the_rank_of_one_softmax_is_bound_and_that_of_the_mixture_is_not():
    generator = torch.Generator().manual_seed(0)
    contexts = torch.randn(100, 4, generator=generator, dtype=torch.float64)
    words = torch.randn(4, 40, generator=generator, dtype=torch.float64)
    one = (contexts @ words).log_softmax(-1)
    latent = torch.tanh(contexts @ torch.randn(4, 12, generator=generator, dtype=torch.float64)).view(100, 3, 4)
    prior = contexts @ torch.randn(4, 3, generator=generator, dtype=torch.float64)
    assert rank(one) <= 5
    assert rank(mixture_of_log_softmaxes(latent @ words, prior)) > 20


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="one score of the prior"):
        mixture_of_softmaxes(torch.zeros(2, 3, 5), torch.zeros(2, 5))
    with pytest.raises(ValueError, match="num_softmaxes is 0"):
        MixtureOfSoftmaxes(4, 5, 0)
