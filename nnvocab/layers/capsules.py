"""Capsules: vectors whose length says how likely a thing is there, and routing by agreement between them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def squash(s: Tensor, *, dim: int = -1, eps: float = 1e-8) -> Tensor:
    r"""Shrink a vector to a length below 1 and keep its direction.

    .. math::
        v = \frac{\lVert s \rVert^2}{1 + \lVert s \rVert^2}\, \frac{s}{\lVert s \rVert}

    Args:
        s: vectors.
        dim: axis along which a vector lies.
        eps: added to the squared length under the root, so that a zero vector has a gradient.

    Shapes:
        s: any. Returns the same shape.

    Source: Sabour et al. 2017, equation 1.

    >>> squash(torch.tensor([3.0, 4.0])).norm()
    tensor(0.9615)
    """
    square = s.square().sum(dim=dim, keepdim=True)
    return s * (square / (1 + square) * (square + eps).rsqrt())


def check_votes(votes: Tensor, num_iterations: int) -> None:
    """Refuse votes that are not (B, I, J, D), and routing without a round."""
    if votes.ndim != 4:
        raise ValueError(f"votes has shape {tuple(votes.shape)}, but needs (batch, parts, wholes, width)")
    if num_iterations < 1:
        raise ValueError(f"num_iterations is {num_iterations}, but routing needs at least 1 round")


def route(votes: Tensor, num_iterations: int = 3) -> tuple[Tensor, Tensor]:
    r"""Let each part send its votes to the wholes that agree with them.

    .. math::
        c_{ij} = \frac{\exp b_{ij}}{\sum_{j'} \exp b_{ij'}}, \quad
        s_j = \sum_i c_{ij}\, \hat u_{j|i}, \quad v_j = \operatorname{squash}(s_j), \quad
        b_{ij} \leftarrow b_{ij} + \hat u_{j|i} \cdot v_j

    from :math:`b = 0`; the last round ends with :math:`v`.

    Args:
        votes: :math:`\hat u_{j|i}`, what part i says whole j should be.
        num_iterations: rounds; 1 sends the same share everywhere.

    Shapes:
        votes: (B, I, J, D). Returns the wholes v (B, J, D) and the couplings c (B, I, J).

    Notice:
        The softmax runs over the wholes j: each part shares itself out, and its couplings sum to 1. A softmax over
        the parts would let a whole be built from a fixed amount of parts, present or not.

    Raises:
        ValueError: if votes have other axes, or there is no round.

    Source: Sabour et al. 2017, procedure 1.
    """
    check_votes(votes, num_iterations)
    logits = torch.zeros_like(votes[..., 0])  # b: (B, I, J)
    for step in range(num_iterations):
        couplings = logits.softmax(dim=2)
        wholes = squash((couplings[..., None] * votes).sum(dim=1))  # (B, J, D)
        if step + 1 < num_iterations:
            logits = logits + (votes * wholes[:, None]).sum(dim=-1)
    return wholes, couplings


def route_batched(votes: Tensor, num_iterations: int = 3) -> tuple[Tensor, Tensor]:
    """The same function by batched products, which never store the votes times their couplings."""
    check_votes(votes, num_iterations)
    by_whole = votes.transpose(1, 2)  # (B, J, I, D)
    logits = by_whole.new_zeros(by_whole.shape[:3])  # (B, J, I)
    for step in range(num_iterations):
        couplings = logits.softmax(dim=1)
        wholes = squash((couplings.unsqueeze(2) @ by_whole).squeeze(2))  # (B, J, 1, I) @ (B, J, I, D) -> (B, J, D)
        if step + 1 < num_iterations:
            logits = logits + (by_whole @ wholes.unsqueeze(3)).squeeze(3)  # (B, J, I)
    return wholes, couplings.transpose(1, 2)


def margin_loss(
    lengths: Tensor, target: Tensor, *, present: float = 0.9, absent: float = 0.1, down_weight: float = 0.5
) -> Tensor:
    r"""Ask for a long capsule of the right class and short ones of the others.

    .. math::
        L = \sum_j T_j \max(0, m^{+} - \lVert v_j \rVert)^2 + \lambda (1 - T_j) \max(0, \lVert v_j \rVert - m^{-})^2

    Args:
        lengths: :math:`\lVert v_j \rVert`.
        target: the class; or T itself, 0 or 1 for each class, if several things are there.
        present: :math:`m^{+}`, how long is long enough.
        absent: :math:`m^{-}`, how short is short enough.
        down_weight: :math:`\lambda`, the weight of the absent classes.

    Shapes:
        lengths: (B, J); target: (B,) or (B, J). Returns a number, the mean over the batch.

    Raises:
        ValueError: if target has another shape.

    Source: Sabour et al. 2017, equation 4.

    >>> margin_loss(torch.tensor([[0.95, 0.05]]), torch.tensor([0]))
    tensor(0.)
    """
    if target.shape == lengths.shape[:1]:
        target = nn.functional.one_hot(target, lengths.shape[1])
    if target.shape != lengths.shape:
        raise ValueError(
            f"target has shape {tuple(target.shape)}, but lengths {tuple(lengths.shape)}: give one class a row, or a "
            f"number for each class"
        )
    there = target.to(lengths.dtype)
    short, long = (present - lengths).clamp(min=0).square(), (lengths - absent).clamp(min=0).square()
    return (there * short + down_weight * (1 - there) * long).sum(dim=1).mean()


class CapsuleLayer(nn.Module):
    r"""Capsules of wholes, found by routing the votes of capsules of parts.

    .. math::
        \hat u_{j|i} = W_{ij} u_i, \qquad v = \operatorname{route}(\hat u)

    Args:
        in_capsules: parts I.
        out_capsules: wholes J.
        in_dim: width of a part.
        out_dim: width D of a whole.
        num_iterations: rounds of routing.

    Shapes:
        u: (B, I, in_dim). Returns the wholes (B, J, D); with ``need_couplings`` also the couplings (B, I, J).

    Raises:
        ValueError: if a size is below 1, there is no round of routing, or the input does not fit.

    Source: Sabour et al. 2017, section 2.

    >>> CapsuleLayer(20, 10, 8, 16)(torch.randn(2, 20, 8)).shape
    torch.Size([2, 10, 16])
    """

    def __init__(
        self, in_capsules: int, out_capsules: int, in_dim: int, out_dim: int, *, num_iterations: int = 3
    ) -> None:
        super().__init__()
        if min(in_capsules, out_capsules, in_dim, out_dim) < 1:
            raise ValueError(
                f"in_capsules {in_capsules}, out_capsules {out_capsules}, in_dim {in_dim} and out_dim {out_dim} must be "
                f"at least 1"
            )
        if num_iterations < 1:
            raise ValueError(f"num_iterations is {num_iterations}, but routing needs at least 1 round")
        self.num_iterations = num_iterations
        self.weight = nn.Parameter(torch.randn(in_capsules, out_capsules, out_dim, in_dim) * 0.1)  # (I, J, D, in)

    def votes(self, u: Tensor) -> Tensor:
        """Ask each part what each whole should be: (B, I, in_dim) -> (B, I, J, D)."""
        if u.ndim != 3 or (u.shape[1], u.shape[2]) != (self.weight.shape[0], self.weight.shape[3]):
            raise ValueError(
                f"u has shape {tuple(u.shape)}, but needs (batch, {self.weight.shape[0]}, {self.weight.shape[3]})"
            )
        flat = torch.einsum("bik,iok->bio", u, self.weight.flatten(1, 2))  # (B, I, J*D)
        return flat.unflatten(2, self.weight.shape[1:3])

    def forward(self, u: Tensor, *, need_couplings: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        wholes, couplings = route_batched(self.votes(u), self.num_iterations)
        return (wholes, couplings) if need_couplings else wholes
