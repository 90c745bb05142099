"""The film of a graph that grows: one picture a graph, still until it is played, from no other host."""

import re

import pytest
import torch

from nnvocab.som import GrowingNeuralGas, growth_film


def a_film():
    x = torch.rand(80, 2, generator=torch.Generator().manual_seed(0))
    history = GrowingNeuralGas(2, 8, insert_every=20).fit(x, 100, record_every=25)
    return history, growth_film(history, x)


def test_it_has_a_picture_for_every_graph_with_its_edges_and_units():
    history, film = a_film()
    pictures = re.findall(r"<g .*?</g>", film._repr_html_())
    assert film.frames == len(pictures) == len(history) == 5
    for shot, picture in zip(history, pictures, strict=True):
        edges, units = re.findall(r'd="(.*?)"', picture)
        assert edges.count("L") == len(shot.edges) and units.count("M") == len(shot.weight)
        assert f"{shot.step:,} inputs: {len(shot.weight)} units, {len(shot.edges)} edges" in picture


def test_every_point_lies_within_the_picture_and_up_is_up():
    history, film = a_film()
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', film.html).groups())
    drawn = [tuple(map(int, pair)) for pair in re.findall(r"[ML](\d+) (\d+)", film.html)]
    assert all(0 <= a <= width and 0 <= b <= height for a, b in drawn)
    units = re.findall(r"<g .*?</g>", film.html)[-1].split("/>")[1]
    down = [int(b) for _, b in re.findall(r"M(\d+) (\d+)", units)]
    highest = history[-1].weight[:, 1].argmax().item()
    assert down[highest] == min(down)


def test_it_shows_the_last_graph_and_stands_still_until_it_is_asked():
    _, film = a_film()
    hidden = ["display:none" in g for g in re.findall(r"<g .*?>", film.html)]
    assert hidden == [True] * 4 + [False]
    assert "setInterval" in re.search(r'onclick="(.*?)"', film.html).group(1)
    assert film.html.count("setInterval") == 1 and "<script" not in film.html


def test_it_needs_no_other_host_and_every_control_has_a_name():
    _, film = a_film()
    assert "http" not in film.html and 'aria-label="graph"' in film.html and ">Play</button>" in film.html


def test_its_text_does_not_vary():
    assert repr(a_film()[1]) == "GrowthFilm(5 graphs)"


@pytest.mark.parametrize(
    ("history", "x"),
    [
        ([], torch.rand(5, 2)),
        (a_film()[0], torch.rand(5, 3)),
        (GrowingNeuralGas(3).fit(torch.rand(9, 3), 5), torch.rand(9, 2)),
    ],
)
def test_what_does_not_lie_in_the_plane_is_refused(history, x):
    with pytest.raises(ValueError, match="in the plane"):
        growth_film(history, x)
