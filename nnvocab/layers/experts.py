"""The experts of a mixture: feed-forward networks whose weights are stacked, and three ways to send tokens to them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.layers.expert_groups import SwiGLUGroups


def mix_experts(
    x: Tensor,
    experts: Tensor,
    weights: Tensor,
    gate: Tensor,
    up: Tensor,
    down: Tensor,
    *,
    capacity: int | None = None,
) -> Tensor:
    r"""Sum, for every token, over the experts that it was sent to, one token and one expert at a time.

    .. math::
        y_n = \sum_{j=1}^{k} w_{nj}\, E_{e(n,j)}(x_n), \qquad
        E_e(x) = W^{\mathrm{down}}_e \left(\operatorname{silu}(W^{\mathrm{gate}}_e x) \odot W^{\mathrm{up}}_e x\right)

    Args:
        x: tokens.
        experts: number of the expert that is token n's j-th choice; the choices of a token differ.
        weights: weight of that choice.
        gate, up, down: the three projections of each expert, stacked.
        capacity: how many tokens an expert takes; first choices are seated before second ones, each in the order of
            the tokens, and who finds no seat gets nothing from that expert. No limit if not given.

    Shapes:
        x: (N, C); experts and weights: (N, k); gate and up: (E, F, C); down: (E, C, F). Returns (N, C).
    """
    seated = [0] * len(down)
    y = [torch.zeros_like(token) for token in x]
    for j in range(experts.shape[1]):
        for n in range(len(x)):
            e = int(experts[n, j])
            if capacity is not None and seated[e] >= capacity:
                continue
            seated[e] += 1
            hidden = F.silu(gate[e] @ x[n]) * (up[e] @ x[n])  # (F,)
            y[n] = y[n] + weights[n, j] * (down[e] @ hidden)
    return torch.stack(y) if y else torch.zeros_like(x)


def mix_experts_grouped(
    x: Tensor,
    experts: Tensor,
    weights: Tensor,
    gate: Tensor,
    up: Tensor,
    down: Tensor,
    *,
    capacity: int | None = None,
) -> Tensor:
    """The same function, an expert at a time: tokens are sorted by expert, and each expert sees its group at once."""
    return dispatch(x, experts, weights, SwiGLUExperts.from_weights(gate, up, down), capacity=capacity)


def line_up(experts: Tensor, num_experts: int) -> tuple[Tensor, Tensor]:
    """Line the choices up before their experts.

    Returns:
        order: the choices (first choices of all tokens, then second ones, ...) sorted by expert, (k*N,).
        count: length of each expert's line, (E,).

    Shapes:
        experts: (N, k).
    """
    choice = experts.T.reshape(-1)  # (k*N,): all first choices come first
    count = torch.zeros(num_experts, dtype=torch.long, device=experts.device)
    return choice.argsort(stable=True), count.scatter_add_(0, choice, torch.ones_like(choice))


def seats(experts: Tensor, num_experts: int) -> tuple[Tensor, Tensor]:
    """Number the places in these lines: where each choice stands, from 0, (k*N,), and the length of each line, (E,)."""
    order, count = line_up(experts, num_experts)
    before = (count.cumsum(0) - count).gather(
        0, experts.T.reshape(-1).gather(0, order)
    )  # in the lines of other experts
    line = torch.arange(len(order), device=experts.device) - before
    return torch.empty_like(line).scatter_(0, order, line), count


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
    if capacity is None:
        order, count = line_up(experts, len(network.down))
        rows = x.index_select(0, order % N)  # (k*N, C): choice j*N + n belongs to token n
        back = torch.empty_like(order).scatter_(0, order, torch.arange(k * N, device=x.device))
        return _by_weight(network.groups(rows, count).index_select(0, back), weights)
    E = len(network.down)
    place, _ = seats(experts, E)
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
    return _by_weight(F.pad(out.flatten(0, 1), (0, 0, 0, 1)).index_select(0, seat), weights)


def _by_weight(out: Tensor, weights: Tensor) -> Tensor:
    """Sum each token's k outputs; row j*N + n is that of token n's j-th choice: (k*N, C) and (N, k) -> (N, C)."""
    parts = out.view(*weights.T.shape, out.shape[1]).unbind()
    shares = weights.T.unsqueeze(-1).unbind()  # k of (N, 1)
    y = parts[0] * shares[0]
    for part, share in zip(parts[1:], shares[1:], strict=True):
        y = y.addcmul(part, share)
    return y


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
        inside, outside = (num_experts, hidden_dim, embed_dim), (num_experts, embed_dim, hidden_dim)
        for name, shape in (("gate", inside), ("up", inside), ("down", outside)):
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
            self.register_parameter(f"{name}_bias", nn.Parameter(torch.empty(shape[:2])) if bias else None)
        self.reset_parameters()

    @classmethod
    def from_weights(cls, gate: Tensor, up: Tensor, down: Tensor) -> SwiGLUExperts:
        """Wrap stacked weights, without a copy: gradients reach the tensors that were given."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.dropout, made.gate_bias, made.up_bias, made.down_bias = 0.0, None, None, None
        made.__dict__.update(gate=gate, up=up, down=down)
        return made

    def reset_parameters(self) -> None:
        """Draw the weights as nn.Linear draws its own: uniform within 1 / sqrt(inputs)."""
        for weight, bias in ((self.gate, self.gate_bias), (self.up, self.up_bias), (self.down, self.down_bias)):
            bound = 1 / math.sqrt(weight.shape[2])
            nn.init.uniform_(weight, -bound, bound)
            if bias is not None:
                nn.init.uniform_(bias, -bound, bound)

    def batch(self, x: Tensor) -> Tensor:
        """Apply each expert to its own rows, in one batched product: (E, M, C) -> (E, M, C)."""
        gate, up = x @ self.gate.mT, x @ self.up.mT  # (E, M, F)
        if self.gate_bias is not None:
            gate, up = gate + self.gate_bias.unsqueeze(1), up + self.up_bias.unsqueeze(1)
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
        given = [x, self.gate, self.up, self.down, self.gate_bias, self.up_bias, self.down_bias, keep]
        if torch.is_autocast_enabled(x.device.type):
            low = torch.get_autocast_dtype(x.device.type)
            given = [None if t is None else t.to(low) for t in given]
        recorded = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given)
        return SwiGLUGroups.apply(*given, count.tolist(), recorded)[0]

    def every(self, x: Tensor) -> Tensor:
        """Apply every expert to every token: (N, C) -> (E, N, C)."""
        return self.batch(x.expand(len(self.down), *x.shape))

    def extra_repr(self) -> str:
        E, C, hidden = self.down.shape
        return f"num_experts={E}, embed_dim={C}, hidden_dim={hidden}, bias={self.down_bias is not None}"
