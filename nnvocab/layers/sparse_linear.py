"""A linear layer most of whose weights are zero and stay so, and two ways to store it small."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.linear import check_width
from nnvocab.layers.pruning import gradient_mask, magnitude_mask, random_mask, row_mask, two_four_mask
from nnvocab.layers.sparse_storage import CSRLinear, TwoFourLinear, compressed_rows
from nnvocab.vocabulary import Example, entry

Method = Literal["magnitude", "gradient", "random", "structured", "2:4"]


def masked_linear(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Multiply by the weights that the mask keeps: :math:`y = x (W \odot M)^{\top} + b`.

    Args:
        x: input.
        weight: :math:`W`.
        mask: :math:`M`, True where a weight is kept.
        bias: :math:`b`.

    Shapes:
        x: (..., C_in); weight and mask: (C_out, C_in); bias: (C_out,). Returns (..., C_out).
    """
    y = x @ (weight * mask).T
    return y if bias is None else y + bias


def masked_linear_csr(x: Tensor, weight: Tensor, mask: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same function through compressed rows: only the weights that are kept are stored and multiplied."""
    mask = mask.bool()
    rows = F.pad(mask.sum(dim=1).cumsum(dim=0), (1, 0))  # (C_out + 1,): where each row begins
    kept = compressed_rows(rows, mask.nonzero()[:, 1], weight[mask], (weight.shape[0], weight.shape[1]))
    y = (kept @ x.reshape(-1, x.shape[-1]).T).T.reshape(*x.shape[:-1], -1)
    return y if bias is None else y + bias


@entry(
    name="Sparse linear layer",
    aliases=("Sparse linear", "pruned linear", "masked linear"),
    page="sparse",
    ids=("sparse_linear",),
    paper="frankle2019lottery",
    peer="torch.nn.utils.prune",
    example=lambda: Example(SparseLinear(6, 4).prune(0.5), (torch.randn(3, 6),)),
)
class SparseLinear(nn.Module):
    r"""Linear layer with a mask that says which weights there are; it starts full and is pruned.

    .. math::
        y = x\,(W \odot M)^{\top} + b, \qquad \text{sparsity} = \frac{\text{zeros in } W \odot M}{\text{weights}}

    Args:
        in_features: width C_in of the input.
        out_features: width C_out of the output.
        bias: add a bias, which is never pruned.

    Shapes:
        x: (..., C_in). Returns (..., C_out).

    Notice:
        The mask is part of the state dict, and it is applied in the forward pass: gradients of pruned weights are 0,
        and whatever an optimizer's momentum or weight decay does to the stored numbers, they stay out of the sum.
        While training, the layer takes more memory than nn.Linear and no less work; ``to_csr`` and ``to_two_four``
        make the small one.

    Raises:
        ValueError: if a width is below 1, x has another width, or a method, a share or a missing gradient makes pruning
            impossible, or the layer is rewound to weights of another shape.

    Source: Han et al. 2015 (magnitude pruning); Frankle and Carbin 2019 (lottery tickets).

    >>> layer = SparseLinear(512, 256).prune(0.9)
    >>> layer(torch.zeros(2, 512)).shape, layer.report()["zeros"]
    (torch.Size([2, 256]), 117965)
    """

    mask: Tensor

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        if min(in_features, out_features) < 1:
            raise ValueError(f"in_features {in_features} and out_features {out_features} must be at least 1")
        made = nn.Linear(in_features, out_features, bias=bias)
        self.in_features, self.out_features = in_features, out_features
        self.weight, self.bias = made.weight, made.bias
        self.register_buffer("mask", torch.ones(out_features, in_features, dtype=torch.bool))

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> SparseLinear:
        """Take over the weights of a trained layer; nothing is pruned yet."""
        made = cls(linear.in_features, linear.out_features, bias=linear.bias is not None).to(linear.weight)
        with torch.no_grad():
            made.weight.copy_(linear.weight)
            if linear.bias is not None:
                made.bias.copy_(linear.bias)
        return made

    def prune(
        self, sparsity: float = 0.5, method: Method = "magnitude", *, generator: torch.Generator | None = None
    ) -> SparseLinear:
        """Mask weights until this share of all is zero; what is masked already stays so. Returns the layer.

        Args:
            sparsity: share of all weights; with ``"structured"`` of the rows; not used with ``"2:4"`` (one half).
            method: how importance is judged; ``"gradient"`` reads the gradient of the last backward pass.
            generator: for ``"random"``.
        """
        weight = self.weight.detach() * self.mask
        if method == "magnitude":
            mask = magnitude_mask(weight, sparsity, self.mask)
        elif method == "gradient":
            if self.weight.grad is None:
                raise ValueError("method 'gradient' needs a gradient: call backward on a loss before prune")
            mask = gradient_mask(weight, self.weight.grad, sparsity, self.mask)
        elif method == "random":
            mask = random_mask(weight, sparsity, self.mask, generator=generator)
        elif method == "structured":
            mask = row_mask(weight, sparsity)
        elif method == "2:4":
            mask = two_four_mask(weight)
        else:
            raise ValueError(
                f"method is {method!r}, but must be 'magnitude', 'gradient', 'random', 'structured' or '2:4'"
            )
        self.mask &= mask
        return self

    def rewind(self, weight: Tensor, bias: Tensor | None = None) -> SparseLinear:
        """Set the weights back to earlier values and keep the mask: the lottery ticket. Returns the layer."""
        if weight.shape != self.weight.shape or (bias is not None and bias.shape != (self.out_features,)):
            raise ValueError(
                f"weight {tuple(weight.shape)} and bias {None if bias is None else tuple(bias.shape)} were given, but "
                f"those of this layer have the shapes {tuple(self.weight.shape)} and ({self.out_features},)"
            )
        if bias is not None and self.bias is None:
            raise ValueError("a bias was given, but this layer was made with bias=False: rewind the weight alone")
        with torch.no_grad():
            self.weight.copy_(weight)
            if bias is not None:
                self.bias.copy_(bias)
        return self

    def l1_penalty(self) -> Tensor:
        """Sum the sizes of the weights that are kept: added to the loss, with a small weight, it makes more of them small."""
        return (self.weight * self.mask).abs().sum()

    def report(self) -> dict[str, int | float]:
        """Count exactly: weights, zeros among them, their share, and the bytes that three ways to store them take."""
        weight, size = self.weight.detach() * self.mask, self.weight.element_size()
        zeros, total = int((weight == 0).sum()), weight.numel()
        return {
            "weights": total,
            "zeros": zeros,
            "sparsity": zeros / total,
            "bytes_dense": total * size,
            "bytes_masked": total * size + self.mask.numel() * self.mask.element_size(),
            "bytes_csr": (total - zeros) * (size + 4) + 4 * (self.out_features + 1),
        }

    def to_csr(self) -> CSRLinear:
        """Store the layer in compressed rows: a frozen copy that holds no zeros."""
        return CSRLinear(self.weight.detach() * self.mask, None if self.bias is None else self.bias.detach())

    def to_two_four(self) -> TwoFourLinear:
        """Store the layer in the 2:4 pattern, which ``prune(method="2:4")`` makes: a frozen copy."""
        return TwoFourLinear(self.weight.detach() * self.mask, None if self.bias is None else self.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        check_width(x, self.in_features)
        return F.linear(x, self.weight * self.mask, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
