"""The self-organizing map: a lattice of prototypes that unfolds over the data."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.som import map_quality
from nnvocab.som.lattice import lattice_distance, lattice_positions, lattice_shape, neighbour_pairs
from nnvocab.som.map_quality import best_units, check_input, check_inputs
from nnvocab.som.nearest import nearest_units, origin_near
from nnvocab.som.schedule import check_neighbourhood, decay, first_and_last, gaussian_spread, neighbourhood
from nnvocab.som.winner_sums import sums_at, to_means, winner_sums, with_count
from nnvocab.vocabulary import Example, entry


def som_step(
    weight: Tensor, x: Tensor, positions: Tensor, rate: float, radius: float, kind: str = "gaussian"
) -> Tensor:
    r"""Take one online step: competition, cooperation, adaptation.

    .. math::
        b = \operatorname*{argmin}_i \lVert x - w_i \rVert,\qquad
        h_i = e^{-\lVert r_i - r_b \rVert^2 / 2\sigma^2},\qquad
        w_i \leftarrow w_i + \alpha\, h_i\, (x - w_i)

    Args:
        weight: prototypes :math:`w`.
        x: one input, not a batch.
        positions: places :math:`r` of the units on the lattice.
        rate: :math:`\alpha`, between 0 and 1.
        radius: :math:`\sigma`.
        kind: the neighbourhood function :math:`h`.

    Shapes:
        weight: (N, C); x: (C,); positions: (N, axes). Returns (N, C), the prototypes after the step.

    Raises:
        ValueError: if x is not one input of that width, or holds a number that is not finite.

    >>> som_step(torch.tensor([[0.0], [4.0]]), torch.tensor([1.0]), torch.tensor([[0.0], [1.0]]), 0.5, 1.0)
    tensor([[0.5000],
            [3.0902]])
    """
    check_input(x, weight)
    difference = x - weight  # (N, C)
    winner = difference.square().sum(-1).argmin()
    h = neighbourhood(torch.linalg.vector_norm(positions - positions[winner], dim=-1), radius, kind)  # (N,)
    return weight + rate * h[:, None] * difference


def som_batch_step(weight: Tensor, x: Tensor, positions: Tensor, radius: float, kind: str = "gaussian") -> Tensor:
    r"""Move every prototype to the mean of all inputs, each weighed by how near its winner is on the lattice.

    .. math::
        w_i \leftarrow \frac{\sum_x h(\lVert r_i - r_{b(x)} \rVert)\, x}{\sum_x h(\lVert r_i - r_{b(x)} \rVert)}

    Args:
        weight: prototypes.
        x: all inputs.
        positions: places of the units on the lattice.
        radius: of the neighbourhood.
        kind: "gaussian" or "bubble"; a mexican hat has no such mean, since its weights may sum to nothing.

    Shapes:
        weight: (N, C); x: (B, C); positions: (N, axes). Returns (N, C).

    Notice:
        There is no rate. A unit that no input reaches keeps its prototype. With a radius near 0 it is Lloyd's k-means.

    Source: Kohonen 2013, who recommends it over the online steps.
    """
    winners = nearest_units(x, weight)[:, 0]  # (B,)
    h = neighbourhood(lattice_distance(positions[winners], positions), radius, kind)  # (B, N)
    return to_means(h.mT @ with_count(x), weight)


def som_batch_step_fused(weight: Tensor, x: Tensor, positions: Tensor, radius: float, kind: str = "gaussian") -> Tensor:
    """The same step, with the inputs of each winner summed first: (N, N) weights instead of (B, N)."""
    h = neighbourhood(lattice_distance(positions, positions), radius, kind)  # (N, N)
    return to_means(h @ sums_at(nearest_units(x, weight)[:, 0], with_count(x), len(weight)), weight)


@entry(
    name="Self-organizing map",
    aliases=(
        "Kohonen map",
        "Kohonen network",
        "BMU",
        "best-matching unit",
        "competition-cooperation-adaptation",
        "Self-organizing map algorithm",
    ),
    ids=("kohonen_som", "self_organizing_map"),
    page="self_organizing_map",
    kind="model",
    paper="kohonen1982self",
    peer="minisom.MiniSom",
    related=("U-matrix", "Topographic error", "Growing neural gas"),
    example=lambda: Example(SOM((3, 4), 5), (torch.randn(2, 5),)),
)
class SOM(nn.Module):
    r"""Lattice of prototypes on which like inputs come to lie near each other.

    .. math::
        b(x) = \operatorname*{argmin}_i \lVert x - w_i \rVert,\qquad
        w_i \leftarrow w_i + \alpha(t)\; h\bigl(\lVert r_i - r_{b(x)} \rVert,\, \sigma(t)\bigr)\; (x - w_i)

    with :math:`w` the prototypes, :math:`r` the places of their units, :math:`\alpha` the rate and :math:`\sigma` the
    radius, both of which shrink.

    Args:
        shape: units along each of one to three axes, e.g. ``(20, 20)``; N is their product.
        features: width C of an input.
        topology: "rectangular" or "hexagonal".
        neighbourhood: "gaussian", "bubble" or "mexican_hat".
        generator: draws the first prototypes, uniform in [0, 1).

    Shapes:
        x: (B, C). Returns the distance to the best-matching unit, (B,), and its place on the lattice, (B, axes).

    Notice:
        ``weight`` (N, C), ``positions`` (N, axes), ``shape``, ``topology`` and ``neighbourhood`` are there to be read.
        Learning is no gradient descent: the prototypes are a buffer. The place comes from an argmin, which has no
        gradient; the distance has one.

    Raises:
        ValueError: if the shape, topology or neighbourhood does not exist, or ``features`` is below 1.

    Source: Kohonen 1982; batch training: Kohonen 2013.

    >>> som = SOM((20, 20), features=64)
    >>> distance, place = som(torch.zeros(7, 64))
    >>> distance.shape, place.shape
    (torch.Size([7]), torch.Size([7, 2]))
    """

    weight: Tensor
    positions: Tensor

    def __init__(
        self,
        shape: int | tuple[int, ...],
        features: int,
        *,
        topology: str = "rectangular",
        neighbourhood: str = "gaussian",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_neighbourhood(neighbourhood)
        if features < 1:
            raise ValueError(f"features is {features}, but an input has at least one")
        self.shape, self.features = lattice_shape(shape, topology), features
        self.topology, self.neighbourhood = topology, neighbourhood
        self.register_buffer("weight", torch.rand(math.prod(self.shape), features, generator=generator))
        self.register_buffer("positions", lattice_positions(self.shape, topology))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        check_inputs(x, self.weight)
        distance, unit = best_units(x, self.weight)
        return distance.squeeze(-1), F.embedding(unit.squeeze(-1), self.positions)

    @torch.no_grad()
    def init_weights(self, x: Tensor, method: str = "pca", *, generator: torch.Generator | None = None) -> None:
        """Start from the data: the plane of most variance ("pca"), some inputs ("sample"), or its range ("random").

        Raises:
            ValueError: if the method is unknown, the inputs do not fit, or "pca" has fewer features than axes.
        """
        check_inputs(x, self.weight, finite=True)
        if method == "sample":
            self.weight.copy_(x[torch.randint(len(x), self.weight.shape[:1], generator=generator, device=x.device)])
        elif method == "random":
            low, high = x.aminmax(dim=0)
            draw = torch.rand(self.weight.shape, generator=generator, device=x.device, dtype=x.dtype)
            self.weight.copy_(low + (high - low) * draw)
        elif method == "pca":
            axes = len(self.shape)
            if self.features < axes:
                raise ValueError(f"'pca' lays {axes} axes along as many features, but there are {self.features}")
            centred = (x - x.mean(0)).float()
            variance, direction = torch.linalg.eigh(centred.mT @ centred / len(x))  # ascending
            spread = direction[:, -axes:].flip(-1) * variance[-axes:].flip(-1).clamp_min(0).sqrt()  # (C, axes)
            span = self.positions.amax(0).clamp_min(1)
            place = self.positions.float() / span * 2 - 1  # (N, axes), from -1 to 1
            self.weight.copy_(x.mean(0) + (place @ spread.mT).to(x.dtype))
        else:
            raise ValueError(f"method is {method!r}, but must be one of ('pca', 'sample', 'random')")

    @torch.no_grad()
    def step(self, x: Tensor, rate: float, radius: float) -> None:
        """Learn one input of shape (C,): see ``som_step``."""
        self.weight.copy_(som_step(self.weight, x, self.positions, rate, radius, self.neighbourhood))

    @torch.no_grad()
    def fit_online(
        self,
        x: Tensor,
        steps: int,
        *,
        rate: tuple[float, float] = (0.5, 0.01),
        radius: tuple[float, float] | None = None,
        schedule: str = "exponential",
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Learn one input at a time, drawn at random.

        Args:
            x: (B, C).
            steps: how many inputs are drawn.
            rate, radius: the first and the last value; the radius goes from a quarter of the longest axis to 0.5 if
                none is given.
            schedule: how both decay: "exponential", "linear" or "inverse".
            generator: draws the inputs, on the CPU.

        Returns: the distance of each drawn input to its winner before the step, (steps,).

        Raises:
            TypeError: if the rate or the radius is one number.
            ValueError: if the inputs do not fit, a value is not above 0, steps is below 1 or the schedule is unknown.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}, but must be 1 or more")
        check_inputs(x, self.weight, finite=True)
        first, last = first_and_last("radius", radius or self.default_radius)
        rate = first_and_last("rate", rate)
        drawn = torch.randint(len(x), (steps,), generator=generator).to(x.device)
        trace = x.new_empty(steps)
        for t, row in enumerate(x[drawn]):
            difference = row - self.weight  # the lines of som_step, in place
            nearest, winner = difference.square().sum(-1).min(0)
            apart = torch.linalg.vector_norm(self.positions - self.positions[winner], dim=-1)
            h = neighbourhood(apart, decay(t, steps, first, last, schedule), self.neighbourhood)
            self.weight.addcmul_(h[:, None], difference, value=decay(t, steps, *rate, schedule))
            trace[t] = nearest
        return trace.sqrt()

    @torch.no_grad()
    def fit_batch(
        self,
        x: Tensor,
        epochs: int = 10,
        *,
        radius: tuple[float, float] | None = None,
        schedule: str = "exponential",
    ) -> None:
        """Learn from all inputs at once, ``epochs`` times; there is no rate.

        Args:
            x: (B, C).
            epochs: how many steps of ``som_batch_step``.
            radius: the first and the last value; a quarter of the longest axis to 0.5 if none is given.
            schedule: how it decays: "exponential", "linear" or "inverse".

        Raises:
            TypeError: if the radius is one number.
            ValueError: if the neighbourhood is a mexican hat, epochs is below 1, or the inputs do not fit.
        """
        if self.neighbourhood == "mexican_hat":
            raise ValueError("batch training divides by the sum of h, which a mexican hat can make 0: use fit_online")
        if epochs < 1:
            raise ValueError(f"epochs is {epochs}, but must be 1 or more")
        check_inputs(x, self.weight, finite=True)
        first, last = first_and_last("radius", radius or self.default_radius)
        product = self.topology == "rectangular" and self.neighbourhood == "gaussian"
        origin = origin_near(x)  # a mean moves with the origin, and near it no digits are lost
        x, weight = x - origin, self.weight - origin
        counted = with_count(x)
        for t in range(epochs):
            sigma = decay(t, epochs, first, last, schedule)
            if product:  # the same step, one axis of the lattice after the other
                weight = to_means(gaussian_spread(winner_sums(weight, counted), self.shape, sigma), weight)
            else:
                weight = som_batch_step_fused(weight, x, self.positions, sigma, self.neighbourhood)
        self.weight.copy_(weight + origin)

    @property
    def default_radius(self) -> tuple[float, float]:
        """From a quarter of the longest axis, at least 1, to 0.5."""
        return max(max(self.shape) / 4, 1.0), 0.5

    def u_matrix(self) -> Tensor:
        """Mean distance of each prototype to its neighbours', in the shape of the lattice."""
        pairs = neighbour_pairs(self.shape, self.topology, device=self.weight.device)
        return map_quality.u_matrix(self.weight, pairs).view(self.shape)

    def quantization_error(self, x: Tensor) -> Tensor:
        """Mean distance to the best-matching unit."""
        return map_quality.quantization_error(x, self.weight)

    def topographic_error(self, x: Tensor) -> Tensor:
        """Share of inputs whose two best units are not neighbours."""
        return map_quality.topographic_error(x, self.weight, self.positions, self.topology)
