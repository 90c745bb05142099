"""A pile of 3x3x3 cubes, each a self-organizing map of 11x11x11 units, with a choice of what 'near' means."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnvocab.som.activation_figure import activation_figure
from nnvocab.som.cube_neighbours import coupling_kernel
from nnvocab.som.lattice import lattice_positions
from nnvocab.som.map_quality import best_units, check_input, check_inputs
from nnvocab.som.nearest import nearest_units
from nnvocab.som.schedule import decay, first_and_last, gaussian_spread
from nnvocab.som.winner_sums import sums_at, to_means, with_count
from nnvocab.vocabulary import Example, entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LATTICES = ("physical", "product", "hierarchical")
"""What 'near' means: one block of 33x33x33, six coordinates side by side, or a cube first and a unit within it."""


class Activation(NamedTuple):
    """Where an input lands: the number of its cube (from 1), the cube's place, the unit's place in it, the distance."""

    cube: Tensor
    meta: Tensor
    within: Tensor
    distance: Tensor


@entry(
    name="Stacked 3D self-organizing map",
    aliases=("hierarchical 3D SOM", "Stacked 3D self-organizing map (11x11x11 SOMs in a 3x3x3 cube)"),
    ids=("stacked_3d_som",),
    page="stacked_map",
    kind="model",
    paper="kohonen1982self",
    evidence="speculative",
    peer="minisom.MiniSom",
    related=("Inter-cube connections", "Self-organizing map"),
    example=lambda: Example(Stacked3DSOM(2, 2, 4), (torch.randn(2, 4),)),
)
class Stacked3DSOM(nn.Module):
    r"""Map of ``meta_size`` cubed cubes of ``cube_size`` cubed units, whose lattice is one of three.

    .. math::
        \begin{aligned}
        h_{\text{physical}} &= e^{-\lVert p - p' \rVert^2 / 2\sigma^2}, \quad p = s\,m + c \\
        h_{\text{product}} &= e^{-(\omega \lVert m - m' \rVert^2 + \lVert c - c' \rVert^2) / 2\sigma^2} \\
        h_{\text{hierarchical}} &= K_{mm'}\, e^{-\lVert c - c' \rVert^2 / 2\sigma^2}
        \end{aligned}

    with :math:`m` the place of the cube, :math:`c` that of the unit in its cube, :math:`s` the size of a cube,
    :math:`\omega` the weight of the distance between cubes and :math:`K` the couplings of cubes that touch.

    Args:
        cube_size: units along each axis of a cube.
        meta_size: cubes along each axis of the pile.
        input_dim: width C of an input.
        lattice: "physical": one block, in which units on both sides of a face are neighbours; "product": six
            coordinates, in which equal places of adjoining cubes are neighbours; "hierarchical": the winner is found in
            two stages, first the cube whose mean prototype is nearest, then a unit in it, and cubes that touch learn by
            their coupling.
        cube_weight: :math:`\omega` of "product"; the larger, the more each cube is on its own.
        coupling: weights of a shared face, edge and corner in "hierarchical".
        generator: draws the first prototypes, uniform in [0, 1).

    Shapes:
        x: (B, C). Returns the distance to the winner, (B,), and its six coordinates (cube, then within), (B, 6).

    Notice:
        With its defaults it has 35,937 units and, at 1,000 inputs, 35,937,000 numbers; ``memory_bytes`` counts.
        All three neighbourhoods are products over axes, so a batch step never makes a matrix of units by units. Each
        input has one winner; its neighbours learn with it, but do not win.

    Raises:
        ValueError: if a size is below 1, the lattice does not exist, or a coupling or the cube's weight is below 0.

    Source: the pile of cubes is speculative, with no paper; the map itself is Kohonen 1982.

    >>> som = Stacked3DSOM(cube_size=4, meta_size=3, input_dim=5)
    >>> som.weight.shape, som(torch.zeros(2, 5))[1].shape
    (torch.Size([1728, 5]), torch.Size([2, 6]))
    """

    weight: Tensor
    places: Tensor
    coupling: Tensor

    def __init__(
        self,
        cube_size: int = 11,
        meta_size: int = 3,
        input_dim: int = 1000,
        *,
        lattice: str = "physical",
        cube_weight: float = 1.0,
        coupling: tuple[float, float, float] = (0.5, 0.25, 0.125),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, size in (("cube_size", cube_size), ("meta_size", meta_size), ("input_dim", input_dim)):
            if size < 1:
                raise ValueError(f"{name} is {size}, but must be 1 or more")
        if lattice not in LATTICES:
            raise ValueError(f"lattice is {lattice!r}, but must be one of {LATTICES}")
        if len(coupling) != 3 or min(*coupling, cube_weight) < 0:
            raise ValueError(
                f"coupling is {coupling} and cube_weight {cube_weight}, but three couplings (face, edge, corner) are "
                f"needed, and none of the four numbers may be below 0"
            )
        self.cube_size, self.meta_size, self.input_dim = cube_size, meta_size, input_dim
        self.lattice, self.cube_weight = lattice, cube_weight
        cubes, units = lattice_positions((meta_size,) * 3), lattice_positions((cube_size,) * 3)
        self.cubes, self.units = len(cubes), len(units)  # M and U; a unit's number is cube * U + place within
        six = torch.cat([cubes.repeat_interleave(len(units), 0), units.repeat(len(cubes), 1)], dim=-1)
        self.register_buffer("weight", torch.rand(len(six), input_dim, generator=generator))  # (M U, C)
        self.register_buffer("places", six)  # (M U, 6)
        self.register_buffer("coupling", torch.tensor(coupling))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        check_inputs(x, self.weight)
        distance, unit = self.winners(x)
        return distance, F.embedding(unit, self.places)

    def winners(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Find the distance and the number of each input's one winner, (B,) and (B,)."""
        if self.lattice != "hierarchical":
            distance, unit = best_units(x, self.weight)
            return distance.squeeze(-1), unit.squeeze(-1)
        by_cube = self.weight.view(self.cubes, self.units, -1)
        cube = nearest_units(x, by_cube.mean(1))  # (B, 1): stage one, among 27
        best = torch.cat([nearest_units(x, part) for part in by_cube], dim=-1)  # (B, M): stage two, in each
        unit = (cube * self.units + best.gather(-1, cube)).squeeze(-1)
        return torch.linalg.vector_norm(x - F.embedding(unit, self.weight), dim=-1), unit

    def neighbourhood(self, unit: int, radius: float) -> Tensor:
        """How much every unit learns when ``unit`` wins, (M U,): the equation above, written out."""
        difference = (self.places - self.places[unit]).square()
        between, within = difference[:, :3].sum(-1), difference[:, 3:].sum(-1)
        if self.lattice == "product":
            return torch.exp((self.cube_weight * between + within) / (-2 * radius**2))
        if self.lattice == "hierarchical":
            kernel = coupling_kernel(self.meta_size, self.coupling)[unit // self.units]  # (M,)
            return kernel.repeat_interleave(self.units) * torch.exp(within / (-2 * radius**2))
        block = self.places[:, :3] * self.cube_size + self.places[:, 3:]  # (M U, 3), from 0 to 32
        return torch.exp((block - block[unit]).square().sum(-1) / (-2 * radius**2))

    def spread(self, values: Tensor, radius: float) -> Tensor:
        """Sum values (M U, C) over the lattice by ``neighbourhood``, one axis after the other."""
        m, s = self.meta_size, self.cube_size
        if self.lattice == "product":
            radii = (radius / self.cube_weight**0.5 if self.cube_weight > 0 else math.inf,) * 3 + (radius,) * 3
            return gaussian_spread(values, (m,) * 3 + (s,) * 3, radii)
        if self.lattice == "hierarchical":
            by_cube = coupling_kernel(m, self.coupling) @ values.reshape(self.cubes, -1)  # (M, U C)
            radii = (0.0,) * 3 + (radius,) * 3
            return gaussian_spread(by_cube.reshape(values.shape), (m,) * 3 + (s,) * 3, radii)
        apart = values.view(m, m, m, s, s, s, -1).permute(0, 3, 1, 4, 2, 5, 6)  # a cube's axis beside its units' axis
        block = gaussian_spread(apart.reshape(values.shape), (m * s,) * 3, radius)
        return block.view(m, s, m, s, m, s, -1).permute(0, 2, 4, 1, 3, 5, 6).reshape(values.shape)

    @torch.no_grad()
    def step(self, x: Tensor, rate: float = 0.1, radius: float = 2.0) -> None:
        """Learn one input of shape (C,) online."""
        check_input(x, self.weight)
        h = self.neighbourhood(int(self.winners(x[None])[1]), radius)
        self.weight.addcmul_(h[:, None], x - self.weight, value=rate)

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        steps: int = 10,
        *,
        learning_rate: tuple[float, float] = (1.0, 1.0),
        radius: tuple[float, float] | None = None,
        schedule: str = "exponential",
    ) -> None:
        """Learn from all inputs at once, ``steps`` times.

        Args:
            x: (B, C).
            steps: how many batch steps.
            learning_rate: the share of the way to the new mean, first and last; both 1 is the plain batch algorithm.
            radius: first and last; a quarter of the longest axis (of a cube, or of the block if "physical") to 0.5.
            schedule: how both decay: "exponential", "linear" or "inverse".

        Raises:
            TypeError: if the learning rate or the radius is one number.
            ValueError: if the inputs do not fit, or steps is below 1.
        """
        if steps < 1:
            raise ValueError(f"steps is {steps}, but must be 1 or more")
        check_inputs(x, self.weight, finite=True)
        longest = self.cube_size * (self.meta_size if self.lattice == "physical" else 1)
        first, last = first_and_last("radius", radius or (max(longest / 4, 1.0), 0.5))
        learning_rate = first_and_last("learning_rate", learning_rate)
        counted = with_count(x)
        for t in range(steps):
            unit = self.winners(x)[1]
            sums = sums_at(unit, counted, len(self.weight))  # (M U, C + 1)
            mean = to_means(self.spread(sums, decay(t, steps, first, last, schedule)), self.weight)
            self.weight.lerp_(mean, decay(t, steps, *learning_rate, schedule))

    def locate(self, x: Tensor) -> Activation:
        """Say for each input which cube it lands in (1 to 27, and its place) and where within it."""
        distance, place = self(x)
        meta, within = place.long().split(3, dim=-1)
        number = (meta * meta.new_tensor([self.meta_size**2, self.meta_size, 1])).sum(-1) + 1
        return Activation(number, meta, within, distance)

    def visualize_activation(self, x: Tensor) -> Figure:
        """Draw which cube and which unit one input (C,) activates, and how near all the others are."""
        return activation_figure(self, x)

    def quantization_error(self, x: Tensor) -> Tensor:
        """Mean distance to the winner."""
        return self(x)[0].mean()

    def topographic_error(self, x: Tensor) -> Tensor:
        """Share of inputs whose two nearest units of all are more than 1 apart in a coordinate of the map's lattice.

        The coordinates are the three of the block if "physical", else all six.
        """
        check_inputs(x, self.weight)
        block = self.places[:, :3] * self.cube_size + self.places[:, 3:]
        place = block if self.lattice == "physical" else self.places
        best, second = nearest_units(x, self.weight, 2).unbind(-1)
        return 1 - ((place[best] - place[second]).abs().amax(-1) < 1.5).to(x.dtype).mean()

    @property
    def memory_bytes(self) -> int:
        """Bytes that the prototypes take."""
        return self.weight.numel() * self.weight.element_size()
