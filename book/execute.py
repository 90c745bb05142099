"""Run notebooks and store what they show: ``python book/execute.py book/attention/fewer_keys.ipynb [more ...]``.

Without names it runs every notebook of the book. What is stored is the same at every run: no times, no addresses, the
state of the widgets included, images reduced to a palette. ``--refresh-widgets`` only puts the present front-end
modules into the stored state of the widgets, without running anything.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import os
import sys
from pathlib import Path

import nbformat

BOOK = Path(__file__).parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
MIME = "application/vnd.jupyter.widget-state+json"


def notebooks() -> list[Path]:
    """Every page of the book that is a notebook."""
    return sorted(p for p in BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def small_png(data: str) -> str:
    """The same picture with at most 256 colours: a third of the bytes."""
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    out = io.BytesIO()
    picture.quantize(colors=128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return base64.b64encode(out.getvalue()).decode()


def tidy(book: nbformat.NotebookNode) -> None:
    """Take out what differs from run to run and name cells and widgets by their place."""
    state = book.metadata.get("widgets", {}).get(MIME, {}).get("state", {})
    ours = {k: v for k, v in state.items() if "_esm" in v.get("state", {})}
    kept: dict[str, dict] = {}
    for number, cell in enumerate(book.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.source = cell.source.replace("    # %pip install", "    %pip install")
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in {"tags", "mystnb", "slideshow"}}
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = small_png(data["image/png"])
            view = data.get("application/vnd.jupyter.widget-view+json")
            if view and view["model_id"] in ours:
                model = ours[view["model_id"]]
                name = hashlib.sha1(f"{number}{model['state'].get('_anywidget_id')}".encode()).hexdigest()[:32]
                kept[name] = model
                view["model_id"] = name
    layouts = {k: v for k, v in state.items() if v.get("model_name") == "LayoutModel"}
    for number, model in enumerate(kept.values()):
        layout = model["state"].get("layout", "").removeprefix("IPY_MODEL_")
        if layout in layouts:
            name = hashlib.sha1(f"layout{number}".encode()).hexdigest()[:32]
            model["state"]["layout"] = f"IPY_MODEL_{name}"
            kept = {**kept, name: layouts[layout]}
    book.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    if kept:
        book.metadata["widgets"] = {MIME: {"state": kept, "version_major": 2, "version_minor": 0}}


def run(path: Path) -> float:
    """Execute a notebook in place; returns the seconds it took."""
    from time import perf_counter

    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    start = perf_counter()
    client = NotebookClient(
        book,
        timeout=300,
        kernel_name="python3",
        store_widget_state=True,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    tidy(book)
    nbformat.write(book, path)
    return perf_counter() - start


def refresh(path: Path) -> bool:
    """Put the present front-end modules into the stored widget state; returns whether anything changed."""
    from nnvocab.widgets.base import module_text

    book = nbformat.read(path, as_version=4)
    changed = False
    for model in book.metadata.get("widgets", {}).get(MIME, {}).get("state", {}).values():
        state = model["state"]
        if "_anywidget_id" in state:
            text = module_text(state["_anywidget_id"].split(".")[-2])
            changed |= state["_esm"] != text
            state["_esm"] = text
    if changed:
        nbformat.write(book, path)
    return changed


def main() -> int:
    """Run, or refresh, the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--refresh-widgets", action="store_true")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    for path in given.notebooks or notebooks():
        if given.refresh_widgets:
            print(f"{path}: {'refreshed' if refresh(path) else 'up to date'}", file=sys.stderr)
        else:
            print(f"{path}: {run(path):.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
