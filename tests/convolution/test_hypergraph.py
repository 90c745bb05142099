"""What only hypergraph message passing must hold; the contract tests run on every entry beside these."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from nnvocab.convolution.hypergraph import (
    AGGREGATES,
    Hyperedges,
    HypergraphMessagePassing,
    hyperedges,
    hypergraph_pool,
    hypergraph_pool_sparse,
    hypergraph_spread,
    line_hyperedges,
)

EDGES = [[0, 2, 3], [3, 1], [4], [0, 1, 2, 3, 4]]
BOTH = pytest.mark.parametrize("function", [hypergraph_pool, hypergraph_pool_sparse])


def new(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.oracle("hypergraph-message-passing", by="brute force")
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_every_hyperedge_pools_its_members_and_tells_all_of_them(aggregate):
    layer = HypergraphMessagePassing(6, aggregate=aggregate, num_heads=2, alpha=0.5).double()
    x = new(2, 5, 6).detach()
    expected = x.clone()
    for b in range(2):
        for members in EDGES:
            sent = torch.stack([layer.f(x[b, i]) for i in members])
            if aggregate == "attention":
                powers = torch.stack([layer.score(x[b, i]) for i in members]).exp()  # (members, heads)
                weights = (powers / powers.sum(0)).repeat_interleave(3, dim=1)
                pooled = (weights * sent).sum(0)
            else:
                pooled = {"max": sent.amax(0), "mean": sent.mean(0), "sum": sent.sum(0)}[aggregate]
            for i in members:
                expected[b, i] = expected[b, i] + 0.5 * layer.psi(pooled)
    assert_close(layer(x, EDGES), expected)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_sparse_pooling_agrees_on_the_value_and_on_every_gradient(aggregate):
    x, scores, graph = new(2, 5, 6), new(2, 5, 3), hyperedges([*EDGES, []], 5)
    used = [x, scores] if aggregate == "attention" else [x]
    results = []
    for function in (hypergraph_pool, hypergraph_pool_sparse):
        y = function(x, graph, aggregate=aggregate, scores=scores)
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        results.append((y, torch.autograd.grad((y * weights).sum(), used)))
    assert results[0][0].shape == (2, 5, 6)
    assert results[0][0][:, 4].abs().max() == 0  # the empty hyperedge
    assert_close(results[0], results[1])


def test_mean_pooling_and_mean_updates_are_the_published_convolution():
    peer = pytest.importorskip("torch_geometric.nn", reason="PyG holds the published form")
    graph = hyperedges(EDGES, 5)
    x = new(1, 5, 4).detach()
    theirs = peer.HypergraphConv(4, 4, bias=False).double()
    theirs.lin.weight.data = torch.eye(4, dtype=torch.float64)
    pooled = hypergraph_pool_sparse(x, graph, aggregate="mean")
    degree = torch.tensor([sum(i in edge for edge in EDGES) for i in range(5)], dtype=torch.float64)
    ours = hypergraph_spread(pooled, graph, 5) / degree.view(1, 5, 1)
    assert_close(ours[0], theirs(x[0], torch.stack([graph.nodes, graph.edges])))


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_the_order_of_members_and_of_nodes_plays_no_part(aggregate):
    layer = HypergraphMessagePassing(4, aggregate=aggregate).double()
    x = new(1, 5, 4).detach()
    y = layer(x, EDGES)
    assert_close(layer(x, [edge[::-1] for edge in EDGES[::-1]]), y)
    order = [3, 0, 4, 2, 1]
    renamed = [[order.index(i) for i in edge] for edge in EDGES]
    assert_close(layer(x[:, order], renamed), y[:, order])


def test_lists_and_incidence_matrices_say_the_same():
    incidence = torch.zeros(5, 4)
    for h, edge in enumerate(EDGES):
        incidence[edge, h] = 1
    layer, x = HypergraphMessagePassing(4), torch.randn(1, 5, 4)
    expected = layer(x, EDGES)
    for form in (incidence, incidence.bool(), incidence.to_sparse(), hyperedges(EDGES, 5)):
        assert_close(layer(x, form), expected)


def test_a_node_in_no_hyperedge_stays_as_it_is():
    x, layer = torch.randn(1, 4, 4), HypergraphMessagePassing(4)
    assert_close(layer(x, [[0, 1, 2]])[:, 3], x[:, 3])
    assert layer.alpha.item() == pytest.approx(0.1)


def test_a_triple_is_more_than_its_three_pairs():
    """The largest of three differs from what three pairs can tell each node by their sums of maxima."""
    x = torch.tensor([[[1.0], [2.0], [3.0]]])
    triple, pairs = hyperedges([[0, 1, 2]], 3), hyperedges([[0, 1], [1, 2], [0, 2]], 3)
    heard = [
        hypergraph_spread(hypergraph_pool(x, graph, aggregate="max"), graph, 3).flatten().tolist()
        for graph in (triple, pairs)
    ]
    assert heard == [[3.0, 3.0, 3.0], [5.0, 5.0, 6.0]]


def test_lines_of_a_grid_hold_each_position_once_an_axis():
    graph = line_hyperedges((2, 3, 4))
    assert graph.num_edges == 3 * 4 + 2 * 4 + 2 * 3
    assert torch.bincount(graph.nodes).tolist() == [3] * 24
    assert sorted(set(torch.bincount(graph.edges).tolist())) == [2, 3, 4]
    grid = torch.arange(24).view(2, 3, 4)
    lines = {tuple(graph.nodes[graph.edges == h].tolist()) for h in range(graph.num_edges)}
    assert tuple(grid[1, :, 2].tolist()) in lines and tuple(grid[0, 1].tolist()) in lines


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_prepared_hyperedges_run_on_any_device(aggregate):
    layer = HypergraphMessagePassing(4, aggregate=aggregate)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=False):
        state = {n: torch.empty(p.shape, device="cuda") for n, p in layer.named_parameters()}
        graph = Hyperedges(*torch.empty(2, 7, dtype=torch.long, device="cuda").unbind(), 3)
        y = torch.func.functional_call(layer, state, (torch.empty(2, 5, 4, device="cuda"), graph))
    assert y.device.type == "cuda"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((4,), {"aggregate": "median"}, "aggregate is 'median'"),
        ((6,), {"num_heads": 4}, "not a multiple of num_heads 4"),
        ((6,), {"num_heads": 0}, "num_heads is 0"),
        ((0,), {}, "channels is 0"),
    ],
)
def test_arguments_that_make_no_layer_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        HypergraphMessagePassing(*arguments, **options)


@pytest.mark.parametrize(
    ("shape", "members", "message"),
    [
        ((1, 4, 4), [[0, 4]], "holds 4, which is no node"),
        ((1, 4, 4), [[0, 1], [2, 2]], "hyperedge 1 .* holds a node twice"),
        ((1, 4, 4), [[0, -1]], "holds -1, which is no node"),
        ((1, 4, 4), [[0, 1.5]], "holds 1.5, which is no node"),
        ((1, 4, 4), [0, 1, 2], r"hyperedge 0 is 0, but must be a list of nodes"),
        ((1, 4, 4), torch.ones(3, 2), r"\(4, E\) is needed"),
        ((1, 4, 4), torch.full((4, 2), 0.5), "not 0 or 1"),
        ((1, 4, 4), torch.full((4, 2), float("nan")), "not 0 or 1"),
        ((1, 4, 4), torch.full((4, 2), 2.0).to_sparse(), "not 0 or 1"),
        ((4, 4), [[0, 1]], r"\(B, N, 4\) is needed"),
        ((1, 4, 5), [[0, 1]], r"\(B, N, 4\) is needed"),
    ],
)
def test_what_does_not_fit_is_refused(shape, members, message):
    with pytest.raises(ValueError, match=message):
        HypergraphMessagePassing(4)(torch.zeros(shape), members)


def test_a_zero_that_a_sparse_matrix_stores_is_no_membership():
    stored = torch.sparse_coo_tensor([[0, 1, 2], [0, 0, 0]], [1.0, 0.0, 1.0], (3, 1), check_invariants=True)
    assert hyperedges(stored, 3).nodes.tolist() == [0, 2]


def test_members_may_come_as_arrays():
    graph = hyperedges([torch.tensor([0, 2]), np.array([1, 2]), range(2)], 3)
    assert (graph.nodes.tolist(), graph.edges.tolist()) == ([0, 2, 1, 2, 0, 1], [0, 0, 1, 1, 2, 2])


@BOTH
@pytest.mark.parametrize(
    ("shape", "aggregate", "scores", "message"),
    [
        ((1, 3, 4), "median", None, "aggregate is 'median'"),
        ((3, 4), "mean", None, "3 axes are needed"),
        ((1, 3, 4), "attention", None, "scores have shape None"),
        ((1, 3, 4), "attention", (1, 3, 3), "heads divides"),
        ((1, 3, 4), "attention", (1, 2, 2), r"attention needs \(1, 3, heads\)"),
    ],
)
def test_what_cannot_be_pooled_is_refused_by_both_forms(function, shape, aggregate, scores, message):
    with pytest.raises(ValueError, match=message):
        function(
            torch.zeros(shape),
            hyperedges([[0, 1]], 3),
            aggregate=aggregate,
            scores=None if scores is None else torch.zeros(scores),
        )


@pytest.mark.parametrize("size", [(), (2, 0)])
def test_a_grid_without_positions_is_refused(size):
    with pytest.raises(ValueError, match="at least one position"):
        line_hyperedges(size)


def test_large_scores_do_not_overflow():
    x, graph = torch.tensor([[[1.0], [3.0]]]), hyperedges([[0, 1]], 2)
    y = hypergraph_pool_sparse(x, graph, aggregate="attention", scores=torch.full((1, 2, 1), 1e4))
    assert_close(y, torch.tensor([[[2.0]]]))
