"""What only expert choice routing must hold."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.layers.expert_choice import ExpertChoice, mix_chosen, mix_chosen_batched


def setting(N=7, C=5, E=4, hidden=3):
    draw = torch.Generator().manual_seed(0)
    x, scores, gate, up, down = (
        torch.randn(s, generator=draw, dtype=torch.float64, requires_grad=True)
        for s in ((N, C), (N, E), (E, hidden, C), (E, hidden, C), (E, C, hidden))
    )
    return (x, scores.softmax(-1).T, gate, up, down), (x, scores, gate, up, down)


@pytest.mark.parametrize("capacity", [1, 3, 7])
def test_batched_form_agrees_on_the_value_and_on_every_gradient(capacity):
    inputs, free = setting()
    out = torch.randn(7, 5, dtype=torch.float64)
    plain, batched = (f(*inputs, capacity=capacity) for f in (mix_chosen, mix_chosen_batched))
    assert_close(plain, batched)
    assert_close(*(torch.autograd.grad((y * out).sum(), free, retain_graph=True) for y in (plain, batched)))


@pytest.mark.oracle("expert-choice-routing", by="brute force")
@pytest.mark.parametrize("per_sequence", [False, True])
def test_each_expert_takes_its_best_tokens_written_out(per_sequence):
    layer, x = ExpertChoice(6, 3, 1.5, per_sequence=per_sequence), torch.randn(2, 4, 6)
    groups = x if per_sequence else x.view(1, 8, 6)
    expected = []
    for group in groups:
        affinity = layer.score(group).softmax(-1).T
        capacity = layer.capacity(len(group))
        expected.append(mix_chosen(group, affinity, *layer.experts.parameters(), capacity=capacity))
    assert_close(layer(x), torch.stack(expected).view_as(x))


def test_every_expert_is_exactly_full_and_tokens_are_chosen_by_none_one_or_many():
    layer = ExpertChoice(6, 4, 1.0)
    _, choices = layer(torch.randn(3, 12, 6), need_routing=True)
    assert choices.tokens.shape == (1, 4, 9)  # 36 tokens, 4 experts, 9 each
    assert all(len(set(row.tolist())) == 9 for row in choices.tokens[0])
    counts = torch.bincount(choices.tokens.flatten(), minlength=36).view(3, 12)
    assert_close(choices.experts_per_token, counts)
    assert choices.experts_per_token.sum() == 36 and {0, 1, 2} <= set(counts.flatten().tolist())


def test_a_token_that_no_expert_chose_gets_nothing():
    layer, x = ExpertChoice(6, 4, 1.0), torch.randn(2, 12, 6)
    y, choices = layer(x, need_routing=True)
    assert (choices.experts_per_token == 0).any()
    assert_close(y[choices.experts_per_token == 0], torch.zeros(int((choices.experts_per_token == 0).sum()), 6))


def test_a_later_token_changes_what_an_earlier_one_gets():
    torch.manual_seed(0)
    layer, x = ExpertChoice(6, 4, 1.0), torch.randn(1, 8, 6)
    changed = 0
    for t in range(1, 8):
        other = x.clone()
        other[:, t] = 3 * torch.randn(6)
        changed += not torch.allclose(layer(x)[:, :t], layer(other)[:, :t])
    assert changed > 0


def test_full_capacity_is_the_dense_mixture_weighted_by_affinity():
    layer, x = ExpertChoice(6, 3, 3.0), torch.randn(5, 6)
    expected = torch.einsum("ne,enc->nc", layer.score(x).softmax(-1), layer.experts.every(x))
    assert_close(layer(x), expected)


def test_experts_are_as_wide_as_eight_thirds_unless_told_otherwise():
    assert ExpertChoice(16, 4).experts.down.shape == (4, 16, 48)  # 8 * 16 / 3, rounded up to a multiple of 8


def test_sequences_that_choose_apart_do_not_meet():
    layer, x = ExpertChoice(6, 4, per_sequence=True), torch.randn(2, 5, 6)
    assert_close(layer(x)[:1], layer(x[:1]))


def test_a_share_that_comes_out_even_is_not_rounded_up():
    for tenths in range(1, 40):
        assert ExpertChoice(6, 4, tenths / 10).capacity(40) == min(40, tenths)  # 40 * tenths / 10 / 4


@pytest.mark.parametrize("per_sequence", [False, True])
def test_no_tokens_give_none(per_sequence):
    layer = ExpertChoice(6, 4, per_sequence=per_sequence)
    for shape in ((2, 0, 6), (0, 5, 6)):
        y, choices = layer(torch.zeros(shape), need_routing=True)
        assert y.shape == shape and choices.experts_per_token.shape == shape[:2]


def test_impossible_layers_and_inputs_are_refused():
    with pytest.raises(ValueError, match="at most num_experts 4"):
        ExpertChoice(6, 4, 5.0)
    with pytest.raises(ValueError, match="positions, 6"):
        ExpertChoice(6, 4)(torch.zeros(3, 5))
