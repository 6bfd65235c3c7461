"""The notebooks of the tutorial run, one after the other in one folder, with each ipykernel."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from kernels_of_jupyter import NAMES, ROOT, write_specs
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "docs" / "tutorial").glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_the_tutorial_runs(name: str, tmp_path: Path) -> None:
    specs = KernelSpecManager(kernel_dirs=[str(write_specs(tmp_path) / "kernels")])
    for path in NOTEBOOKS:
        notebook = nbformat.read(shutil.copy(path, tmp_path), 4)
        manager = AsyncKernelManager(kernel_name=name, kernel_spec_manager=specs)
        resources = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, km=manager, timeout=120, resources=resources).execute()  # raises what a cell raises
        text = nbformat.writes(notebook)
        assert "completed" in text or "fingerprint" in text
    assert {"epidemic.db", "epidemic.nc", "sweep.nc"} <= {path.name for path in tmp_path.iterdir()}
