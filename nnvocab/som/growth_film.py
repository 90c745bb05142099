"""A film of a graph that grows: every kept graph over the data, with a slider and a button to play it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnvocab.style import PALETTE

if TYPE_CHECKING:
    from nnvocab.som.growing_neural_gas import Snapshot

WIDTH = 640
"""Width of the picture in its own units; on the page it is as wide as there is room."""

SHOW = (
    "const f=this.closest('figure'),n=+f.querySelector('input').value;"
    "f.querySelectorAll('g').forEach((g,i)=>g.style.display=i===n?'':'none');"
    "f.querySelector('output').textContent=f.querySelectorAll('g')[n].dataset.words"
)
PLAY = (
    "const f=this.closest('figure'),r=f.querySelector('input'),b=this;"
    "if(f.timer){clearInterval(f.timer);f.timer=0;b.textContent='Play';return}"
    "if(r.value===r.max)r.value=0;b.textContent='Stop';"
    "f.timer=setInterval(()=>{if(r.value===r.max){b.click();return}"
    "r.value=+r.value+1;r.dispatchEvent(new Event('input'))},400)"
)


@dataclass(frozen=True)
class GrowthFilm:
    """What ``growth_film`` returns: it shows itself in a notebook and on a page, without a kernel."""

    html: str
    frames: int

    def __repr__(self) -> str:
        return f"GrowthFilm({self.frames} graphs)"

    def _repr_html_(self) -> str:
        return self.html


def growth_film(history: Sequence[Snapshot], x: Tensor) -> GrowthFilm:
    """Draw every graph of a history over the data; a slider goes through them, a button plays them.

    Args:
        history: graphs, as ``GrowingNeuralGas.fit`` returns them.
        x: the points that were learned, drawn beneath.

    Shapes:
        x: (B, 2). Every graph is of two features.

    Notice:
        Nothing moves until it is asked to. The slider works by keyboard, too.

    Raises:
        ValueError: if there is no graph, or the points or a graph are not in the plane.

    >>> from nnvocab.som import GrowingNeuralGas
    >>> growth_film(GrowingNeuralGas(2).fit(torch.rand(50, 2), 200, record_every=100), torch.rand(50, 2))
    GrowthFilm(3 graphs)
    """
    if not history or x.dim() != 2 or any(t.shape[-1] != 2 for t in (x, *(shot.weight for shot in history))):
        raise ValueError(
            f"{len(history)} graphs over points of shape {tuple(x.shape)} are given, but the film needs at least one "
            f"graph, and points (B, 2) in the plane"
        )
    low, high = torch.cat([x, *(shot.weight for shot in history)]).aminmax(dim=0)
    scale = (WIDTH - 20) / float((high - low).clamp_min(1e-9).max())
    height = round(float(high[1] - low[1]) * scale) + 20

    def place(points: Tensor) -> list[str]:
        across, up = ((points - low) * scale + 10).unbind(-1)
        return [f"{a:.0f} {height - b:.0f}" for a, b in zip(across.tolist(), up.tolist(), strict=True)]

    def dots(points: Tensor, colour: str, size: int) -> str:
        path = "".join(f"M{p}h0" for p in place(points))
        return f'<path d="{path}" stroke="{colour}" stroke-width="{size}" stroke-linecap="round" fill="none"/>'

    frames = []
    for number, shot in enumerate(history):
        at = place(shot.weight)
        path = "".join(f"M{at[a]}L{at[b]}" for a, b in shot.edges.tolist())
        words = f"{shot.step:,} inputs: {len(shot.weight)} units, {len(shot.edges)} edges"
        hidden = "" if number == len(history) - 1 else ' style="display:none"'
        lines = f'<path d="{path}" stroke="{PALETTE["weight"]}" stroke-width="2" fill="none"/>'
        frames.append(f'<g data-words="{words}"{hidden}>{lines}{dots(shot.weight, PALETTE["weight"], 7)}</g>')
    last = len(history) - 1
    return GrowthFilm(
        '<figure class="nnvocab-film" style="margin:0;max-width:46rem">'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="A graph that grows over points" '
        'style="width:100%;background:#fff;border-radius:6px">'
        f"{dots(x, PALETTE['second'], 3)}{''.join(frames)}</svg>"
        f'<div style="display:flex;gap:.6em;align-items:center;flex-wrap:wrap;margin-top:.5em">'
        f'<button type="button" style="min-width:4em;padding:.3em .6em;border:1px solid;border-radius:6px" onclick="{PLAY}">Play</button>'
        f'<input type="range" min="0" max="{last}" value="{last}" aria-label="graph" style="flex:1;min-width:9em" '
        f'oninput="{SHOW}"><output style="min-width:17em">{words}</output></div></figure>',
        len(history),
    )
