"""The experts of a mixture: feed-forward networks whose weights are stacked, and three ways to send tokens to them."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def mix_experts(
    x: Tensor, experts: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor, *, capacity: int | None = None
) -> Tensor:
    r"""Sum, for every token, over the experts that it was sent to, one token and one expert at a time.

    .. math::
        y_n = \sum_{j=1}^{k} w_{nj}\, E_{e(n,j)}(x_n), \qquad
        E_e(x) = W^{\mathrm{down}}_e \left(\operatorname{silu}(W^{\mathrm{gate}}_e x) \odot W^{\mathrm{up}}_e x\right)

    Args:
        x: tokens.
        experts: number of the expert that is token n's j-th choice; the choices of a token differ.
        weights: weight of that choice.
        gate_up: for each expert the rows of its gate, and below them the rows of its up projection.
        down: for each expert its down projection.
        capacity: how many tokens an expert takes; first choices are seated before second ones, each in the order of
            the tokens, and who finds no seat gets nothing from that expert. No limit if not given.

    Shapes:
        x: (N, C); experts and weights: (N, k); gate_up: (E, 2F, C); down: (E, C, F). Returns (N, C).
    """
    seated = [0] * len(down)
    y = [torch.zeros_like(token) for token in x]
    for j in range(experts.shape[1]):
        for n in range(len(x)):
            e = int(experts[n, j])
            if capacity is not None and seated[e] >= capacity:
                continue
            seated[e] += 1
            gate, up = (gate_up[e] @ x[n]).chunk(2)  # (2F,) -> two of (F,)
            y[n] = y[n] + weights[n, j] * (down[e] @ (F.silu(gate) * up))
    return torch.stack(y) if y else torch.zeros_like(x)


def mix_experts_grouped(
    x: Tensor, experts: Tensor, weights: Tensor, gate_up: Tensor, down: Tensor, *, capacity: int | None = None
) -> Tensor:
    """The same function, an expert at a time: tokens are sorted by expert, and each expert sees its group at once."""
    return dispatch(x, experts, weights, SwiGLUExperts.from_weights(gate_up, down), capacity=capacity)


def seats(experts: Tensor, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Line the choices up before their experts: who stands where, and how many stand before each.

    Returns:
        order: the choices (first choices of all tokens, then second ones, ...) sorted by expert, (k*N,).
        place: where each choice stands in its expert's line, from 0, (k*N,).
        count: length of each line, (E,).

    Shapes:
        experts: (N, k).
    """
    choice = experts.T.reshape(-1)  # (k*N,): all first choices come first
    order = choice.argsort(stable=True)
    count = torch.zeros(num_experts, dtype=torch.long, device=experts.device).scatter_add_(
        0, choice, torch.ones_like(choice)
    )
    line = torch.arange(len(choice), device=experts.device) - (count.cumsum(0) - count).gather(
        0, choice.gather(0, order)
    )
    place = torch.empty_like(line).scatter_(0, order, line)
    return order, place, count


def dispatch(
    x: Tensor, experts: Tensor, weights: Tensor, network: SwiGLUExperts, *, capacity: int | None = None
) -> Tensor:
    """Send tokens to stacked experts in groups, and add what comes back by weight.

    Without a capacity, groups are as long as they come out, and their lengths are read back once. With a capacity,
    each expert has that many seats, empty ones too: all shapes are known beforehand, one batched product serves all
    experts, and nothing is read back.

    Shapes:
        x: (N, C); experts and weights: (N, k). Returns (N, C).
    """
    N, k = experts.shape
    order, place, count = seats(experts, len(network.down))
    if capacity is None:
        rows = x.index_select(0, order % N)  # (k*N, C): choice j*N + n belongs to token n
        back = torch.empty_like(order).scatter_(0, order, torch.arange(k * N, device=x.device))
        out = network.groups(rows, count).index_select(0, back).view(k, N, x.shape[1])
        return (weights.T.unsqueeze(-1) * out).sum(dim=0)
    E = len(network.down)
    choice = experts.T.reshape(-1)
    taken = place < capacity  # (k*N,)
    seat = torch.where(
        taken, choice * capacity + place, E * capacity
    )  # the last seat, of nobody, takes who is left out
    token = torch.arange(k * N, device=x.device) % N
    sitting = (
        torch.full((E * capacity + 1,), N, device=x.device).scatter_(0, seat, token).narrow(0, 0, E * capacity)
    )  # N: an empty seat
    out = network.batch(
        F.pad(x, (0, 0, 0, 1)).index_select(0, sitting).view(E, capacity, x.shape[1])
    )  # (E, capacity, C)
    out = F.pad(out.flatten(0, 1), (0, 0, 0, 1)).index_select(0, seat).view(k, N, x.shape[1])
    return (weights.T.unsqueeze(-1) * out).sum(dim=0)


class _SwiGLUGroups(torch.autograd.Function):
    """A group of rows after the other through its own expert, so that what lies between is still in the cache.

    Outputs and gradients are written in place, not stacked from parts; of what lies between, only the first product
    is kept for the way back, and that only if it is ``recorded``.
    """

    @staticmethod
    def forward(
        x: Tensor,
        gate_up: Tensor,
        down: Tensor,
        gate_up_bias: Tensor | None,
        down_bias: Tensor | None,
        keep: Tensor | None,
        lengths: list[int],
        recorded: bool,
    ) -> tuple[Tensor, Tensor]:
        y = x.new_empty(len(x), down.shape[1])
        hidden = x.new_empty(len(x) if recorded else max(lengths), gate_up.shape[1])
        start = 0
        for e, length in enumerate(lengths):
            inner = hidden.narrow(0, start if recorded else 0, length)  # (M_e, 2F)
            outer = y.narrow(0, start, length)  # (M_e, C)
            torch.mm(x.narrow(0, start, length), gate_up.select(0, e).T, out=inner)
            if gate_up_bias is not None:
                inner.add_(gate_up_bias.select(0, e))
            gate, up = inner.chunk(2, dim=-1)
            act = F.silu(gate).mul_(up)  # (M_e, F)
            if keep is not None:
                act.mul_(keep.narrow(0, start, length))
            torch.mm(act, down.select(0, e).T, out=outer)
            if down_bias is not None:
                outer.add_(down_bias.select(0, e))
            start += length
        return y, hidden

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        *given, ctx.lengths, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given, output[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 8
        *given, keep, hidden = ctx.saved_tensors
        x, gate_up, down = given[:3]
        grad, width = grad.contiguous(), down.shape[2]
        grads = [
            torch.empty_like(t) if t is not None and wanted else None
            for t, wanted in zip(given, ctx.needs_input_grad, strict=False)
        ]
        grad_x, grad_gate_up, grad_down, grad_gate_up_bias, grad_down_bias = grads
        start = 0
        for e, length in enumerate(ctx.lengths):
            rows, outer, inner = (t.narrow(0, start, length) for t in (x, grad, hidden))
            gate, up = inner.chunk(2, dim=-1)
            open_gate, back = F.silu(gate), outer @ down.select(0, e)  # (M_e, F)
            if keep is not None:
                back.mul_(keep.narrow(0, start, length))
            if grad_down is not None:
                act = open_gate * up
                if keep is not None:
                    act.mul_(keep.narrow(0, start, length))
                torch.mm(outer.T, act, out=grad_down.select(0, e))
            if grad_down_bias is not None:
                torch.sum(outer, dim=0, out=grad_down_bias.select(0, e))
            grad_inner = torch.empty_like(inner)  # (M_e, 2F)
            torch.mul(back, open_gate, out=grad_inner.narrow(1, width, width))
            torch.ops.aten.silu_backward(back.mul_(up), gate, grad_input=grad_inner.narrow(1, 0, width))
            if grad_gate_up is not None:
                torch.mm(grad_inner.T, rows, out=grad_gate_up.select(0, e))
            if grad_gate_up_bias is not None:
                torch.sum(grad_inner, dim=0, out=grad_gate_up_bias.select(0, e))
            if grad_x is not None:
                torch.mm(grad_inner, gate_up.select(0, e), out=grad_x.narrow(0, start, length))
            start += length
        return *grads, None, None, None


class SwiGLUExperts(nn.Module):
    r"""Feed-forward networks with a SwiGLU gate, E of them, whose weights are stacked along the first axis.

    .. math::
        E_e(x) = W^{\mathrm{down}}_e \left(\operatorname{silu}(W^{\mathrm{gate}}_e x) \odot W^{\mathrm{up}}_e x\right)

    Args:
        num_experts: how many experts E.
        embed_dim: width C of a token.
        hidden_dim: width F inside an expert.
        bias: add a bias after each projection.
        dropout: probability with which a hidden number is set to 0 while training (expert dropout).

    Raises:
        ValueError: if a size is below 1 or the dropout is no probability below 1.

    Source: Shazeer 2020, equation 6 (the gate); Fedus et al. 2022, section 2.4 (expert dropout).

    >>> SwiGLUExperts(4, 8, 16).batch(torch.zeros(4, 5, 8)).shape
    torch.Size([4, 5, 8])
    """

    def __init__(
        self, num_experts: int, embed_dim: int, hidden_dim: int, *, bias: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if min(num_experts, embed_dim, hidden_dim) < 1:
            raise ValueError(
                f"num_experts {num_experts}, embed_dim {embed_dim} and hidden_dim {hidden_dim} must be at least 1"
            )
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout is {dropout}, but must be a probability: at least 0 and below 1")
        self.dropout = dropout
        self.gate_up = nn.Parameter(torch.empty(num_experts, 2 * hidden_dim, embed_dim))
        self.down = nn.Parameter(torch.empty(num_experts, embed_dim, hidden_dim))
        self.gate_up_bias = nn.Parameter(torch.empty(num_experts, 2 * hidden_dim)) if bias else None
        self.down_bias = nn.Parameter(torch.empty(num_experts, embed_dim)) if bias else None
        self.reset_parameters()

    @classmethod
    def from_weights(cls, gate_up: Tensor, down: Tensor) -> SwiGLUExperts:
        """Wrap stacked weights, without a copy: gradients reach the tensors that were given."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.dropout, made.gate_up_bias, made.down_bias = 0.0, None, None
        made.__dict__.update(gate_up=gate_up, down=down)
        return made

    def reset_parameters(self) -> None:
        """Draw the weights as nn.Linear draws its own: uniform within 1 / sqrt(inputs)."""
        for weight, bias in ((self.gate_up, self.gate_up_bias), (self.down, self.down_bias)):
            bound = 1 / math.sqrt(weight.shape[2])
            nn.init.uniform_(weight, -bound, bound)
            if bias is not None:
                nn.init.uniform_(bias, -bound, bound)

    def batch(self, x: Tensor) -> Tensor:
        """Apply each expert to its own rows, in one batched product: (E, M, C) -> (E, M, C)."""
        hidden = x @ self.gate_up.mT  # (E, M, 2F)
        if self.gate_up_bias is not None:
            hidden = hidden + self.gate_up_bias.unsqueeze(1)
        gate, up = hidden.chunk(2, dim=-1)
        hidden = F.dropout(F.silu(gate) * up, self.dropout, self.training)  # (E, M, F)
        y = hidden @ self.down.mT
        return y if self.down_bias is None else y + self.down_bias.unsqueeze(1)

    def groups(self, x: Tensor, count: Tensor) -> Tensor:
        """Apply each expert to its own rows, groups of any length one below the other: (M, C) -> (M, C).

        Args:
            x: rows of expert 0, then those of expert 1, and so on.
            count: how many rows each expert has; they are read back.

        Shapes:
            x: (M, C); count: (E,), whole numbers that sum to M. Returns (M, C).
        """
        keep = None
        if self.training and self.dropout:
            keep = F.dropout(x.new_ones(len(x), self.down.shape[2]), self.dropout)
        given = [x, self.gate_up, self.down, self.gate_up_bias, self.down_bias, keep]
        if torch.is_autocast_enabled(x.device.type):
            low = torch.get_autocast_dtype(x.device.type)
            given = [None if t is None else t.to(low) for t in given]
        recorded = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
        return _SwiGLUGroups.apply(*given, count.tolist(), recorded)[0]

    def every(self, x: Tensor) -> Tensor:
        """Apply every expert to every token: (N, C) -> (E, N, C)."""
        return self.batch(x.expand(len(self.down), *x.shape))

    def extra_repr(self) -> str:
        E, C, hidden = self.down.shape
        return f"num_experts={E}, embed_dim={C}, hidden_dim={hidden}, bias={self.down_bias is not None}"
