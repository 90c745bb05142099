"""How good a map is: quantization error, topographic error, and the U-matrix that shows its borders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnvocab.som.lattice import adjacent, lattice_positions, neighbour_pairs
from nnvocab.som.nearest import nearest_units
from nnvocab.vocabulary import Example, entry


def best_units(x: Tensor, weight: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    r"""Find the k units nearest to each input and how far they are, the best first.

    .. math::
        b(x) = \operatorname*{argmin}_i \lVert x - w_i \rVert
             = \operatorname*{argmin}_i \tfrac12 \lVert w_i \rVert^2 - w_i^{\top} x

    Args:
        x: inputs.
        weight: one prototype a unit.
        k: how many units for each input.

    Shapes:
        x: (B, C); weight: (N, C). Returns the distances and the numbers of the units, both (B, k).

    Notice:
        The matrix product of ``nearest_units`` only ranks. The distance to those found is then taken from differences, so
        that it does not suffer from the subtraction of large numbers.

    Raises:
        ValueError: if k is below 1, or there are fewer units.

    >>> best_units(torch.tensor([[0.9]]), torch.tensor([[0.0], [1.0], [3.0]]), 2)[1]
    tensor([[1, 0]])
    """
    units = nearest_units(x, weight, k)  # (B, k)
    chosen = F.embedding(units, weight)  # (B, k, C)
    return torch.linalg.vector_norm(x.unsqueeze(1) - chosen, dim=-1), units


@entry(
    name="Quantization error",
    aliases=("mean distance to the best-matching unit",),
    page="self_organizing_map",
    kind="function",
    paper="kohonen2013essentials",
    peer="minisom.MiniSom.quantization_error",
    related=("Self-organizing map", "Topographic error"),
    example=lambda: Example(
        quantization_error,
        (torch.randn(5, 3), torch.randn(6, 3)),
        skip={"batch_of_one": "it is a mean over the batch, so that one row has another value"},
    ),
)
def quantization_error(x: Tensor, weight: Tensor) -> Tensor:
    r"""Average the distance from each input to its best-matching unit.

    .. math::
        \mathrm{QE} = \frac1B \sum_{x} \lVert x - w_{b(x)} \rVert,
        \qquad b(x) = \operatorname*{argmin}_i \lVert x - w_i \rVert

    Args:
        x: inputs.
        weight: one prototype a unit.

    Shapes:
        x: (B, C); weight: (N, C). Returns ().

    Notice:
        It knows nothing of the lattice: shuffle the units and it stays. K-means with as many centres usually has less.

    Raises:
        ValueError: if ``x`` is not a batch of vectors as wide as the map's, or is empty.

    Source: Kohonen 2013.

    >>> quantization_error(torch.tensor([[1.0], [5.0]]), torch.tensor([[0.0], [3.0]]))
    tensor(1.5000)
    """
    check_inputs(x, weight)
    return best_units(x, weight)[0].mean()


@entry(
    name="Topographic error",
    aliases=("TE of a map",),
    page="self_organizing_map",
    kind="function",
    paper="kiviluoto1996topology",
    peer="minisom.MiniSom.topographic_error",
    related=("Self-organizing map", "Quantization error"),
    example=lambda: Example(
        topographic_error,
        (torch.randn(5, 3), torch.randn(6, 3), lattice_positions((2, 3))),
        skip={
            "batch_of_one": "it is a mean over the batch, and the map's units are not a batch",
            "gradcheck": "it counts, so it has no gradient",
        },
    ),
)
def topographic_error(x: Tensor, weight: Tensor, positions: Tensor, topology: str = "rectangular") -> Tensor:
    r"""Count the share of inputs whose best and second-best unit are not neighbours on the lattice.

    .. math::
        \mathrm{TE} = \frac1B \sum_x \bigl[\, r_{b_1(x)} \text{ and } r_{b_2(x)} \text{ are not adjacent} \,\bigr]

    Args:
        x: inputs.
        weight: one prototype a unit, N of them.
        positions: the units' places on the lattice.
        topology: "rectangular", where diagonal neighbours count, or "hexagonal".

    Shapes:
        x: (B, C); weight: (N, C); positions: (N, axes). Returns ().

    Notice:
        0 says that neighbours in the data are neighbours on the map; a map that was folded or torn has more.

    Raises:
        ValueError: if ``x`` is not a batch of vectors as wide as the map's or is empty, the map has one unit only, or
            there is not one place for each unit.

    Source: Kiviluoto 1996.

    >>> line = lattice_positions(3)
    >>> topographic_error(torch.tensor([[0.4]]), torch.tensor([[0.0], [9.0], [1.0]]), line)
    tensor(1.)
    """
    check_inputs(x, weight)
    if len(weight) < 2:
        raise ValueError("the map has 1 unit, but its topographic error compares the two best: it needs two or more")
    if positions.dim() != 2 or len(positions) != len(weight):
        raise ValueError(f"positions have shape {tuple(positions.shape)}, but {len(weight)} places are needed")
    best, second = best_units(x, weight, 2)[1].unbind(-1)
    return 1 - adjacent(F.embedding(best, positions), F.embedding(second, positions), topology).to(x.dtype).mean()


@entry(
    name="U-matrix",
    aliases=("unified distance matrix",),
    page="self_organizing_map",
    kind="function",
    paper="ultsch1990kohonen",
    peer="minisom.MiniSom.distance_map",
    related=("Self-organizing map",),
    example=lambda: Example(
        u_matrix,
        (torch.randn(6, 3), neighbour_pairs((2, 3))),
        skip={"batch_of_one": "the rows are a map's units, not a batch"},
    ),
)
def u_matrix(weight: Tensor, pairs: Tensor) -> Tensor:
    r"""Average, for every unit, the distance from its prototype to those of its neighbours on the lattice.

    .. math::
        U_i = \frac{1}{|\mathcal N(i)|} \sum_{j \in \mathcal N(i)} \lVert w_i - w_j \rVert

    Args:
        weight: one prototype a unit.
        pairs: the neighbours, as ``neighbour_pairs`` lists them.

    Shapes:
        weight: (N, C); pairs: (E, 2). Returns (N,).

    Notice:
        High values are ridges between clusters, low ones the valleys where a cluster lies.

    Source: Ultsch and Siemon 1990.

    >>> u_matrix(torch.tensor([[0.0], [1.0], [5.0]]), neighbour_pairs(3))
    tensor([1.0000, 2.5000, 4.0000])
    """
    one, two = pairs.unbind(-1)
    length = torch.linalg.vector_norm(F.embedding(one, weight) - F.embedding(two, weight), dim=-1)  # (E,)
    ends = torch.cat([one, two])
    total = length.new_zeros(len(weight)).index_add(0, ends, torch.cat([length, length]))
    count = length.new_zeros(len(weight)).index_add(0, ends, torch.ones_like(length).repeat(2))
    return total / count.clamp_min(1)


def check_input(x: Tensor, weight: Tensor) -> None:
    """Refuse what is not one input that a map with these prototypes can learn.

    Raises:
        ValueError: if ``x`` is not (C,), or holds a number that is not finite.
        TypeError: if ``x`` is not a floating-point tensor.
    """
    if isinstance(x, Tensor) and x.ndim != 1:
        raise ValueError(f"x has shape {tuple(x.shape)}, but one input of shape ({weight.shape[-1]},) is needed")
    check_inputs(x[None] if isinstance(x, Tensor) else x, weight, finite=True)


def check_inputs(x: Tensor, weight: Tensor, *, finite: bool = False) -> None:
    """Refuse inputs that a map with these prototypes cannot take.

    Args:
        x: what is given.
        weight: the map's prototypes, (N, C).
        finite: look at every number, too; that waits for the device, so it is asked for where a map learns.

    Raises:
        ValueError: if ``x`` is not (B, C), is empty, or holds a number that is not finite.
        TypeError: if ``x`` is not a floating-point tensor.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        given = f"of {x.dtype}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise TypeError(f"x is {given}, but must be a floating-point tensor: torch.as_tensor(x, dtype=torch.float32)")
    if x.ndim != 2 or x.shape[-1] != weight.shape[-1]:
        raise ValueError(f"x has shape {tuple(x.shape)}, but must be (batch, {weight.shape[-1]}), as wide as the map")
    if len(x) == 0:
        raise ValueError("x is empty, but must hold at least one row")
    if finite and not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).any(-1).sum())
        raise ValueError(
            f"{bad} of {len(x)} rows of x hold NaN or infinity: drop or mend them, e.g. x[x.isfinite().all(1)]"
        )
