"""Stitches: a linear map that brings what one network returns to the size that another needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from nnvocab.compose.freezing import freeze
from nnvocab.compose.sequential import Sequential
from nnvocab.compose.shapes import output_shape
from nnvocab.vocabulary import Example, entry


@entry(
    name="Stitch layer",
    aliases=("InitStitchLayer", "linear adapter"),
    ids=("par_stitch_layer",),
    page="stitching",
    paper="bansal2021revisiting",
    peer="torch.nn.Linear",
    related=("Stitched branches", "Gate-weighted sum of branches"),
    example=lambda: Example(Stitch(4, 3), (torch.randn(2, 4),)),
)
class Stitch(nn.Module):
    r"""Map features linearly from one size to another, without an activation.

    .. math::
        y = A x + b

    where A has one row for each feature of the result.

    Args:
        in_features: width of what comes in.
        out_features: width of what leaves.
        init: "identity" (the first features pass unchanged, what is missing is zero) or "random" (as ``nn.Linear``).
        bias: have an offset b.
        frozen: freeze the weights (:func:`nnvocab.compose.freeze`).

    Shapes:
        x: (..., in_features). Returns (..., out_features).

    Notice:
        With "identity" a fresh stitch does what zero padding or cutting off does; training can only leave that for the
        better. :meth:`fit` solves for the best linear map between two sets of features at once. It is an ``nn.Linear``
        by another name: what is new is where it stands.

    Raises:
        ValueError: if a size is below 1 or ``init`` is unknown.

    Source: Lenc and Vedaldi 2015; Bansal et al. 2021 (stitching two networks by a trained linear map).

    >>> Stitch(3, 4, init="identity")(torch.tensor([1.0, 2.0, 3.0])).tolist()
    [1.0, 2.0, 3.0, 0.0]
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        init: Literal["identity", "random"] = "random",
        bias: bool = True,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        if min(in_features, out_features) < 1:
            raise ValueError(
                f"the stitch leads from {in_features} to {out_features} features, but both must be at least 1"
            )
        if init not in ("identity", "random"):
            raise ValueError(
                f"init is {init!r}, but must be 'identity' or 'random'; fit(...) gives the least-squares map"
            )
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        if init == "identity":
            nn.init.eye_(self.linear.weight)
            if bias:
                nn.init.zeros_(self.linear.bias)
        if frozen:
            freeze(self)

    def fit(self, source: Tensor, target: Tensor, *, ridge: float = 0.0) -> Stitch:
        """Set the weights to the least-squares map from ``source`` to ``target``; returns the stitch itself.

        Args:
            source: (B, in_features), what the one network returns.
            target: (B, out_features), what it should become.
            ridge: how much the squared weights count beside the squared error; the offset is free.

        Raises:
            ValueError: if the shapes do not fit, there is no sample, a number is not finite, or ``ridge`` is below 0.
        """
        n_in, n_out = self.linear.in_features, self.linear.out_features
        if source.shape[1:] != (n_in,) or target.shape[1:] != (n_out,) or len(source) != len(target):
            raise ValueError(
                f"source has shape {tuple(source.shape)} and target {tuple(target.shape)}, but (B, {n_in}) and (B, {n_out}) "
                f"with the same B are needed"
            )
        if len(source) == 0 or not (source.isfinite().all() and target.isfinite().all()):
            raise ValueError("source and target need at least one sample, and finite numbers only")
        if not ridge >= 0:
            raise ValueError(f"ridge is {ridge}, but must be 0 or more")
        with torch.no_grad():
            a, b = source.double(), target.double()
            offset = self.linear.bias is not None
            a_mean, b_mean = (a.mean(0), b.mean(0)) if offset else (torch.zeros_like(a[0]), torch.zeros_like(b[0]))
            a, b = a - a_mean, b - b_mean
            if ridge:
                a = torch.cat([a, ridge**0.5 * torch.eye(n_in, dtype=a.dtype, device=a.device)])
                b = torch.cat([b, b.new_zeros(n_in, n_out)])
            weight = (torch.linalg.pinv(a) @ b).mT  # (out, in)
            self.linear.weight.copy_(weight)
            if offset:
                self.linear.bias.copy_(b_mean - weight @ a_mean)
        return self

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.linear.in_features:
            raise ValueError(
                f"x has {x.shape[-1]} features, but this stitch takes {self.linear.in_features}: build Stitch({x.shape[-1]}, "
                f"{self.linear.out_features})"
            )
        return self.linear(x)


@entry(
    name="Stitched branches",
    aliases=(
        "expert + stitch",
        "Stitching networks of different output size",
        "model stitching",
        "Multi-expert stitching",
        "heterogeneous expert sizes",
        "When to use stitching",
        "stitching guide",
    ),
    ids=("par_stitched_branches", "par_stitching", "par_multi_expert_stitching", "par_when_to_stitch"),
    page="stitching",
    kind="block",
    paper="bansal2021revisiting",
    related=("Stitch layer", "Filter combine mode", "Expert pre-training then gate training"),
    example=lambda: Example(stitched_branches([nn.Linear(4, 5)], (4,), 3)[0], (torch.randn(2, 4),)),
)
def stitched_branches(
    experts: Iterable[nn.Module],
    input_shape: Sequence[int],
    out_features: int,
    *,
    init: Literal["identity", "random"] = "random",
    freeze_experts: bool = False,
) -> list[Sequential]:
    r"""Give every expert a stitch behind it, so that all return the same number of features.

    .. math::
        f_i'(x) = A_i f_i(x) + b_i

    where :math:`f_i` are the experts, of any output size, and :math:`A_i, b_i` the stitch behind expert i.

    Args:
        experts: modules of the same input; each returns a vector for each sample.
        input_shape: the shape of one sample without the batch axis, from which the sizes of the stitches are found.
        out_features: what every branch returns.
        init: how the stitches begin, see :class:`Stitch`.
        freeze_experts: freeze the experts, so that the stitches alone are trained.

    Shapes:
        x: a batch of ``input_shape``. Each branch returns (B, out_features).

    Notice:
        The stitches give the features of different experts a common meaning, if they are trained; zero padding adds up
        what has nothing to do with each other.

    Raises:
        ValueError: if there is no expert, an expert cannot take the input, or it does not return a vector.

    Source: Bansal et al. 2021 (the stitch is trained, both networks stay as they are).

    >>> branches = stitched_branches([nn.Linear(16, 5), nn.Linear(16, 7)], (16,), 10)
    >>> [branch(torch.zeros(1, 16)).shape[-1] for branch in branches]
    [10, 10]
    """
    branches = []
    for number, expert in enumerate(experts):
        try:
            shape = output_shape(expert, input_shape)
        except ValueError as error:
            raise ValueError(f"expert {number}: {error}") from error
        if len(shape) != 1:
            raise ValueError(f"expert {number} returns samples of shape {shape}, but a vector is stitched: flatten it")
        like = next(expert.parameters(), None)
        stitch = Stitch(shape[0], out_features, init=init)
        stitch = stitch if like is None else stitch.to(device=like.device, dtype=like.dtype)
        branches.append(Sequential(freeze(expert) if freeze_experts else expert, stitch))
    if not branches:
        raise ValueError("there is no expert to stitch: give at least one module")
    return branches
