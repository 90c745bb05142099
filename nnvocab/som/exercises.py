"""The exercises of the chapter on self-organizing maps: each judges an answer and hints at the usual mistakes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from nnvocab.exercises import array, exercise, number
from nnvocab.som.cube_neighbours import cube_neighbours
from nnvocab.som.lattice import lattice_positions, neighbour_pairs
from nnvocab.som.map_quality import u_matrix
from nnvocab.som.self_organizing_map import som_step
from nnvocab.som.soft_assignment import soft_assignment


@exercise("som/one-step", why="The middle unit wins; its neighbours move by half of exp(-1/2) of their way.")
def one_step(answer: Any) -> str | None:
    weight, x = torch.tensor([[0.0], [2.0], [6.0]]), torch.tensor([3.0])
    line = lattice_positions(3)
    right = som_step(weight, x, line, 0.5, 1.0).flatten()
    given = np.asarray(answer.detach() if hasattr(answer, "detach") else answer, dtype=float).ravel()
    mistakes = {
        "every unit moved by the full rate; how far do the winner's neighbours go?": weight + 0.5 * (x - weight),
        "only the winner moved; its neighbours learn too.": som_step(weight, x, line, 0.5, 0.01),
        "the exponent lacks its 2: it is d^2 / (2 sigma^2).": som_step(weight, x, line, 0.5, 0.5**0.5),
        "the neighbours moved by h alone; the rate multiplies it.": weight
        + torch.tensor([[math.exp(-0.5)], [0.5], [math.exp(-0.5)]]) * (x - weight),
    }
    for hint, wrong in mistakes.items():
        if given.shape == (3,) and np.allclose(given, wrong.flatten().numpy(), atol=1e-2):
            return hint
    return array(given, right, "find the winner, then h for lattice distances 1, 0, 1, then move.", tol=1e-2)


@exercise("som/u-matrix", why="The unit has two neighbours on the line, 1 and 4 away in the space of the data.")
def middle_of_u(answer: Any) -> str | None:
    right = float(u_matrix(torch.tensor([[0.0], [1.0], [5.0]]), neighbour_pairs(3))[1])
    return number(
        answer,
        right,
        {
            5: "that is the sum; the U-matrix takes the mean over the neighbours.",
            1: "that is the lattice distance; measure between the prototypes.",
            3: "that is the mean over all pairs of the map; take those at the middle unit alone.",
        },
        "take its two neighbours on the line, measure to both prototypes, take the mean.",
    )


@exercise("som/cube-neighbours", why="Cube 2 lies on an edge of the pile: 4 share a face, 5 an edge, 2 a corner.")
def neighbours_of_2(answer: Any) -> str | None:
    return number(
        answer,
        sum(len(kind) for kind in cube_neighbours(2)),
        {
            26: "that is for the cube in the middle; cube 2 lies at the border.",
            7: "that is for a cube in a corner of the pile; cube 2 lies between two corners.",
            17: "that is for the middle of a face of the pile; cube 2 lies on an edge.",
            4: "those share a face; edges and corners count too.",
            12: "count the neighbours, not the cube itself.",
        },
        "cube 2 is in the front layer, top row, middle column: how far can each coordinate go?",
    )


@exercise("som/map-bytes", why="27 cubes, 5 x 5 x 5 units in each, 64 numbers a unit, 4 bytes a number.")
def map_bytes(answer: Any) -> str | None:
    units, features, size = 27 * 5**3, 64, 4
    return number(
        answer,
        units * features * size,
        {
            units * features: "that counts numbers; how many bytes does a float32 take?",
            5**3 * features * size: "that is one cube; how many are there?",
            27 * 5**2 * features * size: "that cube is flat; it has three axes.",
            units * size: "that is one number a unit; a prototype is as wide as an input.",
        },
        "count cubes times units in a cube times features times bytes.",
    )


@exercise("som/gng-units", why="It starts with two, and ten times a hundred inputs have passed.")
def gng_units(answer: Any) -> str | None:
    start, inputs, every = 2, 1000, 100
    return number(
        answer,
        start + inputs // every,
        {
            inputs // every: "that counts the insertions; how many units are there before the first?",
            inputs // every + 1: "it starts with more than one unit: the first edge needs two ends.",
            inputs: "not every input brings a unit; see insert_every.",
        },
        "start from the first units and add one for every insert_every inputs.",
    )


@exercise("som/soft-share", why="The logits are -1/2 and -4/2; their softmax is the share.")
def soft_share(answer: Any) -> str | None:
    z, centres = torch.zeros(1, 1), torch.tensor([[1.0], [2.0]])

    def share(*given: Any) -> float:
        return float(soft_assignment(z, centres, *given)[0, 0])

    return number(
        answer,
        share(2.0, "squared"),
        {
            round(share(2.0, "euclidean"), 6): "that is with the plain distance; square it.",
            round(share(1.0, "squared"), 6): "that is with tau = 1; divide by 2 here.",
            round(share(4.0, "squared"), 6): "tau is divided by once, not twice: tau is 2, not sigma.",
            round(1 - share(2.0, "squared"), 6): "that is the share of the further centre.",
        },
        "squared distances 1 and 4, divided by tau, with a minus: then a softmax.",
        rel=5e-3,
    )
