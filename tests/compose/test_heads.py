"""Heads for several agents."""

import pytest
import torch
from torch.distributions import Categorical
from torch.testing import assert_close

from nnvocab.compose.heads import GridSoftmaxHead, MultiAgentPolicy


@pytest.mark.oracle("grid-softmax-action-head", by="peer: torch")
def test_is_a_categorical_for_each_agent():
    head, logits = GridSoftmaxHead(3, 4), torch.randn(5, 12, dtype=torch.float64)
    theirs = Categorical(logits=logits.view(5, 3, 4))
    actions = theirs.sample()
    assert_close(head(logits), theirs.probs)
    assert_close(head.log_prob(logits, actions), theirs.log_prob(actions))
    assert_close(head.entropy(logits), theirs.entropy())


def test_samples_follow_the_probabilities_and_bring_their_log_probability():
    head = GridSoftmaxHead(2, 3)
    logits = torch.tensor([1.0, 0.0, -1.0, 0.0, 2.0, 0.0]).expand(20000, 6)
    actions, log_p = head.sample(logits, generator=torch.Generator().manual_seed(0))
    assert actions.shape == log_p.shape == (20000, 2)
    share = torch.nn.functional.one_hot(actions, 3).float().mean(0)
    assert_close(share, head(logits[:1])[0], rtol=0, atol=0.015)
    assert_close(log_p, head.log_prob(logits, actions))
    again, _ = head.sample(logits, generator=torch.Generator().manual_seed(0))
    assert torch.equal(actions, again)


def test_agents_do_not_compete_with_one_another():
    head, logits = GridSoftmaxHead(3, 4), torch.randn(1, 12)
    changed = logits.clone()
    changed[:, 4:8] += torch.randn(1, 4)
    assert_close(head(logits)[:, [0, 2]], head(changed)[:, [0, 2]])
    assert_close(head(logits).sum(), torch.tensor(3.0))


def test_logits_behind_a_relu_are_dead():
    z = torch.tensor([-3.0, -2.0, -1.0, -4.0], requires_grad=True)
    p = z.relu().softmax(-1)
    p[0].backward()
    assert p.tolist() == [0.25] * 4 and z.grad.abs().max() == 0


@pytest.mark.oracle("multi-agent-policy-heads", by="brute force")
def test_the_logits_are_the_three_heads_written_out():
    policy, x = MultiAgentPolicy(6, 8, 4, recurrent_features=5), torch.randn(2, 3, 6)
    h = torch.relu(x @ policy.trunk[0].weight.mT + policy.trunk[0].bias)
    dense, lstm, attention = policy.heads.branches
    z0 = dense.layer(h[:, -1])
    z1 = lstm[1](lstm[0].layer(h)[0][:, -1])
    z2 = attention[1](attention[0].layer(h, h, h)[0][:, -1])
    assert_close(policy.logits(x), torch.cat([z0, z1, z2], 1))
    for agent, z in enumerate((z0, z1, z2)):
        assert_close(policy(x)[:, agent], z.exp() / z.exp().sum(-1, keepdim=True))


def test_only_the_agents_with_a_history_look_at_it():
    policy, x = MultiAgentPolicy(6, 8, 4), torch.randn(2, 5, 6)
    past = x.clone()
    past[:, 0] += 1
    before, after = policy(x), policy(past)
    assert_close(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1], after[:, 1]) and not torch.allclose(before[:, 2], after[:, 2])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="3 agents with 4 actions need 12"):
        GridSoftmaxHead(3, 4)(torch.zeros(1, 10))
    with pytest.raises(ValueError, match="one for each of 3 agents"):
        GridSoftmaxHead(3, 4).log_prob(torch.zeros(1, 12), torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="at least 1"):
        GridSoftmaxHead(0, 4)
    with pytest.raises(ValueError, match="a history"):
        MultiAgentPolicy(6)(torch.zeros(2, 6))
    with pytest.raises(ValueError, match="does not divide"):
        MultiAgentPolicy(6, 7)


def test_actions_are_whole_numbers_and_heads_are_some():
    with pytest.raises(ValueError, match=r"actions.long\(\)"):
        GridSoftmaxHead(3, 4).log_prob(torch.zeros(1, 12), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="num_heads is 0"):
        MultiAgentPolicy(6, 8, num_heads=0)
    assert MultiAgentPolicy(6, 8, num_heads=1)(torch.zeros(2, 5, 6)).shape == (2, 3, 4)
