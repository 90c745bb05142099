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
    return torch.stack(y)


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
        return torch.einsum("kn,knc->nc", weights.T, out)
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
    return torch.einsum("kn,knc->nc", weights.T, out)


class _GroupedLinear(torch.autograd.Function):
    """One product a group, written in place: neither outputs nor gradients are stacked from parts."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, lengths: list[int]) -> Tensor:
        y = x.new_empty(len(x), weight.shape[1])
        for a, b, w in zip(x.split(lengths), y.split(lengths), weight.unbind(), strict=True):
            torch.mm(a, w.T, out=b)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, list[int]], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.lengths = inputs[2]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        groups = grad.contiguous().split(ctx.lengths)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.empty_like(x)
            for g, w, out in zip(groups, weight.unbind(), grad_x.split(ctx.lengths), strict=True):
                torch.mm(g, w, out=out)
        if ctx.needs_input_grad[1]:
            grad_weight = torch.empty_like(weight)
            for g, a, out in zip(groups, x.split(ctx.lengths), grad_weight.unbind(), strict=True):
                torch.mm(g.T, a, out=out)
        return grad_x, grad_weight, None


def grouped_linear(x: Tensor, weight: Tensor, lengths: list[int]) -> Tensor:
    """Multiply groups of rows, one below the other, by a matrix of their own each.

    Args:
        x: rows of group 0, then those of group 1, and so on.
        weight: a matrix for each group.
        lengths: how many rows each group has.

    Shapes:
        x: (M, I); weight: (E, O, I). Returns (M, O).

    >>> grouped_linear(torch.ones(3, 2), torch.tensor([[[1.0, 1.0]], [[2.0, 0.0]]]), [1, 2])
    tensor([[2.],
            [2.],
            [2.]])
    """
    if torch.is_autocast_enabled(x.device.type):
        low = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(low), weight.to(low)
    return _GroupedLinear.apply(x, weight, lengths)


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
        lengths = count.tolist()
        hidden = grouped_linear(x, self.gate_up, lengths)  # (M, 2F)
        if self.gate_up_bias is not None:
            hidden = hidden + self.gate_up_bias.repeat_interleave(count, dim=0, output_size=len(x))
        gate, up = hidden.chunk(2, dim=-1)
        hidden = F.dropout(F.silu(gate) * up, self.dropout, self.training)  # (M, F)
        y = grouped_linear(hidden, self.down, lengths)
        return y if self.down_bias is None else y + self.down_bias.repeat_interleave(count, dim=0, output_size=len(x))

    def every(self, x: Tensor) -> Tensor:
        """Apply every expert to every token: (N, C) -> (E, N, C)."""
        return self.batch(x.expand(len(self.down), *x.shape))

    def extra_repr(self) -> str:
        E, C, hidden = self.down.shape
        return f"num_experts={E}, embed_dim={C}, hidden_dim={hidden}, bias={self.down_bias is not None}"
