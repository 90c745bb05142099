"""LoRA linear layer: a frozen weight and a small learned product beside it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.linear import Linear, check_width
from nnvocab.vocabulary import Example, entry

LINEAR = (nn.Linear, Linear)
"""Layers that take a low-rank change: torch's and this chapter's own."""


def lora_linear(x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, scaling: float) -> Tensor:
    r"""Apply a weight and a product of two narrow ones beside it: :math:`y = W x + b + s\,B A x`.

    Args:
        x: the input.
        weight: the frozen weight W, as ``nn.Linear`` stores it.
        bias: its bias b, or None.
        A: the first narrow weight; it maps to the rank.
        B: the second; it maps back.
        scaling: the number s.

    Shapes:
        x: (..., I); weight: (O, I); bias: (O,); A: (R, I); B: (O, R). Returns (..., O).
    """
    return F.linear(x, weight, bias) + scaling * (x @ A.T) @ B.T  # (..., I) -> (..., R) -> (..., O)


def lora_linear_merged(x: Tensor, weight: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, scaling: float) -> Tensor:
    """The same function with one product: the two narrow weights are added to the wide one first."""
    return F.linear(x, torch.addmm(weight, B, A, alpha=scaling), bias)


def check_lora(r: int, lora_alpha: float, lora_dropout: float, smaller_side: int) -> float:
    """Return the scaling lora_alpha / r; raise an error that says how to mend what does not fit."""
    if not 1 <= r <= smaller_side:
        raise ValueError(
            f"r is {r}, but must be between 1 and {smaller_side}, the smaller side of the weight: a product of a higher "
            f"rank than that has more numbers and says no more"
        )
    if not 0.0 <= lora_dropout < 1.0:
        raise ValueError(f"lora_dropout is {lora_dropout}, but must be a probability: at least 0 and below 1")
    if not lora_alpha > 0:
        raise ValueError(f"lora_alpha is {lora_alpha}, but must be above 0: the product is scaled by lora_alpha / r")
    return lora_alpha / r


def narrow_pair(base: nn.Linear | Linear, r: int, out_features: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Make A, random as ``nn.Linear`` starts, and B, zero, beside a layer: (R, I) and (O, R)."""
    A, B = base.weight.new_empty(r, base.in_features), base.weight.new_zeros(out_features, r)
    nn.init.kaiming_uniform_(A, a=math.sqrt(5))
    return nn.Parameter(A), nn.Parameter(B)


def _example() -> Example:
    layer = LoRALinear(6, 4, r=2)
    nn.init.normal_(layer.lora_B)
    return Example(layer, (torch.randn(3, 6),))


@entry(
    name="LoRA linear layer",
    aliases=("LoRALinearLayer",),
    ids=("caramba_lora_linear",),
    page="small_changes",
    paper="hu2022lora",
    peer="peft",
    example=_example,
    related=("Low-rank adaptation", "LoRA on attention projections"),
)
class LoRALinear(nn.Module):
    r"""A linear layer whose weight is frozen, and whose change is learned as a product of two narrow weights.

    .. math::
        y = W x + b + \frac{\alpha}{r}\, B A\, \mathrm{dropout}(x)

    where :math:`W` and :math:`b` are frozen, :math:`A` maps to :math:`r` numbers, :math:`B` maps back, and
    :math:`\alpha / r` scales what they say.

    Args:
        in_features: width I of the input.
        out_features: width O of the output.
        r: rank of the change.
        lora_alpha: the number :math:`\alpha`.
        lora_dropout: probability with which a number of the input is hidden from A while training.
        bias: whether the frozen layer has a bias.

    Shapes:
        x: (..., I). Returns (..., O).

    Notice:
        B starts at 0, so the layer starts as the frozen one, whatever A is. A learns nothing in the first step, since
        its gradient passes through B. ``merge`` adds the product to W, so that the layer costs what it did;
        ``unmerge`` takes it out again. A state dict does not say whether the change is merged: save it unmerged. Only A
        and B are trained, (I + O) r numbers instead of I O.

    Raises:
        ValueError: if r is not between 1 and the smaller side, alpha is not above 0, the dropout is no probability, or
            x is not I wide.
        RuntimeError: if the layer is merged when it is already, or unmerged when it is not.

    Source: Hu et al. 2022, section 4.1 and equation 3.

    >>> layer = LoRALinear(512, 512, r=8, lora_alpha=16)
    >>> layer.scaling, sum(p.numel() for p in layer.parameters() if p.requires_grad)
    (2.0, 8192)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        r: int = 8,
        *,
        lora_alpha: float = 16.0,
        lora_dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._adapt(nn.Linear(in_features, out_features, bias=bias), r, lora_alpha, lora_dropout)

    @classmethod
    def from_linear(
        cls, base: nn.Linear | Linear, r: int = 8, *, lora_alpha: float = 16.0, lora_dropout: float = 0.0
    ) -> LoRALinear:
        """Freeze an existing layer and put the product beside it; its weight is used, not copied."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._adapt(base, r, lora_alpha, lora_dropout)
        return layer

    def _adapt(self, base: nn.Linear | Linear, r: int, lora_alpha: float, lora_dropout: float) -> None:
        self.scaling = check_lora(r, lora_alpha, lora_dropout, min(base.weight.shape))
        self.r, self.lora_alpha, self.merged = r, lora_alpha, False
        self.base, self.dropout = base.requires_grad_(False), nn.Dropout(lora_dropout)
        self.lora_A, self.lora_B = narrow_pair(base, r, base.out_features)

    def change(self) -> Tensor:
        """Return what is added to the weight: s B A, of the weight's shape."""
        return self.scaling * self.lora_B @ self.lora_A

    def adapter_state_dict(self) -> dict[str, Tensor]:
        """Return A and B and nothing else; ``load_state_dict(..., strict=False)`` puts them in again."""
        return {"lora_A": self.lora_A.detach().clone(), "lora_B": self.lora_B.detach().clone()}

    @torch.no_grad()
    def merge(self) -> None:
        """Add the change to the weight: from now on the layer is one product."""
        if self.merged:
            raise RuntimeError("this layer is merged already; merging again would add the change twice")
        self.base.weight.add_(self.change())
        self.merged = True

    @torch.no_grad()
    def unmerge(self) -> None:
        """Take the change out of the weight again, to go on training or to swap it."""
        if not self.merged:
            raise RuntimeError("this layer is not merged: there is nothing to take out")
        self.base.weight.sub_(self.change())
        self.merged = False

    def forward(self, x: Tensor) -> Tensor:
        check_width(x, self.base.in_features)
        if self.merged:
            return self.base(x)
        y, hidden = self.base(x), F.linear(self.dropout(x), self.lora_A)  # (..., O), (..., R)
        flat = y.reshape(-1, y.shape[-1]), hidden.reshape(-1, hidden.shape[-1])
        return torch.addmm(*flat, self.lora_B.T, alpha=self.scaling).view_as(y)
