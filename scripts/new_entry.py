"""Write the files a new entry starts from: ``make new-entry CHAPTER=... CONCEPT=sliding_window NAME="..."``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

CODE = '''"""{name}: say in one line what it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnvocab.vocabulary import Example, entry


def {concept}(x: Tensor) -> Tensor:
    r"""Say in one sentence what it computes.

    .. math::
        y = x

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    Notice:
        What a reader should see in the equation.

    Source: the paper, with its section.

    >>> {concept}(torch.zeros(1, 2, 3)).shape
    torch.Size([1, 2, 3])
    """
    return x


@entry(
    name="{name}",
    page="{concept}",
    ids=(),
    paper=None,
    evidence="speculative",
    example=lambda: Example({cls}(), (torch.randn(2, 5, 8),)),
)
class {cls}(nn.Module):
    """Say in one sentence what the layer does.

    Shapes:
        x: (B, T, C). Returns (B, T, C).

    >>> {cls}()(torch.zeros(1, 2, 3)).shape
    torch.Size([1, 2, 3])
    """

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return {concept}(x)
'''

TEST = '''"""What only {name} must hold; the contract tests run on every entry beside these."""

import pytest
import torch
from torch.testing import assert_close

from nnvocab.{chapter}.{concept} import {concept}


@pytest.mark.oracle("{slug}", by="brute force")
def test_is_the_equation_written_out():
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    expected = torch.stack([row.clone() for row in x])  # write the equation out in loops here
    assert_close({concept}(x), expected)
'''

PAGE = [
    ("markdown", "# {name}\n\nWhy this page exists, in two to five sentences."),
    (
        "code",
        "try:\n    import nnvocab\nexcept ImportError:  # in Colab, for one\n"
        '    %pip install -q "nnvocab @ git+{repository}"\n    import nnvocab\n'
        "import matplotlib.pyplot as plt\nimport torch\n\nnnvocab.style.use()\ntorch.manual_seed(0);",
    ),
    ("markdown", "## {name}\n\nWhy it exists."),
    ("code", 'nnvocab.show("{name}")'),
    ("code", "from nnvocab.{chapter}.{concept} import {concept}\n\nnnvocab.source({concept})"),
    ("markdown", "## Papers\n\n## What comes next"),
]


def main(chapter: str, concept: str, name: str) -> int:
    """Write the files; refuse to overwrite any."""
    import nbformat

    import nnvocab
    from nnvocab.cards import repository
    from nnvocab.vocabulary import slug

    if chapter not in nnvocab.CHAPTERS:
        raise SystemExit(f"chapter is {chapter!r}, but must be one of {', '.join(nnvocab.CHAPTERS)}")
    if not concept.isidentifier() or not name:
        raise SystemExit('give CONCEPT (a Python name, e.g. sliding_window) and NAME (e.g. "Sliding-window attention")')
    words = {
        "chapter": chapter,
        "concept": concept,
        "name": name,
        "slug": slug(name),
        "cls": "".join(w.capitalize() for w in concept.split("_")),
        "repository": repository(),
    }
    files = {
        ROOT / "nnvocab" / chapter / f"{concept}.py": CODE.format(**words),
        ROOT / "tests" / chapter / f"test_{concept}.py": TEST.format(**words),
    }
    page = ROOT / "book" / chapter / f"{concept}.ipynb"
    for path in (*files, page):
        if path.exists():
            raise SystemExit(f"{path.relative_to(ROOT)} exists already; choose another CONCEPT")
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    book = nbformat.v4.new_notebook(cells=[make[kind](text.format(**words)) for kind, text in PAGE])
    nbformat.write(book, page)
    for path in (*files, page):
        print(f"wrote {path.relative_to(ROOT)}")
    print(f"now export {words['cls']} in nnvocab/{chapter}/__init__.py and put the page into _toc.yml")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*(sys.argv[1:] + ["", "", ""])[:3]))
