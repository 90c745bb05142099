"""Queries, keys and values: what a token looks for, what it can be found by, what it hands over."""

from __future__ import annotations

import torch
from torch import Tensor

from nnvocab.vocabulary import Example, entry


@entry(
    name="Queries, keys and values",
    aliases=("Query, key and value projections", "Q/K/V"),
    page="looking",
    kind="concept",
    ids=("loom_qkv",),
    paper="vaswani2017attention",
    peer="torch.nn.functional.scaled_dot_product_attention",
    example=lambda: Example(read_with_query, (torch.randn(2, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 3))),
    related=("Scaled dot-product attention", "Self-attention"),
)
def read_with_query(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Follow one query through attention: its score for every key, its weights, and the mixture of values.

    .. math::
        s_j = \frac{q \cdot k_j}{\sqrt{D}}, \qquad w_j = \frac{e^{s_j}}{\sum_i e^{s_i}}, \qquad y = \sum_j w_j v_j

    where :math:`q` is what one token looks for, :math:`k_j` what token :math:`j` can be found by, and :math:`v_j` what
    it hands over. In a layer all three are learned projections of the tokens.

    Args:
        query: the query of one token.
        keys: the keys of all tokens.
        values: the values of all tokens.

    Shapes:
        query: (..., D); keys: (..., S, D); values: (..., S, E). Returns scores (..., S), weights (..., S) and the
        mixture (..., E).

    Notice:
        Only differences between scores matter: a constant added to all of them changes no weight. The mixture never
        leaves the space that the values span: a query chooses, it does not add.

    Raises:
        ValueError: if a width or a length does not fit.

    Source: Vaswani et al. 2017, section 3.2.

    >>> scores, weights, mixture = read_with_query(torch.tensor([2.0, 0.0]), torch.eye(2), torch.tensor([[1.0], [9.0]]))
    >>> scores, weights
    (tensor([1.4142, 0.0000]), tensor([0.8044, 0.1956]))
    """
    if query.ndim < 1 or keys.ndim != query.ndim + 1 or values.ndim != keys.ndim:
        raise ValueError(
            f"query, keys and values have {query.ndim}, {keys.ndim} and {values.ndim} axes, but need n, n + 1 and "
            f"n + 1: one query for a list of keys and values"
        )
    if query.shape[-1] != keys.shape[-1]:
        raise ValueError(f"the query has width {query.shape[-1]} and the keys {keys.shape[-1]}; they must be equal")
    if keys.shape[-2] != values.shape[-2] or keys.shape[-2] == 0:
        raise ValueError(f"there are {keys.shape[-2]} keys and {values.shape[-2]} values; give equally many")
    if not query.shape[:-1] == keys.shape[:-2] == values.shape[:-2]:
        raise ValueError(
            f"query, keys and values have shapes {tuple(query.shape)}, {tuple(keys.shape)} and {tuple(values.shape)}; "
            f"what comes before (D,), (S, D) and (S, E), such as a batch, must be the same"
        )
    scores = (keys @ query.unsqueeze(-1)).squeeze(-1) / query.shape[-1] ** 0.5  # (..., S)
    weights = scores.softmax(dim=-1)  # (..., S)
    return scores, weights, (weights.unsqueeze(-2) @ values).squeeze(-2)  # (..., E)
