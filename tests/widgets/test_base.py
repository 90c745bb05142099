"""What all widgets share: a picture where nothing runs, and a notebook that goes on as before."""

import nbformat
from nbclient import NotebookClient


def test_a_widget_before_the_first_figure_leaves_the_figures_of_the_notebook_alone():
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("from nnvocab.widgets import MaskPatterns\nMaskPatterns()"),
            nbformat.v4.new_code_cell("import matplotlib.pyplot as plt\nplt.plot([1, 2]);"),
        ]
    )
    NotebookClient(book, timeout=120, kernel_name="python3").execute()
    shown = [sorted(o.get("data", {})) for o in book.cells[0].outputs]
    assert any("image/png" in kinds for kinds in shown)
    assert any("image/png" in o.get("data", {}) for o in book.cells[1].outputs)
