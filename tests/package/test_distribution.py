"""What a reader installs: the wheel carries the widgets, the weights and the bibliography, and reads on old Pythons."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_carries_everything_that_a_notebook_loads(wheel):
    names = set(wheel.namelist())
    wanted = [p for p in (ROOT / "nnvocab").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {p.suffix for p in wanted} >= {".py", ".js", ".npz", ".yml", ".bib", ".mplstyle"}
    assert [str(p) for p in wanted if str(p.relative_to(ROOT)) not in names] == []
    assert "nnvocab/py.typed" in names
    assert not [n for n in names if n.startswith(("tests", "book"))]


def test_the_wheel_imports_alone(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = "import nnvocab; print(nnvocab.__file__); print(nnvocab.show('gqa').entry.name)"
    out = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    ).stdout
    assert str(tmp_path) in out
    assert "Grouped-query attention" in out


@pytest.mark.parametrize("path", sorted((ROOT / "nnvocab").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_reads_on_python_3_10(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


def test_nothing_pins_a_device_or_reads_back_in_a_layer():
    for path in (ROOT / "nnvocab").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert ".cuda(" not in text, path
        assert 'device="c' not in text, path


def test_versions_agree():
    import re

    import nnvocab

    project = (ROOT / "pyproject.toml").read_text()
    citation = (ROOT / "CITATION.cff").read_text()
    assert f'version = "{nnvocab.__version__}"' in project
    assert re.search(rf"^version: {re.escape(nnvocab.__version__)}$", citation, re.M)
    assert f"## {nnvocab.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_address_stands_in_one_place():
    """pyproject.toml has it; pages, readme and citation must name the same."""
    import re

    address = re.search(r'^Repository = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M).group(1)
    for path in [*ROOT.glob("*.md"), ROOT / "CITATION.cff", *(ROOT / "book").rglob("*.ipynb")]:
        for found in re.findall(r"https://github\.com/[\w.-]+/nnvocab", path.read_text(encoding="utf-8")):
            assert found == address, path


def test_no_file_of_the_package_is_over_300_lines():
    long = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in (ROOT / "nnvocab").rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}
