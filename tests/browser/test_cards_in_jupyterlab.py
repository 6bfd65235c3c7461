"""Cards in JupyterLab, as a person sees them and presses their buttons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbconvert
import pytest
from lab import Lab, jupyterlab, shot, until

BEGIN = """
import bgsim
from bgsim.models.options import asian_call
engine = bgsim.Engine()
"""
LONG = "job = engine.submit(asian_call, replicates=50_000_000, seed=1)\njob"
SHORT = "short = engine.submit(asian_call, replicates=300_000, seed=2)\nshort"
SWEEP = """
@bgsim.simulation(outputs={"y": "f8"}, compile=False)
def wave(p, rng):
    if p.x > 0.8 and p.y > 0.8:
        raise ValueError("no waves here")
    return p.x * p.y + rng.random()
sweep = engine.sweep(wave, {"x": [i / 10 for i in range(10)], "y": [i / 16 for i in range(16)]}, replicates=800)
sweep
"""
FAILED = "engine.submit(wave, {'x': 0.9, 'y': 0.9}, replicates=10)"
EXPLORE = "bgsim.notebook.explore(asian_call, strike=(80.0, 120.0), steps=(12, 252), engine=engine, replicates=100_000)"


@pytest.fixture(scope="module", params=[("ipykernel7", "light"), ("ipykernel6", "dark")], ids="-".join)
def found(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, str, str]]:
    kernel, theme = request.param
    with jupyterlab(tmp_path_factory.mktemp("lab"), dark=theme == "dark") as made:
        yield made, kernel, theme


@pytest.fixture(autouse=True)
def last_look(found: tuple[Lab, str, str], request: Any) -> Iterator[None]:
    """Keep a picture of the whole page at the end of each test, for one that fails."""
    yield
    shot(found[0].page, f"last-{request.node.name.partition('[')[0]}-{found[2]}")


def moved(lab: Lab, number: int = 0) -> bool:
    """Wait until a card's bar has moved."""
    before = lab.card(number).locator(".count").first.inner_text()
    return until(lambda: lab.card(number).locator(".count").first.inner_text() != before, "an update of the card")


def test_a_card_moves_its_buttons_work_and_a_reload_shows_where_it_is(found: tuple[Lab, str, str]) -> None:
    lab, kernel, theme = found
    lab.open("job.ipynb", [BEGIN, LONG, "import time\nfor _ in range(20): time.sleep(0.1)", "job.result()"], kernel)
    lab.run_cell(0)
    lab.run_cell(1)
    lab.card().wait_for()
    shot(lab.card(), f"job-compiling-{theme}")
    until(lambda: lab.word() == "running", "the run")
    moved(lab)
    lab.run_cell(2, to_its_end=False)
    moved(lab)  # while another cell runs
    moved(lab)
    shot(lab.card(), f"job-running-{theme}")
    lab.press("Pause")
    until(lambda: lab.word() == "paused", "the pause")
    shot(lab.card(), f"job-paused-{theme}")
    lab.save()
    lab.page.reload()
    lab.wait_for_kernel()
    until(lambda: lab.card().count() and lab.word() == "paused", "the card after a reload")
    lab.press("Resume")
    until(lambda: lab.word() == "running", "the way on")
    moved(lab)
    if kernel == "ipykernel7":  # its subshells take what a button says beside the cell that blocks
        lab.run_cell(3, to_its_end=False)
        lab.press("Pause")
        until(lambda: lab.word() == "paused", "the pause while a cell blocks")
        lab.press("Resume")
        until(lambda: lab.word() == "running", "the way on while a cell blocks")
        lab.page.locator('[data-command="notebook:interrupt-kernel"], [title^="Interrupt the kernel"]').first.click()
        until(lambda: "still running in the background" in lab.card().inner_text(), "the remark")
        shot(lab.card(), f"job-interrupted-{theme}")
    lab.press("Cancel")
    until(lambda: lab.word() == "cancelled", "the end")


def test_the_last_state_takes_the_place_of_the_widget_and_stays(found: tuple[Lab, str, str], tmp_path: Path) -> None:
    lab, kernel, theme = found
    lab.open("short.ipynb", [BEGIN, SHORT], kernel)
    lab.run_cell(0)
    lab.run_cell(1)
    lab.card().wait_for()
    widget = lab.card().bounding_box()
    saved = lab.page.locator(".jp-RenderedHTMLCommon .bgsim-card")
    saved.wait_for(timeout=60_000)
    until(lambda: lab.word() == "completed", "the end")
    assert widget == lab.card().bounding_box()  # nothing jumps
    assert lab.card().get_by_role("button").count() == 0
    shot(lab.card(), f"job-completed-{theme}")
    (output,) = lab.save()["cells"][1]["outputs"]
    assert set(output["data"]) == {"text/html", "text/plain"}
    exported, _ = nbconvert.HTMLExporter().from_filename(str(lab.path))
    assert '<span class="word">completed</span>' in exported
    page = tmp_path / "exported.html"
    page.write_text(exported)
    lab.page.goto(f"file://{page}")
    lab.card().wait_for()
    assert "300,000 of 300,000" in lab.card().inner_text()
    shot(lab.card(), f"exported-{theme}")


def test_sweeps_engines_and_sliders(found: tuple[Lab, str, str]) -> None:
    lab, kernel, theme = found
    lab.open("all.ipynb", [BEGIN, SWEEP, FAILED, "engine", EXPLORE, "1 + 1"], kernel)
    lab.run_cell(0)
    lab.run_cell(1)
    cells = lab.card().locator(".cells i")
    until(lambda: cells.count() == 160, "the map")
    until(lambda: lab.card().locator(".c-done").count() > 20, "points")
    shot(lab.card(), f"sweep-running-{theme}")
    lab.page.set_viewport_size({"width": 900, "height": 2200})
    lab.run_cell(3)
    until(lambda: lab.card(1).locator(".row").count() == 12, "the engine's jobs")
    shot(lab.card(1), f"engine-{theme}")
    until(lambda: lab.word() == "failed", "the end of the sweep")
    failed = lab.card().locator(".c-failed")
    assert failed.count() == 3
    assert "no waves here" in (failed.first.get_attribute("title") or "")
    shot(lab.card(), f"sweep-failed-{theme}")
    lab.run_cell(2)
    until(lambda: lab.word(1) == "failed", "the failed job")
    shot(lab.card(1), f"job-failed-{theme}")
    lab.run_cell(4)
    explorer = lab.page.locator(".bgsim-explore")
    until(lambda: "up to date" in explorer.inner_text(), "the first values")
    before = explorer.locator(".output .value").inner_text()
    explorer.locator("input").first.fill("117")
    until(lambda: explorer.locator(".slider .value").first.inner_text() == "117", "the slider")
    until(lambda: "up to date" in explorer.inner_text(), "the newest values")
    until(lambda: explorer.locator(".output .value").inner_text() != before, "their mean")
    shot(explorer, f"explore-{theme}")
    lab.run_cell(5)  # the end of a cell brings up to date what is saved
    explorer.locator("input").first.fill("110")
    until(lambda: explorer.locator(".slider .value").first.inner_text() == "110", "the slider after another cell")
    until(lambda: "up to date" in explorer.inner_text(), "its values")
    lab.page.set_viewport_size({"width": 620, "height": 1800})
    until(lambda: (lab.card().bounding_box() or {})["width"] < 400, "the narrow card")
    shot(lab.card(), f"sweep-narrow-{theme}")
    shot(lab.card(1), f"job-narrow-{theme}")
    shot(explorer, f"explore-narrow-{theme}")
    lab.page.set_viewport_size({"width": 900, "height": 1000})
