"""Hypergraph message passing: nodes speak in sets of any size, not only in pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nnvocab.convolution._shared import per_axis
from nnvocab.vocabulary import Example, entry

AGGREGATES = ("max", "mean", "sum", "attention")


class Hyperedges(NamedTuple):
    """Memberships: node ``nodes[m]`` belongs to hyperedge ``edges[m]``, of which there are ``num_edges``."""

    nodes: Tensor
    edges: Tensor
    num_edges: int


def hyperedges(
    members: Sequence[Sequence[int]] | Tensor | Hyperedges, num_nodes: int, device: torch.device | None = None
) -> Hyperedges:
    """Bring a list of hyperedges, or an incidence matrix (N, E), dense or sparse, into one form.

    Raises:
        ValueError: if a member is no node, stands twice in one hyperedge, or the matrix has another number of rows or
            entries that are not 0 and 1.

    >>> hyperedges([[0, 1, 2], [2, 3]], num_nodes=4).edges
    tensor([0, 0, 0, 1, 1])
    """
    if isinstance(members, Hyperedges):
        return members
    if isinstance(members, Tensor):
        if members.dim() != 2 or members.shape[0] != num_nodes:
            raise ValueError(
                f"the incidence matrix has shape {tuple(members.shape)}, but ({num_nodes}, E) is needed: a row a node"
            )
        members = members.coalesce() if members.is_sparse else members
        entries = members.values() if members.is_sparse else members
        if not ((entries == 1) | (entries == 0)).all():
            raise ValueError("the incidence matrix has entries that are not 0 or 1: a node is a member, or it is not")
        found = members.indices()[:, entries != 0] if members.is_sparse else members.nonzero().T
        return Hyperedges(found[0].to(device), found[1].to(device), members.shape[1])
    members = [edge.tolist() if hasattr(edge, "tolist") else edge for edge in members]
    for number, edge in enumerate(members):
        if not isinstance(edge, Sequence):
            raise ValueError(
                f"hyperedge {number} is {edge!r}, but must be a list of nodes: [[0, 1, 2]] is one hyperedge"
            )
        wrong = [n for n in edge if not (isinstance(n, int) and 0 <= n < num_nodes)]
        if wrong or len(set(edge)) != len(edge):
            what = f"holds {wrong[0]!r}, which is no node" if wrong else "holds a node twice"
            raise ValueError(f"hyperedge {number} is {list(edge)!r} and {what}: members are 0 to {num_nodes - 1}, once")
    nodes = [n for edge in members for n in edge]
    edges = [e for e, edge in enumerate(members) for _ in edge]
    as_tensor = {"dtype": torch.long, "device": device}
    return Hyperedges(torch.tensor(nodes, **as_tensor), torch.tensor(edges, **as_tensor), len(members))


def line_hyperedges(size: Sequence[int], device: torch.device | None = None) -> Hyperedges:
    """A hyperedge for every line of a grid along every axis: a position of a d-axis grid belongs to d of them.

    Raises:
        ValueError: if there is no axis, or one without positions.

    >>> line_hyperedges((2, 3)).num_edges  # 3 columns and 2 rows
    5
    """
    if not size or min(size) < 1:
        raise ValueError(f"size is {tuple(size)}, but a grid needs at least one axis, each with at least one position")
    grid = torch.arange(math.prod(size), device=device).view(*size)
    nodes, edges, before = [], [], 0
    for axis, n in enumerate(size):
        lines = grid.movedim(axis, -1).reshape(-1, n)  # (lines along this axis, members)
        number = torch.arange(before, before + len(lines), device=device)
        nodes.append(lines.flatten())
        edges.append(number.unsqueeze(1).expand_as(lines).flatten())
        before += len(lines)
    return Hyperedges(torch.cat(nodes), torch.cat(edges), before)


def hypergraph_pool(x: Tensor, graph: Hyperedges, *, aggregate: str = "mean", scores: Tensor | None = None) -> Tensor:
    r"""Pool the members of each hyperedge, as the equation is written on the incidence matrix.

    .. math::
        z_h = \sum_{i} H_{ih} x_i, \qquad z_h = \frac{\sum_i H_{ih} x_i}{\sum_i H_{ih}}, \qquad
        z_h = \max_{i:\, H_{ih} = 1} x_i, \qquad
        z_h = \frac{\sum_i H_{ih}\, e^{a_i} x_i}{\sum_i H_{ih}\, e^{a_i}}

    for sum, mean, max and attention with scores :math:`a`. A hyperedge without members gives 0.

    Shapes:
        x: (B, N, C); scores: (B, N, heads), heads dividing C. Returns (B, E, C).

    Raises:
        ValueError: if aggregate is unknown, or x or, with attention, scores do not fit.
    """
    _check_pool(x, aggregate, scores)
    H = x.new_zeros(x.shape[1], graph.num_edges).index_put((graph.nodes, graph.edges), x.new_ones(()))  # (N, E)
    size = H.sum(0).clamp(min=1).unsqueeze(1)  # (E, 1)
    if aggregate == "sum":
        return H.T @ x
    if aggregate == "mean":
        return H.T @ x / size
    if aggregate == "max":
        every = x.unsqueeze(2).masked_fill(H.unsqueeze(2) == 0, float("-inf")).amax(1)  # (B, N, 1, C) -> (B, E, C)
        return every.masked_fill(H.sum(0).unsqueeze(1) == 0, 0)
    weights = scores.unsqueeze(2).masked_fill(H.unsqueeze(2) == 0, float("-inf")).softmax(1)  # (B, N, E, heads)
    weights = weights.masked_fill(H.unsqueeze(2) == 0, 0)  # an empty hyperedge: 0 instead of 0 / 0
    heads = x.unflatten(2, (scores.shape[2], -1))  # (B, N, heads, C / heads)
    return torch.einsum("bneh,bnhc->behc", weights, heads).flatten(2)


def hypergraph_pool_sparse(
    x: Tensor, graph: Hyperedges, *, aggregate: str = "mean", scores: Tensor | None = None
) -> Tensor:
    """The same function by one pass over the memberships: the incidence matrix is never made."""
    _check_pool(x, aggregate, scores)
    nodes, edges, E = graph
    members = x.index_select(1, nodes)  # (B, M, C)
    empty = x.new_zeros(x.shape[0], E, x.shape[2])
    if aggregate == "max":
        index = edges.view(1, -1, 1).expand_as(members)
        return empty.scatter_reduce(1, index, members, "amax", include_self=False)
    if aggregate == "attention":
        scored = scores.index_select(1, nodes)  # (B, M, heads)
        index = edges.view(1, -1, 1).expand_as(scored)
        top = scored.new_zeros(scored.shape[0], E, scored.shape[2])
        top = top.scatter_reduce(1, index, scored.detach(), "amax", include_self=False)
        powers = (scored - top.index_select(1, edges)).exp()
        total = torch.zeros_like(top).index_add(1, edges, powers)
        weights = powers / total.index_select(1, edges)  # (B, M, heads)
        members = (members.unflatten(2, (weights.shape[2], -1)) * weights.unsqueeze(-1)).flatten(2)
    pooled = empty.index_add(1, edges, members)
    if aggregate == "mean":
        size = x.new_zeros(E).index_add(0, edges, x.new_ones(len(edges)))
        pooled = pooled / size.clamp(min=1).unsqueeze(1)
    return pooled


def _check_pool(x: Tensor, aggregate: str, scores: Tensor | None) -> None:
    if aggregate not in AGGREGATES:
        raise ValueError(f"aggregate is {aggregate!r}, but must be one of {AGGREGATES}")
    if x.dim() != 3:
        raise ValueError(f"x has shape {tuple(x.shape)}, but 3 axes are needed: batch, nodes, channels")
    fits = scores is not None and scores.dim() == 3 and scores.shape[:2] == x.shape[:2] and scores.shape[2] > 0
    if aggregate == "attention" and not (fits and x.shape[2] % scores.shape[2] == 0):
        shape = None if scores is None else tuple(scores.shape)
        raise ValueError(
            f"scores have shape {shape}, but attention needs ({x.shape[0]}, {x.shape[1]}, heads), where heads divides "
            f"the {x.shape[2]} channels"
        )


def hypergraph_spread(messages: Tensor, graph: Hyperedges, num_nodes: int) -> Tensor:
    """Bring the messages (B, E, C) of all hyperedges to their members and add them up there: (B, N, C)."""
    carried = messages.index_select(1, graph.edges)  # (B, M, C)
    return messages.new_zeros(messages.shape[0], num_nodes, messages.shape[2]).index_add(1, graph.nodes, carried)


@entry(
    name="Hypergraph message passing",
    page="four_dimensions",
    aliases=("hypergraph tips", "hyperedge set aggregation", "higher-order connections"),
    ids=("hypergraph_tips",),
    paper="feng2019hypergraph",
    peer="torch_geometric.nn.HypergraphConv",
    example=lambda: Example(
        HypergraphMessagePassing(4, aggregate="attention", num_heads=2), (torch.randn(2, 4, 4), [[0, 1, 2], [2, 3]])
    ),
    related=("Dendritic hypergraph 4D convolution",),
)
class HypergraphMessagePassing(nn.Module):
    r"""Layer in which every hyperedge pools its members, transforms what it finds, and tells all of them.

    .. math::
        m_h = \psi\Big(\operatorname{pool}_{i \in h} f(x_i)\Big), \qquad y_i = x_i + \alpha \sum_{h \ni i} m_h

    Args:
        channels: features C of a node.
        aggregate: ``"max"``, ``"mean"``, ``"sum"``, or ``"attention"``, a mean whose weights are a softmax of learned
            scores over the members.
        num_heads: with attention, groups of features that have scores of their own; it must divide C.
        alpha: the strength α of messages at the start; it is learned.

    Shapes:
        x: (B, N, C); hyperedges: a list of lists of nodes, an incidence matrix (N, E), or ``Hyperedges``, shared
        by the batch. Returns (B, N, C).

    Notice:
        The order of members plays no part. The work grows with the memberships, not with the square of the nodes.
        :math:`f` is linear, and :math:`\psi` a linear layer with a ReLU.

    Raises:
        ValueError: if aggregate is unknown, num_heads does not divide C, or a member is no node.

    Source: Feng et al. 2019, section 3 (mean pooling, with degrees as weights); sets as in Zaheer et al. 2017.

    >>> HypergraphMessagePassing(8)(torch.zeros(1, 4, 8), [[0, 1, 2], [2, 3]]).shape
    torch.Size([1, 4, 8])
    """

    def __init__(self, channels: int, *, aggregate: str = "mean", num_heads: int = 1, alpha: float = 0.1) -> None:
        super().__init__()
        if aggregate not in AGGREGATES:
            raise ValueError(f"aggregate is {aggregate!r}, but must be one of {AGGREGATES}")
        per_axis(channels, 1, "channels")
        per_axis(num_heads, 1, "num_heads")
        if channels % num_heads:
            raise ValueError(f"channels {channels} is not a multiple of num_heads {num_heads}: heads share them evenly")
        self.channels, self.aggregate = channels, aggregate
        self.f = nn.Linear(channels, channels)
        self.psi = nn.Sequential(nn.Linear(channels, channels), nn.ReLU())
        self.score = nn.Linear(channels, num_heads, bias=False) if aggregate == "attention" else None
        self.alpha = nn.Parameter(torch.tensor(float(alpha)))

    def forward(self, x: Tensor, members: Sequence[Sequence[int]] | Tensor | Hyperedges) -> Tensor:
        if x.dim() != 3 or x.shape[2] != self.channels:
            raise ValueError(f"x has shape {tuple(x.shape)}, but (B, N, {self.channels}) is needed")
        graph = hyperedges(members, x.shape[1], x.device)
        scores = None if self.score is None else self.score(x)  # (B, N, heads)
        pooled = hypergraph_pool_sparse(self.f(x), graph, aggregate=self.aggregate, scores=scores)  # (B, E, C)
        return x + self.alpha * hypergraph_spread(self.psi(pooled), graph, x.shape[1])
