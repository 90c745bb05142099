"""Pages that the package fills: the index of names, the API reference, the ledger of claims, the benchmarks."""

from __future__ import annotations

import inspect
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import yaml

import nnvocab
from nnvocab.cards import cite, repository
from nnvocab.vocabulary import slug

ROOT = Path(__file__).parents[2]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def vocabulary(_: str) -> str:
    """Every name and alias in alphabetical order, with the page that explains it and the code."""
    names: list[tuple[str, str]] = []
    for e in nnvocab.entries():
        link = f"[{e.name}](../{e.url.replace('.html', '.ipynb')})".replace("](../", "](")
        code = f"[`{e.object.__name__}`](api/{e.chapter}.md#{e.import_path})"
        names.append((e.name, f"- **{link}** · {e.chapter} · {e.kind} · {code}"))
        names += [(a, f"- {a} → {link}") for a in e.aliases]
    groups: dict[str, list[str]] = defaultdict(list)
    for name, line in sorted(names, key=lambda n: n[0].casefold()):
        first = name[0].upper()
        groups[first if first.isascii() and first.isalpha() else "0–9 and signs"].append(line)
    count = f"{len(nnvocab.entries())} entries, {len(names)} names."
    return "\n\n".join([count, *(f"## {letter}\n\n" + "\n".join(lines) for letter, lines in groups.items())])


def api(chapter: str) -> str:
    """The reference of a chapter: everything it exports, from the docstrings, each entry with a link to its page."""
    package = import_module(f"nnvocab.{chapter}")
    pages = {id(e.object): e for e in nnvocab.entries()}
    parts = []
    for name in sorted(package.__all__, key=str.casefold):
        thing = getattr(package, name)
        kind = "class" if inspect.isclass(thing) else "function" if callable(thing) else "data"
        if isinstance(thing, Mapping):
            parts.append(f"## {name}\n\nA mapping with the keys {', '.join(f'`{key}`' for key in thing)}.")
            continue
        lines = [f"## {name}", "", "```{eval-rst}", f".. auto{kind}:: nnvocab.{chapter}.{name}"]
        if kind == "class" and "forward" in vars(thing):
            lines.append("   :members: forward")
        lines.append("```")
        where = inspect.getmodule(thing)
        links = []
        if id(thing) in pages:
            e = pages[id(thing)]
            links.append(f"explained under [{e.name}](../{e.chapter}/{e.page}.ipynb#{e.slug})")
        if where and repository() and kind != "data":
            file = where.__name__.replace(".", "/") + ".py"
            links.append(f"code: [`{file}`]({repository()}/blob/main/{file})")
        if links:
            text = " · ".join(links)
            lines.append(text[0].upper() + text[1:] + "\n")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def chapter(name: str) -> str:
    """The pages of a chapter with the entries that each explains."""
    pages: dict[str, list[nnvocab.Entry]] = defaultdict(list)
    for e in nnvocab.entries(chapter=name):
        pages[e.page].append(e)
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    order = [s["file"] for part in toc["parts"] for c in part["chapters"] for s in c.get("sections", ())]
    parts = []
    for path in (p for p in order if p.startswith(f"book/{name}/") and (ROOT / f"{p}.ipynb").exists()):
        page = path.split("/")[-1]
        cells = json.loads((ROOT / f"{path}.ipynb").read_text(encoding="utf-8"))["cells"]
        words = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        title, *headings = re.findall(r"^#+ (.*)", words, flags=re.MULTILINE)
        place = {slug(heading): n for n, heading in enumerate(headings)}
        found = sorted(pages[page], key=lambda e: place.get(e.slug, len(place)))  # as they stand on the page
        lines = [f"- [{e.name}]({page}.ipynb#{e.slug}): {_plain(e.summary)}" for e in found]
        parts.append(f"## [{title}]({page}.ipynb)\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _plain(text: str) -> str:
    return re.sub(r":math:`(.*?)`", r"$\1$", text).replace("``", "`")


def animation(name: str) -> str:
    """A chapter's film with its poster and its words; it never plays by itself."""
    text = json.loads((ROOT / "assets/animations/rendered/words.json").read_text(encoding="utf-8"))[name]
    return (
        f'<figure class="nnvocab-film"><video controls preload="none" width="960" height="540" '
        f'poster="../../_static/{name}.png" aria-label="Animation: {text.split(".")[0]}">'
        f'<source src="../../_static/{name}.mp4" type="video/mp4"></video>'
        f"<figcaption><details><summary>What the film shows, in words</summary><p>{text}</p></details></figcaption></figure>"
    )


def numbers(_: str) -> str:
    """How much stands: counted, not typed."""
    found = nnvocab.entries()
    names = len(found) + sum(len(e.aliases) for e in found)
    return f"{len(found)} entries under {names} names, in {len(nnvocab.CHAPTERS)} chapters."


def claims(_: str) -> str:
    """The ledger: every claim that was looked into, and where it is settled."""
    ledger = yaml.safe_load((ROOT / "book" / "claims.yml").read_text(encoding="utf-8"))
    parts = []
    for chapter, items in ledger.items():
        rows = []
        for name, target in items.items():
            (kind, where), *_ = target.items()
            if kind == "page":
                page, _hash, anchor = where.partition("#")
                shown = f"[{anchor.replace('-', ' ') or page}]({page}.ipynb{'#' + anchor if anchor else ''})"
            elif kind == "test":
                file = where.split("::")[0]
                shown = f'[`{file.split("/")[-1]}`]({repository()}/blob/main/{file} "{where.split("::")[-1]}")'
            elif kind == "citation":
                shown = f"[{_cell(cite(where))}](references.md#{where})"
            else:
                shown = "concerns only the older notes' listing"
            words = re.sub(r"^e\d+_", "", name).replace("_", " ")  # an id would not break on a narrow screen
            rows.append(f"| {words} | {shown} |")
        parts.append(f"## {chapter}\n\n| claim | settled in |\n|---|---|\n" + "\n".join(rows))
    total = sum(len(items) for items in ledger.values())
    return f"{total} claims.\n\n" + "\n\n".join(parts)


def benchmarks(_: str) -> str:
    """The table of the last run, as it was stored."""
    data = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    head = (
        f"Measured on {data['date']}: {data['processor']}, {data['threads']} threads, PyTorch {data['torch']}, "
        f"Python {data['python']}. Medians; both sides called in turns; the ratio is the median of the pairwise ratios. "
        "Times and peaks are ours : theirs."
    )
    parts = [head]
    for chapter in dict.fromkeys(r["chapter"] for r in data["rows"]):
        cases: dict[tuple[str, str], list[dict]] = defaultdict(list)  # a case has a row for each mode: forward first
        for r in data["rows"]:
            if r["chapter"] == chapter:
                cases[r["name"], r["peer"]].append(r)
        rows = []
        for (name, peer), (first, *more) in cases.items():
            ratios = [f"**{r['ratio']:.3f}**" for r in (first, *more)]
            times = [f"{r['ours_ms']:.2f} : {r['peer_ms']:.2f}" for r in (first, *more)]
            rows.append(
                f"| {_cell(name)}<br>*{_cell(peer)}* | {' | '.join((ratios + ['–'])[:2])} | {first['goal']} | "
                f"{' | '.join((times + ['–'])[:2])} | {first['ours_peak_mib']:.0f} : {first['peer_peak_mib']:.0f} | "
                f"{first['runs']} |"
            )
        parts.append(
            f"## {chapter}\n\n| what, and *beside what* | ratio | with backward | goal | ms | ms with backward | "
            "peak MiB | runs |\n|---|--:|--:|--:|--:|--:|--:|--:|\n" + "\n".join(rows)
        )
    return "\n\n".join(parts)


FILL: dict[str, Callable[[str], str]] = {
    f.__name__: f for f in (vocabulary, chapter, animation, numbers, api, claims, benchmarks)
}
"""What a line ``% nnvocab: <name> <argument>`` of a page is replaced by."""
