"""What makes a layer fit to be a branch: one tensor in, one tensor out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from nnvocab.compose.shapes import first_tensor

Take = Literal["last", "mean", "all", "flat"]


class SequenceBranch(nn.Module):
    r"""A recurrent or attention layer as a branch: what it returns over T steps becomes one tensor.

    .. math::
        y = h_T \ \text{(last)}, \quad \tfrac1T \textstyle\sum_t h_t \ \text{(mean)}, \quad
        (h_1, \dots, h_T) \ \text{(all)}, \quad [h_1; \dots; h_T] \ \text{(flat)}

    where :math:`h_t` is what the layer returns at step t.

    Args:
        layer: a module of (B, T, C): ``nn.LSTM``, ``nn.GRU``, ``nn.RNN`` or ``nn.MultiheadAttention`` with
            ``batch_first=True``, or any other that returns (B, T, C') or a tuple that begins with it.
        take: which of the steps leave: "last", "mean", "all" or "flat".

    Shapes:
        x: (B, T, C), or (B, C), which is one step. Returns (B, C'), for "all" (B, T, C'), for "flat" (B, T*C').

    Raises:
        ValueError: if ``take`` is unknown, the layer puts time first, x has neither two nor three axes or no step, or the
            layer returns no (B, T, C').

    >>> import torch
    >>> x = torch.zeros(2, 10, 64)
    >>> SequenceBranch(nn.LSTM(64, 32, batch_first=True))(x).shape
    torch.Size([2, 32])
    >>> SequenceBranch(nn.LSTM(64, 32, batch_first=True), take="flat")(x).shape
    torch.Size([2, 320])
    """

    def __init__(self, layer: nn.Module, *, take: Take = "last") -> None:
        super().__init__()
        if take not in ("last", "mean", "all", "flat"):
            raise ValueError(f"take is {take!r}, but must be 'last', 'mean', 'all' or 'flat'")
        inside = layer.modules() if isinstance(layer, (nn.TransformerEncoder, nn.TransformerEncoderLayer)) else [layer]
        if any(getattr(part, "batch_first", True) is False for part in inside):
            raise ValueError(f"{type(layer).__name__} puts time first: build it with batch_first=True")
        self.layer, self.take = layer, take

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() not in (2, 3):
            raise ValueError(f"x has shape {tuple(x.shape)}, but (B, T, C) is needed, or (B, C) for a single step")
        x = x.unsqueeze(1) if x.dim() == 2 else x  # (B, 1, C)
        if x.shape[1] == 0:
            raise ValueError(f"x has shape {tuple(x.shape)}, a sequence without a step: give at least one")
        if isinstance(self.layer, nn.MultiheadAttention):
            h = self.layer(x, x, x, need_weights=False)[0]
        else:
            h = first_tensor(self.layer(x))  # (B, T, C')
        if h.dim() != 3:
            raise ValueError(
                f"{type(self.layer).__name__} returned shape {tuple(h.shape)}, but (B, T, C) is needed: a layer that takes one "
                f"step by itself is a branch without SequenceBranch"
            )
        if self.take == "last":
            return h.select(1, -1)
        if self.take == "mean":
            return h.mean(dim=1)
        return h if self.take == "all" else h.flatten(1)  # (B, T*C')


class Slice(nn.Module):
    """Take features ``start`` to ``stop`` of a flat input and give them the shape that a branch needs.

    A parallel layer hands the whole input to every branch. Where a branch should see a part only (the picture, the
    words), the part is cut out by this layer, first in the branch.

    Args:
        start: first feature, counted from 0.
        stop: the feature behind the last.
        shape: the shape of one sample behind the cut; None leaves it flat.
        width: how wide the whole input is; None takes any that is wide enough.

    Shapes:
        x: (B, C). Returns (B, ...), the given shape behind the batch.

    Raises:
        ValueError: if the cut is empty, lies outside the input, or does not fill ``shape``.

    >>> import torch
    >>> Slice(0, 64, (1, 8, 8))(torch.zeros(2, 100)).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(self, start: int, stop: int, shape: Sequence[int] | None = None, *, width: int | None = None) -> None:
        super().__init__()
        self.start, self.stop, self.width = int(start), int(stop), width
        self.shape = (self.stop - self.start,) if shape is None else tuple(shape)
        size = 1
        for n in self.shape:
            size *= n
        if not 0 <= self.start < self.stop:
            raise ValueError(f"the cut from {start} to {stop} is empty or begins before 0: start < stop is needed")
        if width is not None and width < self.stop:
            raise ValueError(f"the cut ends at {stop}, but the input is {width} wide: stop must be at most that")
        if size != self.stop - self.start:
            raise ValueError(f"shape {self.shape} holds {size} numbers, but the cut has {self.stop - self.start}")

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2 or x.shape[1] < self.stop:
            raise ValueError(f"x has shape {tuple(x.shape)}, but (B, C) with C of at least {self.stop} is needed")
        if self.width is not None and x.shape[1] != self.width:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but (B, {self.width}) is needed: the parts fill it exactly"
            )
        return x.narrow(1, self.start, self.stop - self.start).unflatten(1, self.shape)  # (B, *shape)

    def extra_repr(self) -> str:
        return f"{self.start}, {self.stop}, shape={self.shape}"
