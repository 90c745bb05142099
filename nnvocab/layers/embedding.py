"""Embedding layer: each number of a vocabulary has a learned vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def embedding(ids: Tensor, weight: Tensor) -> Tensor:
    r"""Multiply one-hot vectors by the table, as the equation is written.

    .. math::
        y = \operatorname{onehot}(i)\, E = E_i

    Shapes:
        ids: (...), whole numbers from 0 to V - 1; weight: (V, C). Returns (..., C).
    """
    return F.one_hot(ids, weight.shape[0]).to(weight) @ weight  # (..., V) @ (V, C)


def embedding_lookup(ids: Tensor, weight: Tensor) -> Tensor:
    """The same function by reading rows: no products, and no gradient for the rows that were not read."""
    return F.embedding(ids, weight)


@entry(
    name="Embedding layer",
    page="embedding",
    aliases=("lookup table", "token embedding", "entity embedding", "embedding lookup layer", "nn.Embedding"),
    ids=("embedding", "loom_embedding"),
    paper="bengio2003neural",
    peer="torch.nn.Embedding",
    example=lambda: Example(Embedding(7, 3), (torch.tensor([[1, 4, 0], [6, 1, 1]]),)),
    related=("Linear layer", "Dropout layer"),
)
class Embedding(nn.Module):
    r"""Layer that reads, for each whole number, its row of a learned table.

    .. math::
        y = E_i, \qquad E \in \mathbb{R}^{V \times C}

    Args:
        num_embeddings: rows V of the table: the size of the vocabulary.
        embedding_dim: width C of a row.
        padding_idx: a row that starts at 0 and gets no gradient; negative counts from the end.
        max_norm: rows that are read and longer than this are cut to it, in the table itself, before they are used.
        norm_type: p of the norm that is meant; 2 is the usual length.
        sparse: give the gradient as a sparse tensor of the rows read, for SGD, Adagrad or SparseAdam.
        dropout: the share of rows that are set to 0 for a whole batch in training; the others grow by 1 / (1 - share).

    Shapes:
        ids: (...), whole numbers from 0 to V - 1. Returns (..., C).

    Notice:
        It equals a linear layer without bias on one-hot vectors. Without ``sparse`` the gradient is a full (V, C)
        tensor, and optimizers with momentum or weight decay move rows that no batch has read.

    Raises:
        ValueError: if a size is below 1, ``padding_idx`` is outside the table, ``max_norm`` or ``norm_type`` is not
            above 0, or ``dropout`` is not from 0 to below 1.
        TypeError: if ids are not whole numbers.
        IndexError: if an id names no row (on a GPU the device reports it).

    Source: Bengio et al. 2003, section 2 (the matrix C); dropout of rows: Gal and Ghahramani 2016, section 4.2.

    >>> Embedding(10, 4)(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 4])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        sparse: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(num_embeddings, embedding_dim) < 1:
            raise ValueError(f"num_embeddings {num_embeddings} and embedding_dim {embedding_dim} must be at least 1")
        if (max_norm is not None and not max_norm > 0) or not norm_type > 0:
            raise ValueError(
                f"max_norm is {max_norm} and norm_type {norm_type}; both must be above 0, or max_norm None"
            )
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx is {padding_idx}, but the table has {num_embeddings} rows, from 0")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is {dropout}, but must be from 0 to below 1: it is the share of rows dropped")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type, self.sparse, self.dropout = max_norm, norm_type, sparse, dropout
        self.weight = nn.Parameter(torch.randn(num_embeddings, embedding_dim))
        if self.padding_idx is not None:
            with torch.no_grad():
                self.weight.select(0, self.padding_idx).zero_()

    @classmethod
    def from_pretrained(cls, weight: Tensor, *, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """Make a layer of a given table; the row of ``padding_idx`` stays as it is, only its gradient is blocked."""
        if weight.ndim != 2:
            raise ValueError(
                f"weight has the shape {tuple(weight.shape)}, but a table of two axes (rows, width) is needed"
            )
        made = cls(weight.shape[0], weight.shape[1], padding_idx=padding_idx)
        made.weight = nn.Parameter(weight.detach().clone(), requires_grad=not freeze)
        return made

    def forward(self, ids: Tensor) -> Tensor:
        if ids.is_floating_point() or ids.dtype == torch.bool:
            raise TypeError(f"ids are {ids.dtype}, but whole numbers are needed: they name rows; use ids.long()")
        try:
            y = F.embedding(ids, self.weight, self.padding_idx, self.max_norm, self.norm_type, False, self.sparse)
        except IndexError as error:
            raise IndexError(
                f"ids go from {int(ids.min())} to {int(ids.max())}, but the table has the rows 0 to "
                f"{self.num_embeddings - 1}: give a larger num_embeddings, or other ids"
            ) from error
        if self.training and self.dropout > 0:
            kept = torch.rand_like(self.weight.detach().select(1, 0)) >= self.dropout  # (V,): a row lives or is dropped
            y = y * F.embedding(ids, kept.to(y).unsqueeze(1) / (1 - self.dropout))  # (..., C) * (..., 1)
        return y

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}, padding_idx={self.padding_idx}, sparse={self.sparse}"
