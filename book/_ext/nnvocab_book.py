"""What the book adds to Jupyter Book: pages filled from the registry, widgets without a kernel, light pages.

A line ``% nnvocab: api attention`` in a page is replaced by what the package says of itself; see ``FILL``. Nothing here
loads anything from another host.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import fill
from docutils import nodes
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
STATIC = Path(__file__).parent / "static"
VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"


def settings(app: Sphinx, config: Any) -> None:
    """The repository's address stands in pyproject.toml alone: the theme's buttons get it through the package."""
    from nnvocab import __version__
    from nnvocab.cards import repository

    config.html_theme_options["repository_url"] = repository()
    config.release = config.version = __version__
    config.mathjax_path = "mathjax/startup.js"


def own_files(app: Sphinx) -> None:
    """Serve the book's own files; added late, since Jupyter Book puts every script it knows of into every page."""
    modules = Path(app.outdir).parent / "widget_modules"
    write_modules(modules / "widgets")
    app.config.html_static_path += [str(STATIC), str(modules), str(ROOT / "assets/animations/rendered")]
    app.add_css_file("book.css", priority=900)
    app.add_js_file("book.js", loading_method="defer")


def write_modules(folder: Path) -> None:
    """One script a widget with its own text, and one with what they share: cached by pages, and loads from ``file://``."""
    from nnvocab import widgets
    from nnvocab.widgets.base import common_text

    folder.mkdir(parents=True, exist_ok=True)
    shared = common_text()
    texts = {"common": ("common", shared)}
    for cls in (getattr(widgets, name) for name in widgets.__all__):
        if "file" in vars(cls):
            texts[cls.file] = (f"{cls.__module__}.{cls.__qualname__}", str(cls._esm).removeprefix(shared))
    for file, (key, text) in texts.items():
        body = json.dumps(text).replace("</", "<\\/")
        script = f"(globalThis.nnvocabModules ??= {{}})[{json.dumps(key)}] = {body};\n"
        path = folder / f"{file}.js"
        if not path.exists() or path.read_text(encoding="utf-8") != script:
            path.write_text(script, encoding="utf-8")


def read_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the lines ``% nnvocab: what`` of a page."""
    source[0] = re.sub(
        r"^% nnvocab: (\w+)[ ]*(.*)$", lambda m: fill.FILL[m.group(1)](m.group(2).strip()), source[0], flags=re.M
    )


def filled_pages(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Pages that the registry fills are read again at every build."""
    return [
        d for d in env.found_docs if (p := Path(env.doc2path(d))).suffix == ".md" and "% nnvocab: " in p.read_text()
    ]


def describe_figures(app: Sphinx, doctree: nodes.document) -> None:
    """A figure's text alternative is the sentence beneath it; a heading answers to its full slug, digits in front too."""
    for section in doctree.findall(nodes.section):
        if (slug := section.get("slug")) and slug not in section["ids"]:
            section["ids"].append(slug)
    for image in doctree.findall(nodes.image):
        node: nodes.Node | None = image
        while node is not None and "cell" not in (node.get("classes", []) if isinstance(node, nodes.Element) else []):
            node = node.parent
        if node is None:
            continue
        image["classes"].append("nnvocab-figure")
        following = node.next_node(nodes.paragraph, descend=False, siblings=True, ascend=True)
        text = following.astext().replace("\n", " ") if following is not None else ""
        image["alt"] = text[:400] or "Figure drawn by the cell above"


def stills(notebook: Path) -> dict[str, str]:
    """The PNG of every widget of a notebook, by model."""
    found = {}
    if notebook.suffix == ".ipynb":
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                if VIEW in data and "image/png" in data:
                    found[data[VIEW]["model_id"]] = "".join(data["image/png"])
    return found


def finish_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Links of cards lead to pages of the site, and figures load when they come into view."""
    if body := context.get("body"):
        body = re.sub(r'(href="(?!https?:|file:)[^"#]*)\.(?:ipynb|md)(#[^"]*)?"', r'\1.html\2"', body)
        if page.count("/") == 1:  # cards write their links as seen from a chapter's page
            body = re.sub(r'href="\.\./((?:\w+/)?\w+\.html)', r'href="\1', body)
        context["body"] = body.replace("<img ", '<img loading="lazy" decoding="async" ')


def with_widgets(text: str, notebook: Path, out: Path, page: str) -> str:
    """The page's HTML with its widgets: stills where no script runs, and a host that fetches the rest when it is needed.

    The state of a page's widgets goes into a file of its own: who does not scroll to a figure does not load it.
    """
    found = re.search(rf'<script type="{re.escape(STATE)}">(.*?)</script>', text, flags=re.S)
    if not found:
        return text
    state = json.loads(found.group(1))["state"]
    ids = {m["state"]["_anywidget_id"] for m in state.values() if m["state"].pop("_esm", None) is not None}
    up, name = "../" * page.count("/"), page.replace("/", "-")
    files = ["common", *sorted(i.split(".")[-2] for i in ids)]
    (out / "_static" / "widgets" / f"state-{name}.js").write_text(
        f"globalThis.nnvocabState = {json.dumps(state, separators=(',', ':'))};\n", encoding="utf-8"
    )
    pictures = stills(notebook)

    def with_still(match: re.Match[str]) -> str:
        model = json.loads(match.group(1))["model_id"]
        if model not in pictures:
            return match.group(0)
        (out / "_images" / f"still-{model}.png").write_bytes(base64.b64decode(pictures[model]))
        image = f'<img src="{up}_images/still-{model}.png" alt="The widget, as a still picture">'
        return f"{match.group(0)}<noscript>{image}</noscript>"

    text = text.replace(found.group(0), "")
    text = re.sub(rf'<script type="{re.escape(VIEW)}">(.*?)</script>', with_still, text, flags=re.S)
    parts = " ".join(f"{up}_static/widgets/{f}.js" for f in [*files, f"state-{name}"])
    return text.replace("</body>", f'<script src="{up}_static/host.js" data-parts="{parts}"></script></body>')


def finish_site(app: Sphinx, error: Exception | None) -> None:
    """Once every page is written: widgets, names for what has none, and the theme's icons without their weight."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    (out / "_images").mkdir(exist_ok=True)

    def compact(match: re.Match[str]) -> str:
        """A picture as lossless WebP, half the bytes; with its size known, one far below waits until it is needed."""
        from PIL import Image

        png = out / "_images" / f"{match.group(2)}.png"
        with Image.open(png) as picture:
            width, height = picture.size
            if not png.with_suffix(".webp").exists():
                picture.convert("RGB").save(png.with_suffix(".webp"), lossless=True, method=6)
        return f'<img width="{width}" height="{height}" {match.group(1)}{match.group(2)}.webp"'

    for page in app.env.found_docs:
        path = out / f"{page}.html"
        if path.exists():
            text = path.read_text(encoding="utf-8")
            new = with_widgets(text, Path(app.env.doc2path(page)), out, page)
            new = re.sub(r'<img ([^>]*src="[^"]*_images/)([^"/]+)\.png"', compact, new)
            if new != text:
                path.write_text(new, encoding="utf-8")
    lighten_theme(out)


def lighten_theme(out: Path) -> None:
    """The theme's icons come as a script of 1.5 MB and fonts of 270 KB: keep the glyphs of the fonts that pages use."""
    used: set[str] = set()
    for path in out.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        used.update(re.findall(r"\bfa-[a-z0-9-]+", text))
        new = re.sub(r"\s*<script[^>]*scripts/fontawesome\.js[^>]*></script>", "", text)
        if path.name != "search.html":  # the index of all words is wanted where one searches, and grows with the book
            new = re.sub(r"\s*<script[^>]*(?:searchtools|language_data|searchindex)\.js[^>]*></script>", "", new)
        new = new.replace(
            '<summary><span class="toctree-toggle"', '<summary aria-label="Pages below"><span class="toctree-toggle"'
        )
        new = new.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        if new != text:
            path.write_text(new, encoding="utf-8")
    static = out / "_static"
    sheets = "".join(p.read_text(encoding="utf-8") for p in (static / "styles").glob("*.css"))
    scripts = "".join(p.read_text(encoding="utf-8") for p in (static / "scripts").glob("*theme.js"))
    used.update(re.findall(r"\bfa-[a-z0-9-]+", scripts))
    codes = set()
    for names, code in re.findall(r'((?:\.fa-[\w-]+:before,?)+)\{content:"\\([0-9a-f]+) ?"\}', sheets):
        if used & set(re.findall(r"fa-[\w-]+", names)):
            codes.add(code)
    codes.update(re.findall(r'--pst-icon[\w-]*:\s*"\\(f[0-9a-f]{3})"', sheets))
    codes.update(re.findall(r'content:\s*"\\(f[0-9a-f]{3})"', re.sub(r"\.fa-[^}]*\}", "", sheets)))
    for font in (static / "vendor" / "fontawesome" / "webfonts").glob("*.woff2"):
        keep_glyphs(font, [int(c, 16) for c in codes])


def keep_glyphs(font: Path, codes: list[int]) -> None:
    """Reduce a font to some of its characters, in place."""
    from fontTools import subset

    options = subset.Options(flavor="woff2", layout_features=[], notdef_outline=True)
    loaded = subset.load_font(str(font), options)
    small = subset.Subsetter(options)
    small.populate(unicodes=codes)
    small.subset(loaded)
    subset.save_font(loaded, str(font), options)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("config-inited", settings)
    app.connect("builder-inited", own_files)
    app.connect("source-read", read_page)
    app.connect("env-get-outdated", filled_pages)
    app.connect("doctree-read", describe_figures)
    app.connect("html-page-context", finish_page, priority=900)
    app.connect("build-finished", finish_site)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
