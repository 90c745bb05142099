"""Squashing, routing and the margin loss, held to loops written from the equations."""

import math

import pytest
import torch
from torch.testing import assert_close

from nnvocab.layers.capsules import CapsuleLayer, margin_loss, route, route_batched, squash


def test_squash_keeps_the_direction_and_gives_the_length_of_the_equation():
    s = torch.randn(20, 5, dtype=torch.float64)
    v, length = squash(s), s.norm(dim=-1)
    assert_close(v.norm(dim=-1), length**2 / (1 + length**2), rtol=1e-6, atol=1e-6)
    assert_close(torch.cosine_similarity(v, s, dim=-1), torch.ones(20, dtype=torch.float64))
    zero = torch.zeros(3, requires_grad=True)
    squash(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_routing_is_the_procedure_written_out(rounds):
    votes = torch.randn(2, 4, 3, 5, dtype=torch.float64)  # B, I, J, D
    wholes, couplings = route(votes, rounds)
    for n in range(2):
        b = [[0.0] * 3 for _ in range(4)]
        for _ in range(rounds):
            c = [[math.exp(b[i][j]) / sum(math.exp(b[i][m]) for m in range(3)) for j in range(3)] for i in range(4)]
            v = []
            for j in range(3):
                s = sum(c[i][j] * votes[n, i, j] for i in range(4))
                v.append(s.norm() ** 2 / (1 + s.norm() ** 2) * s / s.norm())
            b = [[b[i][j] + float(votes[n, i, j] @ v[j]) for j in range(3)] for i in range(4)]
        assert_close(couplings[n], torch.tensor(c, dtype=torch.float64), rtol=1e-6, atol=1e-6)
        assert_close(wholes[n], torch.stack(v), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rounds", [1, 3])
def test_batched_form_agrees_on_the_value_and_on_every_gradient(rounds):
    votes = torch.randn(2, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    out = torch.randn(2, 3, 4, dtype=torch.float64)
    plain, batched = route(votes, rounds), route_batched(votes, rounds)
    assert_close(plain, batched)
    assert_close(*(torch.autograd.grad((v * out).sum(), votes) for v, _ in (plain, batched)))


def test_each_part_shares_itself_out_among_the_wholes():
    _, couplings = route(torch.randn(2, 6, 3, 4), 3)
    assert_close(couplings.sum(dim=2), torch.ones(2, 6))
    assert not torch.allclose(couplings.sum(dim=1), torch.full((2, 3), 2.0), atol=1e-3)


def test_the_part_that_disagrees_is_sent_elsewhere():
    votes = torch.zeros(1, 5, 2, 3)
    votes[0, :4, 0, 0] = 1.0  # four parts agree on whole 0, ...
    votes[0, 4, 0, 0] = -1.0  # ... the fifth says the contrary,
    votes[0, :, 1] = 0.2 * torch.randn(5, 3)
    _, couplings = route(votes, 3)
    assert (couplings[0, :4, 0] > 0.6).all() and couplings[0, 4, 0] < 0.4


def test_margin_loss_is_the_equation_written_out():
    lengths, target = torch.rand(4, 3), torch.tensor([0, 2, 1, 1])
    expected = 0.0
    for n in range(4):
        for j in range(3):
            length = float(lengths[n, j])
            there = max(0.0, 0.9 - length) ** 2
            expected += (there if int(target[n]) == j else 0.5 * max(0.0, length - 0.1) ** 2) / 4
    assert_close(margin_loss(lengths, target), torch.tensor(expected))


def test_two_things_may_be_there_at_once():
    lengths = torch.tensor([[0.95, 0.95, 0.05]])
    assert margin_loss(lengths, torch.tensor([[1, 1, 0]])) == 0
    assert margin_loss(lengths, torch.tensor([0])) > 0.3


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at least 1 round"):
        CapsuleLayer(4, 2, 3, 3, num_iterations=0)
    with pytest.raises(ValueError, match="needs \\(batch, 4, 3\\)"):
        CapsuleLayer(4, 2, 3, 3)(torch.zeros(2, 5, 3))
    for sizes in ((0, 2, 3, 3), (4, 0, 3, 3), (4, 2, 0, 3), (4, 2, 3, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            CapsuleLayer(*sizes)
    for form in (route, route_batched):
        with pytest.raises(ValueError, match="at least 1 round"):
            form(torch.zeros(1, 4, 2, 3), 0)
        with pytest.raises(ValueError, match="parts, wholes, width"):
            form(torch.zeros(4, 2, 3))
    with pytest.raises(ValueError, match="give one class a row"):
        margin_loss(torch.zeros(2, 3), torch.zeros(2, 4))


def test_weights_start_small():
    assert_close(CapsuleLayer(50, 10, 8, 16).weight.std(), torch.tensor(0.1), rtol=0.05, atol=0)
    assert CapsuleLayer(1, 1, 1, 1, num_iterations=1)(torch.ones(2, 1, 1)).shape == (2, 1, 1)
