"""Queries, keys and values: one query followed through attention."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from nnvocab.attention.projections import read_with_query


@pytest.mark.oracle("queries-keys-and-values", by="peer: torch.nn.functional.scaled_dot_product_attention")
def test_the_mixture_is_one_row_of_attention():
    q, k, v = torch.randn(2, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 3)
    scores, weights, mixture = read_with_query(q, k, v)
    assert_close(mixture, F.scaled_dot_product_attention(q[:, None], k, v)[:, 0])
    assert_close(scores[1, 2], q[1] @ k[1, 2] / 2)
    assert_close(weights, scores.softmax(-1))


def test_a_constant_added_to_all_scores_changes_nothing():
    q, k, v = torch.randn(4), torch.randn(5, 4), torch.randn(5, 3)
    shift = k + 3.0 * q / q.norm() ** 2  # every key moved alike along the query
    assert_close(read_with_query(q, k, v)[1], read_with_query(q, shift, v)[1])


def test_the_mixture_stays_between_the_values():
    _, _, mixture = read_with_query(torch.randn(4), torch.randn(5, 4), torch.arange(5.0)[:, None])
    assert 0 <= mixture.item() <= 4


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4,), (4,), (4,)), "axes"),
        (((4,), (5, 3), (5, 2)), "width"),
        (((4,), (5, 4), (6, 2)), "5 keys and 6 values"),
        (((4,), (0, 4), (0, 2)), "0 keys"),
        (((2, 4), (3, 5, 4), (3, 5, 2)), "must be the same"),
    ],
)
def test_what_does_not_fit_is_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        read_with_query(*(torch.zeros(s) for s in shapes))
