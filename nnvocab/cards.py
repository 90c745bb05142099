"""What an entry shows of itself: the card (``nnvocab.show``) and the code (``nnvocab.source``)."""

from __future__ import annotations

import html
import inspect
import re
import textwrap
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata, resources
from typing import Any

from nnvocab.vocabulary import Entry, find

SECTIONS = ("Args", "Shapes", "Notice", "Raises", "Returns", "Source")

_CSS = """<style>
.nnvocab-card{border:1px solid color-mix(in srgb,currentColor 25%,transparent);border-radius:8px;padding:.8em 1.1em;
margin:.4em 0;line-height:1.45;background:transparent;color:inherit}
.nnvocab-card dl{display:grid;grid-template-columns:6.5em minmax(0,1fr);gap:.15em .8em;margin:.4em 0 0}
.nnvocab-card dt{font-weight:600;opacity:.85}.nnvocab-card dd{margin:0;overflow-wrap:anywhere}
.nnvocab-card code{background:none;border:0;color:inherit;padding:0;font-size:.92em}
.nnvocab-card .top{display:flex;flex-wrap:wrap;gap:.4em .8em;align-items:baseline}
.nnvocab-card .top b{font-size:1.08em}.nnvocab-card .tag{font-size:.85em;border:1px solid currentColor;
border-radius:99px;padding:0 .6em}.nnvocab-card .eq{overflow-x:auto}.nnvocab-card p{margin:.4em 0}
.nnvocab-source pre{overflow-x:auto;padding:.7em 1em;border-radius:8px;line-height:1.4;font-size:.88em;margin:.2em 0;
border:1px solid color-mix(in srgb,currentColor 20%,transparent);background:#f6f8fa;color:#1f2328}
.nnvocab-source .where{font-size:.88em;opacity:.85}
</style>"""


@dataclass(frozen=True)
class Doc:
    """A docstring in its parts: summary, equation (TeX), and the sections by title."""

    summary: str
    equation: str
    sections: dict[str, str]


def read_doc(thing: Any) -> Doc:
    """Split the docstring of a class or function as habit 3 of the code lays it out."""
    text = inspect.getdoc(thing) or ""
    math = re.search(r"\.\. math::\n+((?:[ \t]+.*\n?|\n)+)", text)
    sections = {}
    for title in SECTIONS:
        found = re.search(rf"^{title}:[ ]*(.*(?:\n(?:[ \t]+.*|[ \t]*$))*(?:\n\S.*)*?)(?=\n\s*\n|\Z)", text, re.M)
        if found:
            first, _, rest = found.group(1).partition("\n")
            sections[title] = (first + "\n" + textwrap.dedent(rest)).strip()
    return Doc(
        text.split("\n\n")[0].replace("\n", " "), textwrap.dedent(math.group(1)).strip() if math else "", sections
    )


@dataclass(frozen=True)
class _Named:
    """A default that is a function, shown by its name and not by its address."""

    function: Any

    def __repr__(self) -> str:
        return self.function.__name__


def signature(thing: Any) -> str:
    """``GroupedQueryAttention(embed_dim, num_heads, num_kv_heads, *, causal=False)``."""
    shown = inspect.signature(thing)
    bare = [
        p.replace(
            annotation=inspect.Parameter.empty, default=_Named(p.default) if inspect.isroutine(p.default) else p.default
        )
        for p in shown.parameters.values()
    ]
    return thing.__name__ + str(shown.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def repository() -> str:
    """The repository's address, read from the package's metadata."""
    try:
        for line in metadata.metadata("nnvocab").get_all("Project-URL") or ():
            label, _, address = line.partition(", ")
            if label == "Repository":
                return address.rstrip("/")
    except metadata.PackageNotFoundError:
        pass
    return ""


@lru_cache(maxsize=1)
def references() -> dict[str, dict[str, str]]:
    """The bibliography by key: the fields of each record of ``references.bib`` in plain text."""
    text = (resources.files("nnvocab") / "references.bib").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = {}
    for kind, key, body in re.findall(r"^@(\w+)\{([^,\s]+),\n(.*?)^\}", text, re.M | re.S):
        fields = {
            k.lower(): re.sub(r"[{}]", "", v).strip()
            for k, v in re.findall(r"^\s*(\w+)\s*=\s*\{(.*)\},?\s*$", body, re.M)
        }
        found[key] = {"kind": kind.lower(), **fields}
    return found


def cite(key: str) -> str:
    """``ainslie2023gqa`` -> ``Ainslie et al. 2023, GQA: Training Generalized ...``.

    Raises:
        KeyError: if ``references.bib`` has no such key.
    """
    if key not in references():
        raise KeyError(f"references.bib has no key {key!r}: add the record there")
    book = references()[key]
    last = [
        name.split(",")[0].strip() if "," in name else name.split()[-1]
        for name in book.get("author", "").split(" and ")
    ]
    who = last[0] if len(last) == 1 else f"{last[0]} and {last[1]}" if len(last) == 2 else f"{last[0]} et al."
    return f"{who} {book.get('year', '')}, {book.get('title', '')}"


@dataclass(frozen=True)
class Card:
    """The card of an entry: rich in a notebook, plain in a terminal."""

    entry: Entry

    def rows(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Label and (text, address) pairs, the same for both forms."""
        e, doc = self.entry, read_doc(self.entry.object)
        up = f"../{e.chapter}/{e.page}.ipynb#{e.slug}"
        rows: list[tuple[str, list[tuple[str, str]]]] = [
            ("import", [(e.import_path, f"../api/{e.chapter}.md#{e.import_path}")])
        ]
        rows.append(("call", [(signature(e.object), "")]))
        if "Shapes" in doc.sections:
            shapes = re.sub(r"\s+", " ", doc.sections["Shapes"]).replace("``", "")
            rows.append(("shapes", [(shapes, "")]))
        if e.paper:
            rows.append(("paper", [(cite(e.paper), f"../references.md#{e.paper}")]))
        if e.peer:
            rows.append(("checked with", [(e.peer, "")]))
        base = repository() + "/blob/main/" if repository() else ""
        rows.append(("code, test", [(e.code, base + e.code if base else ""), (e.test, base + e.test if base else "")]))
        near = [find(name) for name in e.related]
        rows.append(("page", [(e.name, up)]))
        if near:
            rows.append(("near it", [(n.name, f"../{n.chapter}/{n.page}.ipynb#{n.slug}") for n in near]))
        return rows

    def __repr__(self) -> str:
        e, doc = self.entry, read_doc(self.entry.object)
        also = f"  (also: {', '.join(e.aliases)})" if e.aliases else ""
        lines = [
            f"{e.name}{also}",
            f"{e.kind}, {e.evidence}",
            "",
            *textwrap.wrap(doc.summary.replace("``", ""), 88),
            "",
        ]
        if doc.equation:
            lines += [textwrap.indent(doc.equation, "    "), ""]
        for label, parts in self.rows():
            body = ", ".join(text for text, _ in parts)
            lines += textwrap.wrap(body, 88, initial_indent=f"{label:<14}", subsequent_indent=" " * 14)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        e, doc = self.entry, read_doc(self.entry.object)
        also = f"<span>also: {html.escape(', '.join(e.aliases))}</span>" if e.aliases else ""
        top = (
            f'<div class="top"><b>{html.escape(e.name)}</b><span class="tag">{e.kind}</span>'
            f'<span class="tag">{e.evidence}</span>{also}</div>'
        )
        summary = re.sub(r":math:`(.*?)`", r"\\(\1\\)", html.escape(doc.summary))
        summary = re.sub(r"``(.*?)``", r"<code>\1</code>", summary)
        equation = (
            f'<div class="eq mathjax_process">$${html.escape(_one_line(doc.equation))}$$</div>' if doc.equation else ""
        )

        def part(text: str, address: str) -> str:
            shown = html.escape(text)
            shown = f"<code>{shown}</code>" if re.match(r"[\w.]+[.(/]\S", text) or text.endswith(".py") else shown
            return f'<a href="{html.escape(address)}">{shown}</a>' if address else shown

        rows = "".join(f"<dt>{label}</dt><dd>{', '.join(part(*p) for p in parts)}</dd>" for label, parts in self.rows())
        return f'{_CSS}<div class="nnvocab-card mathjax_process">{top}<p>{summary}</p>{equation}<dl>{rows}</dl></div>'


def _one_line(tex: str) -> str:
    lines = [line for line in tex.splitlines() if line.strip()]
    return " ".join(line.strip() for line in lines)


def show(x: str | Any) -> Card:
    """Show the card of an entry: what it is, its equation, shapes, paper, code, test, and what is near it.

    Args:
        x: a name, alias or id; an ``Entry``; or the class, function or module itself.

    Raises:
        KeyError: if there is no such entry; the message names the nearest.
    """
    return Card(x if isinstance(x, Entry) else find(x))


@dataclass(frozen=True)
class Source:
    """The code of a function or class as it stands in the package, highlighted in a notebook."""

    text: str
    where: str

    def __repr__(self) -> str:
        return f"# {self.where}\n{self.text}"

    def _repr_html_(self) -> str:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        code = highlight(
            self.text,
            PythonLexer(),
            HtmlFormatter(noclasses=True, nowrap=True, style="a11y_light" if _has("a11y_light") else "default"),
        )
        link = f"{repository()}/blob/main/{self.where}" if repository() else ""
        where = f'<a href="{link}"><code>{self.where}</code></a>' if link else f"<code>{self.where}</code>"
        return f'{_CSS}<div class="nnvocab-source"><div class="where">{where}</div><pre tabindex="0">{code}</pre></div>'


def _has(style: str) -> bool:
    from pygments.styles import get_all_styles

    return style in get_all_styles()


def source(thing: Any, *, docstring: bool = False) -> Source:
    """Show the code of a function or class: the very lines that run and that the tests check.

    Args:
        thing: a function, method or class, or the name of an entry.
        docstring: show the docstring too; without it only the code, since the card already says the rest.
    """
    if isinstance(thing, str):
        thing = find(thing).object
    text = textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))
    text = re.sub(r"\A(?:@entry\(.*?^\)\n|@\w[^\n]*\n)+", "", text, flags=re.S | re.M)
    if not docstring:
        text = re.sub(r'(\n(?:    )+)r?"""(?:.|\n)*?"""', lambda m: "", text, count=0 if isinstance(thing, type) else 1)
    return Source(text.rstrip() + "\n", inspect.unwrap(thing).__module__.replace(".", "/") + ".py")
