"""Where memory really falls: a linear layer stored in compressed rows, and one stored in the 2:4 pattern."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.linear import check_width


def compressed_rows(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Make a sparse CSR tensor; torch says at each first one that its support is in beta, and need not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Ss]parse")
        return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)


def pack_two_four(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Keep two of every four neighbours and where they stood, two bits each.

    Args:
        weight: weights of which at most two of every four neighbours in a row are not zero; C_in a multiple of 8.

    Returns:
        values: the kept weights, (C_out, C_in / 2).
        places: four places a byte, (C_out, C_in / 8), uint8.

    Raises:
        ValueError: if the weights do not have the pattern.
    """
    if weight.ndim != 2 or weight.shape[1] % 8:
        raise ValueError(
            f"weight has shape {tuple(weight.shape)}, but the packed 2:4 form needs rows of a multiple of 8"
        )
    fours = weight.unflatten(1, (-1, 4))  # (C_out, C_in / 4, 4)
    if ((fours != 0).sum(dim=-1) > 2).any():
        raise ValueError("more than two of four neighbouring weights are not zero: prune with method='2:4' first")
    place = (fours != 0).byte().argsort(dim=-1, descending=True, stable=True)[..., :2].sort(dim=-1).values
    values = fours.gather(-1, place).flatten(1)
    bits = place.flatten(1).unflatten(1, (-1, 4)) << torch.tensor([0, 2, 4, 6], device=weight.device)
    return values, bits.sum(dim=-1).to(torch.uint8)


def unpack_two_four(values: Tensor, places: Tensor) -> Tensor:
    """Undo ``pack_two_four``: (C_out, C_in / 2) and (C_out, C_in / 8) -> (C_out, C_in)."""
    shifts = torch.tensor([0, 2, 4, 6], device=places.device)
    place = ((places[..., None] >> shifts) & 3).long().flatten(1).unflatten(1, (-1, 2))  # (C_out, C_in / 4, 2)
    fours = values.new_zeros(*place.shape[:2], 4)
    return fours.scatter(-1, place, values.unflatten(1, (-1, 2))).flatten(1)


def stored_bytes(module: nn.Module) -> int:
    """Count the bytes of all that a module stores: parameters and buffers.

    >>> stored_bytes(nn.Linear(10, 10))
    440
    """
    return sum(t.numel() * t.element_size() for t in [*module.parameters(), *module.buffers()])


class CSRLinear(nn.Module):
    """Frozen linear layer in compressed sparse rows: for each weight that is not zero its value and its column.

    Args:
        weight: the weights, zeros included.
        bias: the bias, or None.

    Shapes:
        weight: (C_out, C_in); x: (..., C_in). Returns (..., C_out).

    Notice:
        A kept weight takes 8 bytes instead of 4 in float32, for its column is stored too: there is nothing to gain
        until more than half of the weights are zero.

    >>> layer = CSRLinear(torch.eye(100))
    >>> layer(torch.ones(1, 100)).sum(), stored_bytes(layer)
    (tensor(100.), 1204)
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        if weight.ndim != 2:
            raise ValueError(f"weight has shape {tuple(weight.shape)}, but needs two axes (C_out, C_in)")
        kept = weight != 0
        self.shape: tuple[int, int] = (weight.shape[0], weight.shape[1])
        self.register_buffer("rows", F.pad(kept.sum(dim=1).cumsum(dim=0), (1, 0)).int())
        self.register_buffer("columns", kept.nonzero()[:, 1].int())
        self.register_buffer("values", weight[kept].clone())
        self.register_buffer("bias", None if bias is None else bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        check_width(x, self.shape[1])
        weight = compressed_rows(self.rows, self.columns, self.values, self.shape)
        y = (weight @ x.reshape(-1, self.shape[1]).T).T.reshape(*x.shape[:-1], self.shape[0])
        return y if self.bias is None else y + self.bias


class TwoFourLinear(nn.Module):
    """Frozen linear layer that stores two of every four weights, and two bits for the place of each.

    Args:
        weight: weights in the 2:4 pattern; C_in a multiple of 8.
        bias: the bias, or None.

    Shapes:
        weight: (C_out, C_in); x: (..., C_in). Returns (..., C_out).

    Notice:
        It takes 9/16 of the bytes of float16 weights and 17/32 of float32 ones. Here the weights are unpacked for
        each product; a GPU with sparse tensor cores multiplies them packed (torch.sparse.to_sparse_semi_structured).

    Source: Mishra et al. 2021, section 2.

    >>> TwoFourLinear(torch.tensor([[1.0, 0, 0, 2, 0, 3, 4, 0]]))(torch.ones(1, 8))
    tensor([[10.]])
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        values, places = pack_two_four(weight)
        self.register_buffer("values", values)
        self.register_buffer("places", places)
        self.register_buffer("bias", None if bias is None else bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        check_width(x, 2 * self.values.shape[1])
        return F.linear(x, unpack_two_four(self.values, self.places), self.bias)
