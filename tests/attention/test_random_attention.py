"""BigBird's attention: window, global positions and lots, on tokens and on blocks."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import (
    BigBirdAttention,
    bigbird_attention,
    bigbird_attention_blocked,
    bigbird_layout,
    dependencies,
    layers_to_reach_all,
    layout_mask,
    peak_bytes,
)

FORMS = (bigbird_attention, bigbird_attention_blocked)


def heads(T, B=2, H=2, D=4):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(B, H, T, D, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(3)]


@pytest.mark.oracle("random-attention-bigbird", by="brute force")
@pytest.mark.parametrize("form", FORMS)
def test_is_the_mean_over_the_listed_blocks_written_out(form):
    q, k, v = heads(22)
    layout = bigbird_layout(8, num_random=1, num_global=1)
    y = form(q, k, v, layout, block_size=3)
    for i in range(22):
        seen = [j for j in range(22) if j // 3 in layout[i // 3]]
        weights = torch.exp(torch.einsum("bhd,bhsd->bhs", q[:, :, i], k[:, :, seen]) / 2)
        expected = torch.einsum("bhs,bhsd->bhd", weights / weights.sum(-1, keepdim=True), v[:, :, seen])
        assert_close(y[:, :, i], expected)


@pytest.mark.parametrize(("T", "block_size"), [(40, 1), (40, 4), (37, 4), (3, 4)])
def test_blocks_agree_with_the_mask_on_the_value_and_on_every_gradient(T, block_size):
    given = heads(T)
    layout = bigbird_layout(-(-T // block_size), num_random=2, num_global=1, seed=4)
    plain, fast = (f(*given, layout, block_size=block_size) for f in FORMS)
    c = torch.randn_like(plain)
    assert_close(plain, fast)
    assert_close(torch.autograd.grad((plain * c).sum(), given), torch.autograd.grad((fast * c).sum(), given))


def test_every_row_in_the_middle_sees_equally_many_distinct_keys():
    layout = bigbird_layout(60, window_size=2, num_random=3, num_global=2)
    for i in range(10, 55):
        assert len(layout[i]) == len(set(layout[i])) == 5 + 3 + 2
        assert {0, 1, *range(i - 2, i + 3)} <= set(layout[i])


def test_global_units_see_all_and_are_seen_by_all():
    layout = bigbird_layout(20, num_global=2)
    assert layout[0] == layout[1] == list(range(20))
    assert all({0, 1} <= set(row) for row in layout)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_short_texts_see_everything_that_there_is(n):
    assert bigbird_layout(n, window_size=1, num_random=5, num_global=2) == [list(range(n))] * n


def test_the_same_seed_draws_the_same_lots():
    assert bigbird_layout(50, seed=3) == bigbird_layout(50, seed=3)
    assert bigbird_layout(50, seed=3) != bigbird_layout(50, seed=4)


def test_lots_bring_everything_near_even_without_global_units():
    window = layout_mask(bigbird_layout(200, num_random=0, num_global=0))
    with_lots = layout_mask(bigbird_layout(200, num_random=3, num_global=0))
    with_global = layout_mask(bigbird_layout(200, num_random=0, num_global=1))
    assert layers_to_reach_all(window) == 199
    assert layers_to_reach_all(with_lots) <= 7
    assert layers_to_reach_all(with_global) == 2


def test_a_layer_depends_on_the_blocks_that_it_lists():
    layer = BigBirdAttention(8, 2, block_size=2, num_random=1, num_global=1)
    expected = layout_mask(layer.layout(20), block_size=2)
    assert torch.equal(dependencies(layer, torch.randn(1, 20, 8)), expected)


def test_a_layer_draws_what_the_paper_draws_unless_told_otherwise():
    expected = bigbird_layout(40, window_size=1, num_random=3, num_global=2, seed=0)
    assert BigBirdAttention(8, 2, block_size=2).layout(80) == expected


def test_memory_grows_with_the_length_and_not_with_its_square():
    def peak(T):
        q, k, v = (torch.randn(1, 1, T, 8) for _ in range(3))
        layout = bigbird_layout(T // 16, num_global=1)
        return peak_bytes(lambda: bigbird_attention_blocked(q, k, v, layout, block_size=16))

    assert peak(4096) < 2.4 * peak(2048)


@pytest.mark.parametrize(("kwargs", "message"), [({"block_size": 0}, "block_size"), ({"num_random": -1}, "num_random")])
def test_what_makes_no_sense_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        BigBirdAttention(8, 2, **{"block_size": 2, **kwargs})
