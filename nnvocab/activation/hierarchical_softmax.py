"""Hierarchical softmax: classes are leaves of a tree, and a class is as likely as all the turns on the way to it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from nnvocab.activation._shared import check_scores
from nnvocab.vocabulary import Example, entry

Tree = int | tuple["Tree", ...]


def balanced_tree(num_classes: int, branching: int = 2) -> Tree:
    """Build a tree of ``num_classes`` leaves in which every inner node has at most ``branching`` children.

    >>> balanced_tree(5)
    (((0, 1), 2), (3, 4))
    """
    if num_classes < 2 or branching < 2:
        raise ValueError(f"num_classes is {num_classes} and branching {branching}, but both must be at least 2")

    def build(first: int, count: int) -> Tree:
        if count == 1:
            return first
        parts = min(branching, count)
        sizes = [count // parts + (i < count % parts) for i in range(parts)]
        return tuple(build(first + sum(sizes[:i]), size) for i, size in enumerate(sizes))

    return build(0, num_classes)


def read_tree(tree: Tree) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """Number the edges of a tree, depth first, in the order in which it is written.

    Returns:
        siblings: for every inner node the edges to its children.
        paths: for every class the edges from the root to its leaf.

    Raises:
        TypeError: if the tree is not written in tuples and class numbers.
        ValueError: if an inner node has no children, or the leaves are not 0, 1, ..., C - 1, each once.

    >>> read_tree(((0, 1), 2))
    (((0, 3), (1, 2)), ((0, 1), (0, 2), (3,)))
    """
    try:
        return _read_tree(tree)
    except TypeError:  # a list cannot be looked up, and words have no order among numbers
        raise TypeError(
            "the tree is not written in nested tuples of class numbers: give ((0, 1), 2) where you have [[0, 1], 2]"
        ) from None


@lru_cache(maxsize=64)
def _read_tree(tree: Tree) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    siblings: list[tuple[int, ...]] = []
    paths: dict[int, tuple[int, ...]] = {}
    count = 0

    def walk(node: Tree, path: tuple[int, ...]) -> None:
        nonlocal count
        if not isinstance(node, tuple):
            if node in paths:
                raise ValueError(f"class {node} is two leaves of the tree: every class has one")
            paths[node] = path
            return
        if not node:
            raise ValueError("the tree has an inner node without children: write a leaf as its class number")
        place, edges = len(siblings), []
        siblings.append(())
        for child in node:
            edge, count = count, count + 1
            edges.append(edge)
            walk(child, (*path, edge))
        siblings[place] = tuple(edges)

    walk(tree, ())
    if sorted(paths) != list(range(len(paths))):
        raise ValueError(f"the leaves are {sorted(paths)}, but must be the classes 0 to {len(paths) - 1}, each once")
    return tuple(siblings), tuple(paths[c] for c in range(len(paths)))


def _check_tree(x: Tensor, tree: Tree, dim: int) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    check_scores(x, dim)
    siblings, paths = read_tree(tree)
    edges = sum(map(len, siblings))
    if x.shape[dim] != edges:
        raise ValueError(
            f"x has {x.shape[dim]} scores along axis {dim}, but the tree has {edges} edges: one score each"
        )
    return siblings, paths


@entry(
    name="Hierarchical softmax",
    aliases=("tree softmax", "SoftmaxHierarchical", "Hierarchical"),
    page="softmax_family",
    kind="function",
    paper="morin2005hierarchical",
    related=("Softmax", "Adaptive softmax", "Grid softmax"),
    example=lambda: Example(hierarchical_softmax, (torch.randn(3, 6), ((0, 1), (2, 3)))),
)
def hierarchical_softmax(x: Tensor, tree: Tree, dim: int = -1) -> Tensor:
    r"""Give every class the product of the probabilities along its path through a tree.

    .. math::
        p_c = \prod_{e \in \text{path}(c)} \frac{e^{x_e}}{\sum_{e' \in \text{siblings}(e)} e^{x_{e'}}}

    where every edge :math:`e` of the tree has a score, and siblings are the edges that leave the same node.

    Args:
        x: a score for every edge, numbered depth first in the order in which the tree is written.
        tree: nested tuples; a leaf is its class number, an inner node the tuple of its children. ``((0, 1), 2)`` first
            decides between {0, 1} and 2; ``balanced_tree`` writes one.
        dim: the axis of the scores, and of the classes in the result.

    Shapes:
        x: (..., edges). Returns (..., classes).

    Notice:
        A flat tree ``(0, 1, 2)`` is the softmax. To learn, only the edges at the nodes on the path of the right class
        need a score: in a balanced binary tree two for each of about log2 C nodes, instead of C. Which classes share a
        node matters: it is a prior.

    Raises:
        TypeError: if x is not of a floating-point type, or the tree not written in tuples.
        ValueError: if x has not one score for each edge; if the leaves are not 0 to C - 1, each once.

    Source: Morin & Bengio 2005, section 3.

    >>> hierarchical_softmax(torch.zeros(4), ((0, 1), 2))
    tensor([0.2500, 0.2500, 0.5000])
    """
    siblings, paths = _check_tree(x, tree, dim)
    scores = x.movedim(dim, -1)
    turn: dict[int, Tensor] = {}
    for edges in siblings:
        p = torch.softmax(torch.stack([scores.select(-1, edge) for edge in edges], dim=-1), dim=-1)
        turn.update(zip(edges, p.unbind(-1), strict=True))
    leaves = []
    for path in paths:
        product = torch.ones_like(scores.select(-1, 0))
        for edge in path:
            product = product * turn[edge]
        leaves.append(product)
    return torch.stack(leaves, dim=-1).movedim(-1, dim)


def hierarchical_softmax_fused(x: Tensor, tree: Tree, dim: int = -1) -> Tensor:
    """The same function without a loop over classes: logarithms of the turns, summed along the paths."""
    return hierarchical_log_softmax(x, tree, dim).exp()


def hierarchical_log_softmax(x: Tensor, tree: Tree, dim: int = -1) -> Tensor:
    """Give the logarithm of ``hierarchical_softmax``, which stays finite on long paths.

    Shapes:
        x: (..., edges). Returns (..., classes).
    """
    _check_tree(x, tree, dim)
    scores = x.movedim(dim, -1)
    owner, table, route = (torch.tensor(t, device=x.device) for t in _tables(tree))
    nothing = torch.full_like(scores.narrow(-1, 0, 1), float("-inf"))
    total = _take(torch.cat([scores, nothing], dim=-1), table).logsumexp(dim=-1)  # (..., nodes)
    turns = torch.cat([scores - total.index_select(-1, owner), torch.zeros_like(nothing)], dim=-1)  # (..., E + 1)
    return _take(turns, route).sum(dim=-1).movedim(-1, dim)


def _take(x: Tensor, table: Tensor) -> Tensor:
    return x.index_select(-1, table.flatten()).unflatten(-1, table.shape)  # (..., n) -> (..., rows, columns)


@lru_cache(maxsize=64)
def _tables(tree: Tree) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The node that every edge leaves (E,), the edges of every node and those on the way to every class, padded with E."""
    siblings, paths = _read_tree(tree)
    edges = sum(map(len, siblings))
    owner = np.zeros(edges, dtype=np.int64)
    for node, members in enumerate(siblings):
        owner[list(members)] = node
    return owner, _padded(siblings, edges), _padded(paths, edges)


def _padded(rows: tuple[tuple[int, ...], ...], fill: int) -> np.ndarray:
    table = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table
