"""Cards in marimo."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kernels_of_jupyter import ROOT
from lab import chromium, free_port, served, shot, until

NOTEBOOK = """
import marimo
app = marimo.App()

@app.cell
def _():
    import bgsim
    from bgsim.models.options import asian_call
    engine = bgsim.Engine()
    return bgsim, asian_call, engine

@app.cell
def _(asian_call, engine):
    engine.submit(asian_call, replicates=50_000_000, seed=3)

@app.cell
def _(asian_call, engine):
    engine.sweep(asian_call, {"strike": [80, 90, 100], "volatility": [0.1, 0.2, 0.3, 0.4]}, replicates=5_000)

@app.cell
def _(engine):
    engine

@app.cell
def _(asian_call, bgsim, engine):
    bgsim.notebook.explore(asian_call, strike=(80, 120), engine=engine, replicates=20_000)
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_card_moves_and_its_buttons_work(theme: str, tmp_path: Path) -> None:
    (tmp_path / "cards.py").write_text(NOTEBOOK)
    (tmp_path / "xdg" / "marimo").mkdir(parents=True)
    (tmp_path / "xdg" / "marimo" / "marimo.toml").write_text(f'[display]\ntheme = "{theme}"\n')
    url, environment = f"http://127.0.0.1:{(port := free_port())}/", {"PYTHONPATH": str(ROOT)}
    environment |= {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "marimo", "run", "cards.py", "--headless", "--no-token", f"--port={port}"]
    with served(command, url, tmp_path, **environment), chromium(tmp_path, color_scheme=theme) as page:
        page.goto(url)
        job = page.locator(".bgsim-job")
        job.wait_for()
        count = job.locator(".count")
        for _ in range(3):
            before = count.inner_text()
            until(lambda: count.inner_text() != before, "an update")  # noqa: B023 - called at once
        until(lambda: page.locator(".bgsim-batch .c-done").count() > 3, "points of the sweep")
        shot(page, f"marimo-{theme}")
        job.get_by_role("button", name="Pause").click()
        until(lambda: job.locator(".head .word").inner_text() == "paused", "the pause")
        explorer = page.locator(".bgsim-explore")
        explorer.locator("input").fill("110")
        until(lambda: explorer.locator(".slider .value").inner_text() == "110", "the slider")
        until(lambda: "up to date" in explorer.inner_text(), "the newest values")
        job.get_by_role("button", name="Cancel").click()
        until(lambda: job.locator(".head .word").inner_text() == "cancelled", "the end")
        shot(page, f"marimo-end-{theme}")
