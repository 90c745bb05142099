"""Render the scenes: ``python assets/animations/render.py [chapter ...]`` -> ``rendered/<chapter>.mp4`` and a poster.

Readers never need manim: what it renders is stored. ``rendered/sources.json`` says from which source each was made.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
RENDERED = HERE / "rendered"


def source_hash(chapter: str) -> str:
    """The hash of a scene's code, helpers included; comments and line breaks do not count."""
    import scenes

    parts = [ast.unparse(ast.parse(inspect.getsource(p))) for p in (scenes.SCENES[chapter], scenes.words, scenes.grid)]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def render(chapter: str, folder: Path) -> tuple[Path, Path]:
    """Render one scene at 960 by 540, 24 frames a second; returns the video and the poster, which is its last frame."""
    import scenes
    from manim import tempconfig

    settings = {
        "pixel_width": 960,
        "pixel_height": 540,
        "frame_rate": 24,
        "media_dir": str(folder / "media"),
        "output_file": chapter,
        "disable_caching": True,
        "progress_bar": "none",
        "verbosity": "ERROR",
        "background_color": "#FFFFFF",
    }
    with tempconfig(settings):
        scene = scenes.SCENES[chapter]()
        scene.render()
        video = Path(scene.renderer.file_writer.movie_file_path)
        picture = scene.camera.get_image()
    out = folder / f"{chapter}.mp4"
    out.write_bytes(video.read_bytes())
    poster = folder / f"{chapter}.png"
    picture.convert("RGB").resize((960, 540)).quantize(64).save(poster, optimize=True)
    return out, poster


def main() -> int:
    """Render the scenes that are named, or all, and store them."""
    import scenes

    known = RENDERED / "sources.json"
    sources = json.loads(known.read_text()) if known.exists() else {}
    for chapter in sys.argv[1:] or scenes.SCENES:
        with tempfile.TemporaryDirectory() as folder:
            video, poster = render(chapter, Path(folder))
            (RENDERED / video.name).write_bytes(video.read_bytes())
            (RENDERED / poster.name).write_bytes(poster.read_bytes())
        sources[chapter] = source_hash(chapter)
        print(f"{chapter}: {(RENDERED / f'{chapter}.mp4').stat().st_size / 1000:.0f} KB")
    known.write_text(json.dumps(sources, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    raise SystemExit(main())
