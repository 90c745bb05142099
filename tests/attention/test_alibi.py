"""ALiBi: distance times slope."""

import math

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention import CausalAttention
from nnvocab.attention.alibi import ALiBi, alibi_bias, alibi_bias_fused, alibi_slopes


def recursive_slopes(n):
    """The recipe of the paper's footnote, written another way: a power of two, or the nearest below and its double."""
    if math.log2(n).is_integer():
        ratio = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [ratio ** (i + 1) for i in range(n)]
    below = 2 ** math.floor(math.log2(n))
    return recursive_slopes(below) + recursive_slopes(2 * below)[0::2][: n - below]


@pytest.mark.parametrize("num_heads", [1, 2, 3, 4, 6, 8, 12, 16, 20, 112])
def test_slopes_are_geometric_and_filled_up_for_other_numbers(num_heads):
    assert_close(alibi_slopes(num_heads), torch.tensor(recursive_slopes(num_heads)))
    assert len(set(alibi_slopes(num_heads).tolist())) == num_heads


@pytest.mark.oracle("attention-with-linear-biases", by="brute force")
@pytest.mark.parametrize("symmetric", [False, True])
def test_each_score_loses_slope_times_distance(symmetric):
    scores = torch.randn(2, 3, 4, 6)
    y = ALiBi(3, symmetric=symmetric)(scores)
    for h, m in enumerate(alibi_slopes(3).tolist()):
        for t in range(4):
            for s in range(6):
                back = t + 2 - s  # the queries are the last 4 of 6 positions
                if back < 0 and not symmetric:
                    assert (y[:, h, t, s] == -math.inf).all()
                else:
                    assert_close(y[:, h, t, s], scores[:, h, t, s] - m * abs(back))


@pytest.mark.parametrize("symmetric", [False, True])
def test_plain_and_fused_agree(symmetric):
    queries, keys = torch.tensor([4, 5]), torch.tensor([3, 0, 5, 7])
    assert_close(*(f(3, queries, keys, symmetric=symmetric) for f in (alibi_bias, alibi_bias_fused)))


@pytest.mark.parametrize("num_heads", [4, 6])
def test_agrees_with_x_transformers(num_heads):
    peer = pytest.importorskip("x_transformers.x_transformers", reason="the optional peer is missing")
    theirs = peer.AlibiPositionalBias(num_heads, num_heads)(5, 5)
    at = torch.arange(5)
    assert_close(alibi_bias(num_heads, at, at, symmetric=True), theirs)


def test_a_bias_by_key_position_alone_gives_the_same_weights():
    """BLOOM adds slope times the key's position: a constant in each row apart, which the softmax does not see."""
    scores = torch.randn(1, 4, 6, 6)
    future = torch.ones(6, 6, dtype=torch.bool).triu(1)
    by_key = scores + alibi_slopes(4)[:, None, None] * torch.arange(6.0)
    assert_close(ALiBi(4)(scores).softmax(-1), by_key.masked_fill(future, -math.inf).softmax(-1))


def test_with_a_sliding_cache_it_sees_absolute_distances():
    layer, x = CausalAttention(16, 4, positions=ALiBi(4)), torch.randn(1, 9, 16)
    with torch.no_grad():
        cache = layer.new_cache(1, 4, sliding=True)
        steps = torch.cat([layer(x[:, t : t + 1], cache=cache) for t in range(9)], dim=1)
        back = torch.arange(9)[:, None] - torch.arange(9)
        assert_close(steps, layer(x, mask=(back >= 0) & (back < 4)))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        ALiBi(0)
    for shape in [(3, 4, 5), (2, 5, 4), (4, 4)]:
        with pytest.raises(ValueError, match="T <= S"):
            ALiBi(2)(torch.zeros(shape))
    for form in (alibi_bias, alibi_bias_fused):
        with pytest.raises(ValueError, match=r"\(T,\)"):
            form(2, torch.zeros(1, 3), torch.arange(3))
