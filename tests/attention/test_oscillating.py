"""Oscillating attention: each layer in its direction, and what the whole stack then depends on."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import (
    OscillatingAttention,
    dependencies,
    directed_attention,
    directed_attention_fused,
    direction_mask,
    reach,
)
from nnvocab.attention.oscillating import DIRECTIONS


@pytest.mark.oracle("oscillating-attention", by="brute force")
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_is_the_mean_over_the_side_that_is_seen(direction):
    q, k, v = torch.randn(3, 2, 2, 6, 4, dtype=torch.float64).unbind()
    sides = {"both": lambda i: range(6), "forward": lambda i: range(i + 1), "backward": lambda i: range(i, 6)}
    for form in (directed_attention, directed_attention_fused):
        y = form(q, k, v, direction=direction)
        for i in range(6):
            seen = list(sides[direction](i))
            weights = torch.exp(torch.einsum("bhd,bhsd->bhs", q[:, :, i], k[:, :, seen]) / 2)
            expected = torch.einsum("bhs,bhsd->bhd", weights / weights.sum(-1, keepdim=True), v[:, :, seen])
            assert_close(y[:, :, i], expected)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_fused_form_agrees_on_the_value_and_on_every_gradient(direction):
    given = [torch.randn(2, 2, 6, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    plain, fused = (f(*given, direction=direction) for f in (directed_attention, directed_attention_fused))
    c = torch.randn_like(plain)
    assert_close(plain, fused)
    assert_close(torch.autograd.grad((plain * c).sum(), given), torch.autograd.grad((fused * c).sum(), given))


def test_every_layer_depends_on_its_own_direction_and_the_stack_on_all():
    stack, x = OscillatingAttention(8, 2, num_layers=4), torch.randn(1, 6, 8)
    masks = [direction_mask(6, d) for d in stack.directions]
    for n in range(4):
        assert torch.equal(dependencies(lambda t, n=n: stack.layer(t, n), x), masks[n])
    assert dependencies(stack, x).all()
    assert torch.equal(reach(masks), dependencies(stack, x))


def test_one_layer_that_looks_ahead_makes_all_later_states_look_ahead():
    x = torch.randn(1, 6, 8)
    only_back = OscillatingAttention(8, 2, num_layers=3, pattern_cycle=("forward",))
    one_ahead = OscillatingAttention(8, 2, num_layers=3, pattern_cycle=("backward", "forward", "forward"))
    assert not dependencies(only_back, x).triu(1).any()
    assert dependencies(one_ahead, x)[0, 5]


def test_the_cycle_repeats():
    stack = OscillatingAttention(8, 2)
    assert stack.directions == DIRECTIONS * 4  # twelve layers
    assert OscillatingAttention(8, 2, num_layers=1).directions == ("both",)


def test_masks_leave_no_row_blind_and_see_by_distance_alone():
    for direction in DIRECTIONS:
        mask = direction_mask(7, direction)
        assert mask.diagonal().all()
        assert torch.equal(mask[2:, 2:], mask[:-2, :-2])
        assert torch.equal(mask[:5, :5], direction_mask(5, direction))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"pattern_cycle": ()}, "must list"),
        ({"pattern_cycle": "both"}, "must list"),
        ({"pattern_cycle": ("up",)}, "must be one of"),
        ({"num_layers": 0}, "num_layers"),
    ],
)
def test_what_makes_no_sense_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        OscillatingAttention(8, 2, **kwargs)
    for form in (directed_attention, directed_attention_fused):
        with pytest.raises(ValueError, match="must be one of"):
            form(*torch.zeros(3, 1, 1, 2, 2), direction="up")
        with pytest.raises(ValueError, match="looks at itself"):
            form(*torch.zeros(2, 1, 1, 3, 2), torch.zeros(1, 2, 3, 2), direction="both")
