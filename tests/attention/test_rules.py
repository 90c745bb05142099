"""Rules and masks: which pairs are open, how many, and how far layers reach."""

import numpy as np
import pytest
import torch
from torch import nn

from nnvocab.attention import (
    both,
    causal_rule,
    density,
    dependencies,
    either,
    fixed_rule,
    global_rule,
    layers_to_reach_all,
    random_rule,
    reach,
    rule_mask,
    strided_rule,
    window_rule,
)
from nnvocab.attention.block_sparse import block_layout, layout_density

T = 13
RULES = {
    "window": (window_rule(2), lambda i, j: abs(i - j) <= 2),
    "causal window": (window_rule(3, causal=True), lambda i, j: i - 2 <= j <= i),
    "dilated": (window_rule(2, dilation=3), lambda i, j: j in {i - 6, i - 3, i, i + 3, i + 6}),
    "dilated causal": (window_rule(2, dilation=3, causal=True), lambda i, j: j in {i - 3, i}),
    "global": (global_rule([0, 5]), lambda i, j: i in {0, 5} or j in {0, 5}),
    "strided": (strided_rule(4), lambda i, j: j <= i and (i - j < 4 or (i - j) % 4 == 0)),
    "fixed": (fixed_rule(4, 2), lambda i, j: j <= i and (i // 4 == j // 4 or j % 4 in {2, 3})),
    "either": (either(window_rule(1), global_rule([2])), lambda i, j: abs(i - j) <= 1 or i == 2 or j == 2),
    "both": (both(window_rule(2), causal_rule), lambda i, j: i - 2 <= j <= i),
    "nobody": (global_rule([]), lambda i, j: False),
}


@pytest.mark.parametrize("name", RULES)
def test_a_mask_is_the_rule_asked_about_every_pair(name):
    rule, says = RULES[name]
    mask = rule_mask(rule, T)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[says(i, j) for j in range(T)] for i in range(T)]
    at = np.arange(T)
    assert np.broadcast_to(rule(at[:, None], at[None]), (T, T)).tolist() == mask.tolist()  # arrays are as good


@pytest.mark.parametrize("causal", [False, True])
def test_lots_are_distinct_and_the_same_for_the_same_seed(causal):
    mask = rule_mask(random_rule(T, 4, seed=1, causal=causal), T)
    assert mask.sum(-1).tolist() == [min(4, i + 1) if causal else 4 for i in range(T)]
    assert not causal or not mask.triu(1).any()
    assert torch.equal(mask, rule_mask(random_rule(T, 4, seed=1, causal=causal), T))
    assert not torch.equal(mask, rule_mask(random_rule(T, 4, seed=2, causal=causal), T))
    at = np.arange(T)
    assert random_rule(T, 4, seed=1, causal=causal)(at[:, None], at[None]).tolist() == mask.tolist()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("block", [1, 4, 20])
def test_a_layout_lists_the_blocks_with_an_open_pair(name, block):
    rule, says = RULES[name]
    n = -(-T // block)

    def open_block(a, b):
        rows, columns = (range(block * x, min(block * x + block, T)) for x in (a, b))
        return any(says(i, j) for i in rows for j in columns)

    layout = block_layout(rule, T, block)
    assert layout == [[b for b in range(n) if open_block(a, b)] for a in range(n)]
    assert layout_density(layout) == sum(map(len, layout)) / n**2


def test_density_of_a_window_grows_linearly_and_of_the_strided_pattern_with_the_power_one_and_a_half():
    pairs = [density(rule_mask(window_rule(8), n)) * n**2 for n in (256, 1024)]
    assert 3.9 < pairs[1] / pairs[0] < 4.1
    pairs = [density(rule_mask(strided_rule(round(n**0.5)), n)) * n**2 for n in (256, 1024)]
    assert 7 < pairs[1] / pairs[0] < 8.5  # 4 ** 1.5 = 8


def test_reach_grows_by_a_window_a_layer():
    mask = rule_mask(window_rule(2), 20)
    for n in (1, 2, 3):
        assert torch.equal(reach([mask] * n), rule_mask(window_rule(2 * n), 20))
    assert layers_to_reach_all(mask) == 10  # 19 steps of 2
    assert [layers_to_reach_all(mask, most=n) for n in (9, 10)] == [None, 10]
    assert layers_to_reach_all(rule_mask(either(window_rule(2), global_rule([0])), 20)) == 2
    assert layers_to_reach_all(rule_mask(window_rule(2, dilation=2), 20)) is None
    with pytest.raises(ValueError, match="one layer"):
        reach([])
    for call in (lambda m: reach([m]), layers_to_reach_all):
        with pytest.raises(ValueError, match="one head"):
            call(torch.ones(2, 3, 3, dtype=torch.bool))


def test_reach_takes_layers_in_their_order():
    first, then = rule_mask(window_rule(1), 6), rule_mask(causal_rule, 6)
    assert reach([first, then])[2].tolist() == [True, True, True, True, False, False]
    assert reach([then, first])[2].tolist() == [True, True, True, True, False, False]
    ahead = rule_mask(lambda i, j: j == i + 1, 6)
    assert reach([ahead, then])[2].tolist() == [False, True, True, True, False, False]


def test_dependencies_are_what_gradients_say():
    conv = nn.Conv1d(2, 3, 3, padding=1)
    found = dependencies(lambda x: conv(x.mT).mT, torch.randn(2, 6, 2))
    assert torch.equal(found, rule_mask(window_rule(1), 6))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: window_rule(0), "window_size"),
        (lambda: fixed_rule(4, 5), "summary"),
        (lambda: strided_rule(0), "stride"),
        (lambda: window_rule(1, dilation=0), "dilation"),
        (lambda: random_rule(0, 1), "T is 0"),
        (lambda: random_rule(4, -1), "num_random"),
        (lambda: rule_mask(random_rule(4, 1), 5), "drawn for 4 positions"),
        (lambda: block_layout(random_rule(4, 1), 5, 2), "drawn for 4 positions"),
        (lambda: rule_mask(causal_rule, 0), "T is 0"),
    ],
)
def test_rules_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
