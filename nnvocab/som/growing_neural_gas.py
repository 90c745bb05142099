"""Growing neural gas: a graph of prototypes that grows where its error is largest."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.som.map_quality import check_input, check_inputs
from nnvocab.vocabulary import Example, entry


class Snapshot(NamedTuple):
    """The graph at one step: how many inputs it has seen, its prototypes (N, C) and its edges (E, 2)."""

    step: int
    weight: Tensor
    edges: Tensor


@entry(
    name="Growing neural gas",
    aliases=("GNG",),
    ids=("growing_neural_gas",),
    page="growing_neural_gas",
    kind="algorithm",
    paper="fritzke1995growing",
    related=("Self-organizing map",),
    example=lambda: Example(GrowingNeuralGas(3, max_units=6), (torch.randn(4, 3),)),
)
class GrowingNeuralGas(nn.Module):
    r"""Graph of prototypes that joins the two nearest to each input and grows where the error is largest.

    .. math::
        \begin{aligned}
        E_{s_1} &\leftarrow E_{s_1} + \lVert x - w_{s_1} \rVert^2 \\
        w_{s_1} &\leftarrow w_{s_1} + \varepsilon_b (x - w_{s_1}) \\
        w_n &\leftarrow w_n + \varepsilon_n (x - w_n) \quad \text{for } n \in \mathcal N(s_1)
        \end{aligned}

    with :math:`s_1, s_2` the nearest and second-nearest unit, which get an edge of age 0, :math:`\mathcal N` the units
    that share an edge, and :math:`E` the errors.

    Args:
        features: width C of an input.
        max_units: room for so many units N; it grows from 2 up to them.
        insert_every: :math:`\lambda`, inputs between two insertions.
        rate_winner: :math:`\varepsilon_b`.
        rate_neighbour: :math:`\varepsilon_n`.
        max_age: an edge that is older is removed, and so is a unit left without edges.
        split: the errors of both ends of a split edge are multiplied by it.
        error_decay: all errors are multiplied by it at every step.

    Shapes:
        x: (B, C). Returns the distance to the nearest unit and its number, both (B,).

    Notice:
        The graph is the result: it has the dimension that the data has there, and as many parts.
        ``weight`` has room for all units; ``alive`` says which exist, ``age`` is -1 where there is no edge.

    Raises:
        ValueError: if ``features`` or a number of steps is below 1, there is room for fewer than 2 units, or a rate or
            factor is not between 0 and 1.

    Source: Fritzke 1995, whose numbers are the defaults here.

    >>> gas = GrowingNeuralGas(features=2, max_units=20)
    >>> history = gas.fit(torch.rand(500, 2), steps=400, record_every=200)
    >>> [(shot.step, len(shot.weight)) for shot in history]
    [(0, 2), (200, 4), (400, 6)]
    """

    weight: Tensor
    age: Tensor
    error: Tensor
    alive: Tensor

    def __init__(
        self,
        features: int,
        max_units: int = 100,
        *,
        insert_every: int = 100,
        rate_winner: float = 0.2,
        rate_neighbour: float = 0.006,
        max_age: int = 50,
        split: float = 0.5,
        error_decay: float = 0.995,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("features", features, 1),
            ("max_units", max_units, 2),
            ("insert_every", insert_every, 1),
            ("max_age", max_age, 1),
        ):
            if value < least:
                raise ValueError(f"{name} is {value}, but must be {least} or more")
        for name, share in (
            ("rate_winner", rate_winner),
            ("rate_neighbour", rate_neighbour),
            ("split", split),
            ("error_decay", error_decay),
        ):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}, but must lie between 0 and 1")
        self.features, self.max_units, self.insert_every, self.max_age = features, max_units, insert_every, max_age
        self.rate_winner, self.rate_neighbour = rate_winner, rate_neighbour
        self.split, self.error_decay = split, error_decay
        self.register_buffer("weight", torch.rand(max_units, features))  # (N, C)
        self.register_buffer("age", torch.full((max_units, max_units), -1))  # (N, N), symmetric
        self.register_buffer("error", torch.zeros(max_units))
        self.register_buffer("alive", torch.arange(max_units) < 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        check_inputs(x, self.weight)
        apart = (x.unsqueeze(1) - self.weight).square().sum(-1)  # (B, N)
        unit = apart.masked_fill(self.alive.logical_not(), torch.inf).argmin(-1)  # (B,)
        return torch.linalg.vector_norm(x - F.embedding(unit, self.weight), dim=-1), unit

    @torch.no_grad()
    def adapt(self, x: Tensor) -> None:
        """Learn one input of shape (C,)."""
        check_input(x, self.weight)
        distance = (x - self.weight).square().sum(-1).masked_fill(~self.alive, torch.inf)  # (N,)
        nearest, (first, second) = distance.topk(2, largest=False)
        self.error[first] += nearest[0]
        row = self.age[first]
        near = row >= 0  # (N,): units that share an edge with the winner
        move = near.to(x.dtype) * self.rate_neighbour
        move[first] = self.rate_winner
        self.weight.addcmul_(move[:, None], x - self.weight)
        row = row + near.long()  # its edges age
        row[second] = 0
        row = torch.where(row > self.max_age, -1, row)
        self.age[first] = row
        self.age[:, first] = row
        self.alive &= (self.age >= 0).any(-1)
        self.error.mul_(self.error_decay).masked_fill_(~self.alive, 0.0)

    @torch.no_grad()
    def insert(self) -> bool:
        """Split the edge between the unit of largest error and its worst neighbour; false if there is no room.

        Raises:
            ValueError: if there is no edge yet.
        """
        if bool(self.alive.all()):
            return False
        worst = self.error.masked_fill(~self.alive, -1.0).argmax()
        if not bool((self.age[worst] >= 0).any()):
            raise ValueError("the graph has no edge to split: let it learn an input first, by adapt or fit")
        other = self.error.masked_fill(self.age[worst] < 0, -1.0).argmax()
        new = (~self.alive).long().argmax()
        self.weight[new] = (self.weight[worst] + self.weight[other]) / 2
        self.age[new] = -1
        for one, two, value in ((worst, other, -1), (worst, new, 0), (other, new, 0)):
            self.age[one, two] = value
            self.age[two, one] = value
        self.error[worst] *= self.split
        self.error[other] *= self.split
        self.error[new] = self.error[worst]
        self.alive[new] = True
        return True

    @torch.no_grad()
    def fit(
        self, x: Tensor, steps: int, *, record_every: int | None = None, generator: torch.Generator | None = None
    ) -> list[Snapshot]:
        """Start anew from two of the inputs and learn ``steps`` inputs, drawn at random.

        Args:
            x: (B, C).
            steps: how many inputs are drawn.
            record_every: keep the graph every so many steps, for an animation.
            generator: draws the inputs, on the CPU.

        Returns: the graphs that were kept, the first and the last one always.

        Raises:
            ValueError: if the inputs do not fit, all inputs are the same, or steps is below 1.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}, but must be 1 or more")
        check_inputs(x, self.weight, finite=True)
        if bool((x == x[0]).all()):
            raise ValueError(f"all {len(x)} rows of x are the same, but the first two units need two places")
        drawn = torch.randint(len(x), (steps + 2,), generator=generator).to(x.device)
        self.weight[:2] = x[drawn[:2]]
        self.age.fill_(-1)
        self.error.zero_()
        self.alive.copy_(torch.arange(self.max_units, device=x.device) < 2)
        history = [self.snapshot(0)]
        for step, row in enumerate(x[drawn[2:]], start=1):
            self.adapt(row)
            if step % self.insert_every == 0:
                self.insert()
            if step == steps or (record_every and step % record_every == 0):
                history.append(self.snapshot(step))
        return history

    def snapshot(self, step: int = 0) -> Snapshot:
        """The graph as it is: prototypes of the units that exist, and edges between them."""
        number = self.alive.long().cumsum(0) - 1  # old number -> new
        pairs = torch.nonzero((self.age >= 0).triu(1))  # (E, 2), each edge once
        return Snapshot(step, self.weight[self.alive].clone(), number[pairs])
