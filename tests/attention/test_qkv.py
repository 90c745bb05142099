"""The projections that the layers over long sequences share."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.attention.qkv import HeadProjections, check_at_least, check_one_sequence, check_token, lines


def test_each_head_gets_its_share_of_the_width():
    heads, x = HeadProjections(6, 2), torch.randn(2, 4, 6)
    q, k, v = heads(x)
    whole = heads.qkv(x)
    for n, t in enumerate((q, k, v)):
        for h in range(2):
            assert_close(t[:, h], whole[..., 6 * n + 3 * h : 6 * n + 3 * h + 3])
    assert_close(heads.back(v), heads.out(whole[..., 12:]))


def test_sizes_below_the_least_are_refused():
    check_at_least(1, a=1, b=2)
    with pytest.raises(ValueError, match="b is 0, but must be at least 1"):
        check_at_least(1, a=1, b=0)


def test_lines_compare_every_query_with_every_key():
    i, j = lines(3)
    assert (i - j).tolist() == [[0, -1, -2], [1, 0, -1], [2, 1, 0]]


def test_the_wrong_width_is_refused():
    with pytest.raises(ValueError, match="width 5"):
        HeadProjections(6, 2)(torch.zeros(1, 2, 5))


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 5, 4), (2, 5, 4), (2, 5, 4)),
        ((1, 2, 5, 4), (1, 2, 6, 4), (1, 2, 6, 4)),
        ((1, 2, 5, 4), (1, 1, 5, 4), (1, 1, 5, 4)),
        ((2, 2, 5, 4), (1, 2, 5, 4), (1, 2, 5, 4)),
    ],
)
def test_heads_that_are_not_those_of_one_sequence_are_refused(shapes):
    with pytest.raises(ValueError, match="looks at itself"):
        check_one_sequence(*(torch.zeros(s) for s in shapes))
    check_one_sequence(torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 3))


@pytest.mark.parametrize("shape", [(2, 1, 4), (4,), (2, 5)])
def test_what_is_not_one_token_a_sequence_is_refused(shape):
    with pytest.raises(ValueError, match="one token of each sequence"):
        check_token(torch.zeros(shape), 4)
    check_token(torch.zeros(2, 4), 4)
