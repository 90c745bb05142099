"""What only hierarchical softmax must hold."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from nnvocab.activation.hierarchical_softmax import (
    balanced_tree,
    hierarchical_log_softmax,
    hierarchical_softmax,
    hierarchical_softmax_fused,
    read_tree,
)

TREE = ((0, 3), (1, (2, 4, 5)))  # edges, depth first: 0 left, 1 2 its leaves, 3 right, 4 leaf 1, 5 inner, 6 7 8


@pytest.mark.oracle("hierarchical-softmax", by="brute force")
@pytest.mark.parametrize("form", [hierarchical_softmax, hierarchical_softmax_fused])
def test_a_leaf_is_the_product_of_the_turns_written_out(form, scores):
    x = scores(9)
    e = x.exp()
    left, right = e[0] / (e[0] + e[3]), e[3] / (e[0] + e[3])
    inner = e[5] / (e[4] + e[5])
    last = e[6] + e[7] + e[8]
    expected = [
        left * e[1] / (e[1] + e[2]),
        right * e[4] / (e[4] + e[5]),
        right * inner * e[6] / last,
        left * e[2] / (e[1] + e[2]),
        right * inner * e[7] / last,
        right * inner * e[8] / last,
    ]
    assert_close(form(x, TREE), torch.stack(expected))


@pytest.mark.parametrize("tree", [TREE, balanced_tree(7), balanced_tree(9, 3), (0, 1, 2)])
def test_both_forms_agree_and_sum_to_one(agree, scores, tree):
    edges = sum(map(len, read_tree(tree)[0]))
    agree(hierarchical_softmax, hierarchical_softmax_fused, scores(2, edges), tree=tree)
    agree(hierarchical_softmax, hierarchical_softmax_fused, scores(edges, 3), tree=tree, dim=0)
    assert_close(hierarchical_softmax(scores(2, edges), tree).sum(-1), torch.ones(2).double())


def test_the_jacobian_is_the_sum_of_the_turns_along_the_path(scores):
    x, (siblings, paths) = scores(9), read_tree(TREE)
    p, e = hierarchical_softmax(x, TREE), x.exp()
    expected = torch.zeros(6, 9, dtype=torch.float64)
    for c, path in enumerate(paths):
        for edges in siblings:
            taken = set(path) & set(edges)
            for edge in edges if taken else ():
                expected[c, edge] = p[c] * (float(edge in taken) - e[edge] / e[list(edges)].sum())
    jacobian = torch.autograd.functional.jacobian(lambda v: hierarchical_softmax_fused(v, TREE), x)
    assert_close(jacobian, expected)


def test_a_flat_tree_is_the_softmax(scores):
    x = scores(2, 5)
    assert_close(hierarchical_softmax(x, tuple(range(5))), x.softmax(-1))


def test_the_logarithm_is_finite_on_a_long_way():
    tree = 0
    for leaf in range(1, 400):
        tree = (tree, leaf)
    logs = hierarchical_log_softmax(torch.zeros(798), tree)
    assert logs.isfinite().all()
    assert_close(logs[0], -399 * torch.tensor(2.0).log(), rtol=1e-4, atol=0)


def test_a_balanced_tree_has_short_paths():
    assert max(len(path) for path in read_tree(balanced_tree(1000))[1]) == 10
    assert balanced_tree(4, 4) == (0, 1, 2, 3)
    assert balanced_tree(2) == (0, 1)
    with pytest.raises(ValueError, match="at least 2"):
        balanced_tree(1)


@pytest.mark.parametrize(
    ("tree", "message"),
    [((0, (1, 1)), "two leaves"), ((0, 2), "each once"), ((0, ()), "without children"), (((0, 1), 2), "4 edges")],
)
def test_a_tree_that_does_not_fit_is_refused(tree, message):
    for form in (hierarchical_softmax, hierarchical_softmax_fused):
        with pytest.raises(ValueError, match=message):
            form(torch.zeros(5), tree)


@pytest.mark.parametrize("tree", [[[0, 1], 2], ([0, 1], 2), ("cat", 0)])
def test_a_tree_that_is_not_written_in_tuples_of_numbers_is_refused(tree):
    for call in (read_tree, lambda t: hierarchical_softmax(torch.zeros(4), t)):
        with pytest.raises(TypeError, match="nested tuples of class numbers"):
            call(tree)


def test_a_balanced_tree_is_as_short_as_can_be_and_its_nodes_as_wide_as_asked():
    siblings, paths = read_tree(balanced_tree(10, 3))
    assert sorted(map(len, siblings)) == [2, 3, 3, 3, 3]
    assert {len(path) for path in paths} == {2, 3}
    with pytest.raises(ValueError, match="at least 2"):
        balanced_tree(4, 1)


def test_the_fast_form_stays_on_the_device_of_its_scores():
    with FakeTensorMode(allow_non_fake_inputs=False):
        y = hierarchical_softmax_fused(torch.empty(2, 9, device="cuda"), TREE)
    assert (y.device.type, tuple(y.shape)) == ("cuda", (2, 6))
    assert_close(hierarchical_softmax_fused(torch.zeros(9), TREE).sum(), torch.tensor(1.0))  # no fake table is kept
