"""What only the losses of a router must hold."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.layers.load_balancing import expert_shares, load_balancing_loss, router_z_loss


@pytest.mark.oracle("load-balancing-loss", by="brute force")
@pytest.mark.parametrize("k", [1, 2, 3])
def test_is_the_sum_over_experts_written_out(k):
    probs = torch.randn(7, 4).softmax(-1)
    experts = probs.topk(k).indices
    expected = 0.0
    for e in range(4):
        share = sum(int(experts[n, j]) == e for n in range(7) for j in range(k)) / (7 * k)
        expected += 4 * share * sum(float(probs[n, e]) for n in range(7)) / 7
    assert_close(load_balancing_loss(probs, experts), torch.tensor(expected))


@pytest.mark.parametrize("k", [1, 2])
def test_is_that_of_transformers_divided_by_the_choices_a_token_has(k):
    peer = pytest.importorskip("transformers.models.mixtral.modeling_mixtral", reason="the peer is optional")
    logits = torch.randn(20, 6)
    probs = logits.softmax(-1)
    ours = load_balancing_loss(probs, probs.topk(k).indices)
    assert_close(ours * k, peer.load_balancing_loss_func((logits,), 6, k))


@pytest.mark.parametrize("E", [2, 8])
@pytest.mark.parametrize("k", [1, 2])
def test_is_one_at_balance_and_the_number_of_experts_at_collapse(E, k):
    balanced = torch.stack([torch.arange(E).roll(j) for j in range(k)], dim=1)
    assert_close(load_balancing_loss(torch.full((E, E), 1 / E), balanced), torch.tensor(1.0))
    certain = torch.zeros(5, E).index_fill(1, torch.tensor([0]), 1.0)
    assert_close(load_balancing_loss(certain, torch.zeros(5, 1, dtype=torch.long)), torch.tensor(float(E)))


def test_its_gradient_lowers_the_probability_of_the_crowded_expert():
    probs = torch.full((4, 3), 1 / 3, requires_grad=True)
    load_balancing_loss(probs, torch.tensor([[0], [0], [0], [1]])).backward()
    assert (probs.grad[:, 0] > probs.grad[:, 1]).all() and (probs.grad[:, 1] > probs.grad[:, 2]).all()


def test_shares_sum_to_one_and_none_is_even_without_tokens():
    assert_close(expert_shares(torch.randint(0, 5, (3, 4, 2)), 5).sum(), torch.tensor(1.0))
    assert expert_shares(torch.zeros(0, 2, dtype=torch.long), 5).sum() == 0


def test_z_loss_is_the_mean_square_of_log_sum_exp():
    logits = torch.randn(6, 4)
    assert_close(router_z_loss(logits), (logits.exp().sum(-1).log() ** 2).mean())
    assert router_z_loss(logits + 10) > 20 * router_z_loss(logits)  # the softmax is the same, the logits are large


def test_without_tokens_both_losses_are_zero():
    assert load_balancing_loss(torch.zeros(0, 4), torch.zeros(0, 2, dtype=torch.long)) == 0
    assert router_z_loss(torch.zeros(0, 4)) == 0


def test_probabilities_and_choices_of_other_tokens_are_refused():
    probs = torch.full((6, 4), 0.25)
    for experts in (torch.zeros(5, 2), torch.zeros(6), torch.zeros(2, 3, 2)):
        with pytest.raises(ValueError, match="tokens, choices"):
            load_balancing_loss(probs, experts.long())


def test_one_token_with_one_choice_counts_whole():
    logits, experts = torch.randn(1, 4), torch.tensor([[2]])
    probs = logits.softmax(-1)
    assert expert_shares(experts, 4).tolist() == [0, 0, 1, 0]
    assert_close(load_balancing_loss(probs, experts), 4 * probs[0, 2])
    assert_close(router_z_loss(logits), logits.exp().sum().log() ** 2)
