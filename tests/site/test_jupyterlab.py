"""A widget in a real JupyterLab with a kernel: Python sees what the reader changed, and the other way round."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from playwright.sync_api import TimeoutError

from tests.site.conftest import ARTEFACTS


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab server on this machine alone, with one notebook."""
    code = [
        "from nnvocab.widgets import ConvolutionStrides\nw = ConvolutionStrides()\nw",
        "print('step is', w.step)",
        "w.step = 7",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in code])
    book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(book, tmp_path / "try.ipynb")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    token = secrets.token_hex(8)
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", f"--IdentityProvider.token={token}"]
    options += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    log = open(tmp_path / "lab.log", "w")  # noqa: SIM115
    env = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "HOME": str(tmp_path)}
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options], cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, env=env
    )
    base = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{base}/api?token={token}", timeout=2)
            break
        except OSError:
            time.sleep(0.25)
    else:
        raise AssertionError((tmp_path / "lab.log").read_text())
    yield f"{base}/lab/tree/try.ipynb?token={token}"
    server.terminate()
    server.wait(timeout=20)
    log.close()


def run(page, number: int) -> None:
    """Run a cell as a reader would; click again if JupyterLab was still busy with itself and took no notice."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    for _ in range(6):
        cell.locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        try:
            page.wait_for_function(
                "p => p.textContent.trim() !== '[ ]:'",
                arg=cell.locator(".jp-InputPrompt").element_handle(),
                timeout=10_000,
            )
            return
        except TimeoutError:
            page.keyboard.press("Escape")  # a dialogue may lie over the notebook
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / "jupyterlab.png")
    raise AssertionError(f"cell {number} did not start; {ARTEFACTS / 'jupyterlab.png'} shows what JupyterLab showed")


def test_python_sees_what_the_reader_changed_and_the_other_way_round(lab, browser):
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    page.goto(lab)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=150_000)
    page.wait_for_selector("text=Idle", timeout=150_000, state="attached")
    run(page, 0)
    page.wait_for_selector(".nnv .nnv-player", timeout=150_000)
    widget = page.locator(".nnv").first
    scrub = widget.locator(".nnv-player input[type=range]")
    scrub.focus()
    page.keyboard.press("Home")
    for _ in range(3):
        widget.locator("button[aria-label^=Forward]").click()
    assert scrub.get_attribute("aria-valuetext").startswith("4 ")
    run(page, 1)
    page.wait_for_selector("text=step is 3", timeout=90_000)
    run(page, 2)
    page.wait_for_function(
        "e => e.getAttribute('aria-valuetext').startsWith('8 ')", arg=scrub.element_handle(), timeout=90_000
    )
