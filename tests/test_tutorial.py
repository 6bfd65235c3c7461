"""The notebooks of the tutorial, as they are committed. `tests/browser` runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "tutorial").glob("*.ipynb"))


def outputs_of(path: Path) -> list[list[dict[str, Any]]]:
    cells = json.loads(path.read_text())["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_from_its_first_cell_to_its_last(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert [output for of_cell in outputs_of(path) for output in of_cell if output["output_type"] == "error"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_no_place_of_the_machine_that_ran_it(path: Path) -> None:
    assert re.findall(r"(?<![\w:/.<])/(?:home|tmp|root|work|usr|Users)/\S*", path.read_text()) == []


def test_the_notebooks_show_what_the_tutorial_promises() -> None:
    """Cards whose last state is saved, tables, figures, and two points of 200 that failed."""
    first, second = map(outputs_of, NOTEBOOKS)
    html = ["".join(o["data"]["text/html"]) for of_cell in first for o in of_cell if "text/html" in o.get("data", {})]
    cards = [text for text in html if 'class="bgsim-card' in text]
    assert ["completed" in card for card in cards] == [True, False]
    assert "200 of 200 points" in cards[1]
    assert sum("more than 20 new infections a case" in text for text in html) >= 1
    pictures = [o for of_cell in (*first, *second) for o in of_cell if "image/png" in o.get("data", {})]
    assert len(pictures) == 4
    assert "fingerprint" in json.dumps(second)
