"""A picture of where an input lands in a pile of cubes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnvocab.som.map_quality import check_input
from nnvocab.style import MAGNITUDE, PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnvocab.som.stacked_map import Stacked3DSOM


@torch.no_grad()
def activation_figure(som: Stacked3DSOM, x: Tensor) -> Figure:
    """Draw the layers of the pile (above) and of the winning cube (below), coloured by distance to one input.

    Args:
        som: the map.
        x: one input, (C,).

    Raises:
        ValueError: if ``x`` is not one input that the map can take.
    """
    from matplotlib import pyplot as plt

    check_input(x, som.weight)
    found = som.locate(x[None])
    m, s = som.meta_size, som.cube_size
    apart = torch.linalg.vector_norm(x - som.weight, dim=-1).view(m**3, s, s, s).cpu().numpy()
    by_cube = apart.min((1, 2, 3)).reshape(m, m, m)
    (layer, row, column), within = found.meta[0].tolist(), found.within[0].tolist()
    figure = plt.figure(figsize=(9, 4.2), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.3, 1))
    for number, axes in enumerate(top.subplots(1, m, squeeze=False)[0]):
        axes.imshow(by_cube[number], cmap=MAGNITUDE, vmin=float(by_cube.min()), vmax=float(by_cube.max()))
        axes.set_title(f"layer {number + 1} of the pile", fontsize=9)
        for i in range(m):
            for j in range(m):
                light = by_cube[number, i, j] < (by_cube.min() + by_cube.max()) / 2
                axes.text(
                    j, i, number * m * m + i * m + j + 1, ha="center", va="center", color="white" if light else "black"
                )
        if number == layer:
            box = plt.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, ec=PALETTE["gradient"], lw=3)
            axes.add_patch(box)
        axes.set(xticks=[], yticks=[])
    cube = apart[int(found.cube) - 1]
    for number, axes in enumerate(bottom.subplots(1, s, squeeze=False)[0]):
        axes.imshow(cube[number], cmap=MAGNITUDE, vmin=float(cube.min()), vmax=float(cube.max()))
        axes.set_title(number, fontsize=9)
        if number == within[0]:
            axes.plot(within[2], within[1], "*", color=PALETTE["gradient"], ms=11)
        axes.set(xticks=[], yticks=[])
    figure.suptitle(
        f"It lands in cube {int(found.cube)}, unit {tuple(within)}, at distance {float(found.distance):.2f} "
        f"(darker is nearer; below: the layers of that cube)",
        fontsize=10,
    )
    return figure
