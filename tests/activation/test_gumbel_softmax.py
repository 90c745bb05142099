"""What only Gumbel-softmax must hold."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.activation.gumbel_softmax import gumbel_noise, gumbel_softmax


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.oracle("gumbel-softmax", by="closed form")
def test_hard_draws_have_the_probabilities_of_the_softmax():
    x = torch.tensor([1.0, 0.0, -1.0, 0.5])
    draws = gumbel_softmax(x.expand(100_000, 4), hard=True, generator=seeded())
    assert_close(draws.mean(0), x.softmax(-1), rtol=0, atol=0.006)  # four standard errors
    assert_close(draws.sum(-1), torch.ones(100_000))
    assert ((draws == 0) | (draws == 1)).all()


def test_the_noise_has_the_mean_and_variance_of_gumbel():
    g = gumbel_noise(torch.empty(400_000), generator=seeded())
    assert_close(float(g.mean()), 0.5772, rtol=0, atol=0.01)
    assert_close(float(g.var()), torch.pi**2 / 6, rtol=0.02, atol=0)


@pytest.mark.parametrize("options", [(), (0.5, False), (0.5, True)])
def test_torch_draws_the_same_from_the_same_seed(options):
    x = torch.randn(5, 7)
    torch.manual_seed(3)
    ours = gumbel_softmax(x, *options)
    torch.manual_seed(3)
    assert_close(ours, F.gumbel_softmax(x, *options))


def test_the_soft_draw_has_the_jacobian_of_softmax_over_the_temperature(scores):
    x, T = scores(5), 0.6
    p = gumbel_softmax(x, T, generator=seeded(4))
    jacobian = torch.autograd.functional.jacobian(lambda v: gumbel_softmax(v, T, generator=seeded(4)), x)
    assert_close(jacobian, (torch.diag(p) - torch.outer(p, p)) / T)


def test_a_hard_draw_lets_the_soft_gradient_through(scores):
    x = scores(3, 5).requires_grad_()
    w = scores(3, 5, seed=1)
    grads = [
        torch.autograd.grad((gumbel_softmax(x, 0.7, hard, generator=seeded(1)) * w).sum(), x)[0]
        for hard in (False, True)
    ]
    assert_close(*grads)


def test_the_axis_and_the_refusals():
    assert_close(gumbel_softmax(torch.zeros(3, 4), dim=0).sum(0), torch.ones(4))
    with pytest.raises(ValueError, match="above 0"):
        gumbel_softmax(torch.zeros(3), 0.0)
    with pytest.raises(ValueError, match="no score"):
        gumbel_softmax(torch.zeros(0))
