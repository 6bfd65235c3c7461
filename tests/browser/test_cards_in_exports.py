"""Cards in notebooks that are executed without a front end, and exported."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbconvert
import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from kernels_of_jupyter import NAMES, write_specs
from lab import chromium, shot

CELLS = [
    "import bgsim\nfrom bgsim.models.options import asian_call\nengine = bgsim.Engine()",
    "job = engine.submit(asian_call, replicates=30_000, seed=1)\njob",
    "long = engine.submit(asian_call, replicates=100_000_000, seed=9)\nlong",
    "import sys\nsys.modules['bgsim.ui.notebook.card_widget'] = None  # as without anywidget",
    "other = engine.submit(asian_call, replicates=30_000, seed=2)\nother",
    "long.pause()\njob.result(), other.result();",
    "engine.close(cancel=True);",
]


@pytest.mark.parametrize("kernel", NAMES)
def test_the_last_state_is_exported(kernel: str, tmp_path: Path) -> None:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    specs = KernelSpecManager(kernel_dirs=[str(write_specs(tmp_path) / "kernels")])
    manager = AsyncKernelManager(kernel_name=kernel, kernel_spec_manager=specs)
    nbclient.NotebookClient(made, km=manager, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    bundles = {number: made.cells[number].outputs[0]["data"] for number in (1, 2, 4)}
    for number, word in ((1, "completed"), (2, "cancelled"), (4, "completed")):
        assert f'<span class="word">{word}</span>' in bundles[number]["text/html"], (number, bundles[number])
        assert set(bundles[number]) == {"text/html", "text/plain"}
    exported, _ = nbconvert.HTMLExporter().from_notebook_node(made)
    assert exported.count('<span class="word">completed</span>') == 2
    page = tmp_path / "exported.html"
    page.write_text(exported)
    with chromium(tmp_path) as browser:
        browser.goto(f"file://{page}")
        assert browser.locator(".bgsim-card").count() == 3
        shot(browser, f"nbconvert-{kernel}")
