"""The stored animations are those of the present scenes, and can be rendered again where manim is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import nnvocab

FOLDER = Path(__file__).parents[2] / "assets" / "animations"
each = pytest.mark.parametrize("chapter", nnvocab.CHAPTERS)


@pytest.fixture(scope="module")
def render():
    pytest.importorskip("manim", reason="manim is not installed, so the stored animations are not rendered again")
    sys.path.insert(0, str(FOLDER))
    import render

    yield render
    sys.path.remove(str(FOLDER))


@each
def test_has_video_poster_and_words(chapter):
    assert (FOLDER / "rendered" / f"{chapter}.mp4").stat().st_size < 1_000_000
    assert (FOLDER / "rendered" / f"{chapter}.png").stat().st_size < 100_000
    words = json.loads((FOLDER / "rendered" / "words.json").read_text())[chapter]
    assert len(words.split()) >= 25


@each
def test_stored_video_is_of_the_present_scene(chapter, render):
    stored = json.loads((FOLDER / "rendered" / "sources.json").read_text())
    assert stored[chapter] == render.source_hash(chapter), f"run `make animations SCENE={chapter}`"


@each
def test_renders_again_to_the_same_film(chapter, render, tmp_path):
    import av
    import numpy as np
    from PIL import Image

    video, poster = render.render(chapter, tmp_path)

    def seconds(path):
        with av.open(str(path)) as film:
            return film.duration / av.time_base

    assert seconds(video) == pytest.approx(seconds(FOLDER / "rendered" / f"{chapter}.mp4"), abs=0.2)
    new, old = (np.asarray(Image.open(p).convert("L"), float) for p in (poster, FOLDER / "rendered" / f"{chapter}.png"))
    assert np.abs(new - old).mean() < 6
