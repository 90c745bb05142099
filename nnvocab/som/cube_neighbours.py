"""Which cubes of a 3x3x3 pile touch, and by what: a face, an edge or a corner."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nnvocab.som.lattice import lattice_positions
from nnvocab.vocabulary import Example, entry


class CubeNeighbours(NamedTuple):
    """Numbers of the cubes that share a face, only an edge, or only a corner with a cube."""

    face: tuple[int, ...]
    edge: tuple[int, ...]
    corner: tuple[int, ...]


def cube_neighbours(number: int, meta_size: int = 3) -> CubeNeighbours:
    r"""List the neighbours of a cube by what they share with it.

    .. math::
        \text{two cubes share a face, an edge or a corner if } \max_a |m_a - m'_a| = 1
        \text{ and } \textstyle\sum_a |m_a - m'_a| = 1,\ 2 \text{ or } 3

    Args:
        number: of the cube, from 1, counted along a row, then down the rows of a layer, then back through the layers.
        meta_size: cubes along each of the three axes.

    Raises:
        ValueError: if there is no cube of that number.

    >>> cube_neighbours(14).face
    (5, 11, 13, 15, 17, 23)
    >>> [len(kind) for kind in cube_neighbours(1)]
    [3, 3, 1]
    """
    if not 1 <= number <= meta_size**3:
        raise ValueError(f"number is {number}, but the cubes have numbers 1 to {meta_size**3}")
    apart = _steps(meta_size)[number - 1]
    return CubeNeighbours(*(tuple((torch.nonzero(apart == n).flatten() + 1).tolist()) for n in (1, 2, 3)))


@entry(
    name="Inter-cube connections",
    aliases=("Inter-cube connections of the 3x3x3 SOM", "face/edge/corner neighbours"),
    ids=("som_inter_cube_connections",),
    page="stacked_map",
    kind="algorithm",
    paper="kohonen1982self",
    evidence="speculative",
    peer="scipy.ndimage.generate_binary_structure",
    related=("Stacked 3D self-organizing map",),
    example=lambda: Example(
        propagate,
        (torch.rand(27, 2), torch.tensor([0.5, 0.25, 0.125])),
        skip={"batch_of_one": "the rows are the 27 cubes, not a batch"},
    ),
)
def propagate(update: Tensor, coupling: Tensor) -> Tensor:
    r"""Pass what each cube learns on to the cubes that touch it, by a weight for each kind of contact.

    .. math::
        y_m = \sum_{m'} K_{mm'}\, u_{m'},\qquad
        K_{mm'} = 1,\ k_{\text{face}},\ k_{\text{edge}},\ k_{\text{corner}} \text{ or } 0

    Args:
        update: what is learned, one row a cube, in the order of their numbers.
        coupling: the weights of a shared face, edge and corner.

    Shapes:
        update: (M, ...), M a cube number such as 27; coupling: (3,). Returns (M, ...).

    Notice:
        A cube in the middle has 6 + 12 + 8 neighbours, one in a corner 3 + 3 + 1: what is passed on is not the same.

    Raises:
        ValueError: if M is no cube number, or there are not three couplings.

    Source: this book; the text it follows names the connections without a rule. The couplings take the place of the
    neighbourhood function of Kohonen 1982.

    >>> one = torch.zeros(27, 1)
    >>> one[13] = 1.0
    >>> propagate(one, torch.tensor([0.5, 0.25, 0.125])).sum()
    tensor(8.)
    """
    kernel = coupling_kernel(round(len(update) ** (1 / 3)), coupling)
    if len(kernel) != len(update):
        raise ValueError(f"update has {len(update)} rows, but needs one for each cube: 8, 27, 64 ...")
    return (kernel @ update.reshape(len(update), -1)).reshape(update.shape)  # (M, M) @ (M, ...)


def coupling_kernel(meta_size: int, coupling: Tensor) -> Tensor:
    """Write the couplings as a matrix: 1 for a cube itself, a weight for each kind of contact, else 0.

    Args:
        meta_size: cubes along each axis.
        coupling: the weights of a shared face, edge and corner.

    Shapes:
        coupling: (3,). Returns (M, M), M = meta_size cubed.

    Raises:
        ValueError: if there are not three couplings.

    >>> coupling_kernel(2, torch.tensor([0.5, 0.25, 0.125]))[0]
    tensor([1.0000, 0.5000, 0.5000, 0.2500, 0.5000, 0.2500, 0.2500, 0.1250])
    """
    if coupling.shape != (3,):
        raise ValueError(
            f"coupling has shape {tuple(coupling.shape)}, but three weights are needed: face, edge, corner"
        )
    weights = torch.cat([coupling.new_zeros(1), coupling, coupling.new_ones(1)])  # far, face, edge, corner, itself
    return weights.take(_steps(meta_size, coupling.device))


def _steps(meta_size: int, device: torch.device | None = None) -> Tensor:
    """In how many coordinates two cubes differ: 1, 2, 3 if they touch; 0 if they are far apart, 4 if equal."""
    places = lattice_positions((meta_size,) * 3, device=device).long()
    apart = (places.unsqueeze(1) - places).abs()  # (M, M, 3)
    touch = apart.amax(-1) <= 1
    steps = torch.where(touch, apart.sum(-1), 0)
    return torch.where(apart.sum(-1) == 0, 4, steps)
