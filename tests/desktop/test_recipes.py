"""The programs of docs/how-to/other-frameworks.md, each in its framework."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from paths import ROOT

import bgsim

APPS = ROOT / "examples" / "apps"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, APPS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_streamlit_shows_the_price_of_the_newest_strike() -> None:
    """In Streamlit's own harness, which runs the script as its server does."""
    testing = pytest.importorskip("streamlit.testing.v1")
    page = testing.AppTest.from_file(str(APPS / "streamlit_app.py"), default_timeout=60)
    for strike in (90.0, 110.0, 100.0):
        page.run()
        page.slider[0].set_value(strike)
    page.run()
    assert not page.exception
    (engine,) = bgsim.engines()
    with engine:
        engine.drain()
        page.run()
        assert not page.exception
        assert page.metric[0].value.startswith("5.7")
        assert "1,000,000 replicates" in page.metric[0].value


def test_fastapi_answers_bad_input_as_it_answers_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    testing = pytest.importorskip("fastapi.testclient")
    monkeypatch.chdir(tmp_path)
    with testing.TestClient(loaded("fastapi_app").app) as client:
        told = client.post("/prices", json={"strik": 90})
        assert told.status_code == 422
        (detail,) = told.json()["detail"]
        assert detail["loc"] == ["body", "strik"]
        assert "did you mean 'strike'" in detail["msg"]
        assert client.post("/price", json={"volatility": -1}).status_code == 422
        assert client.post("/prices?replicates=0", json={}).json()["detail"][0]["loc"] == ["body", "replicates"]
        assert client.get("/prices/unknown").status_code == 404
        job = client.post("/prices", json={"strike": 90}).json()["job"]
        assert client.get(f"/prices/{job}").json()["error"] is None
        assert client.post("/price", json={"strike": 90}).json()["price"] == pytest.approx(12.58, abs=0.05)


@contextmanager
def panel_served(tmp_path: Path) -> Iterator[str]:
    """Yield the address of the page; Panel's server says which port it has got."""
    command = [sys.executable, "-u", "-m", "panel", "serve", str(APPS / "panel_app.py"), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            line = next(line for line in server.stdout if "running at" in line)
            yield line.rpartition(" ")[2].strip().replace("localhost", "127.0.0.1")
        finally:
            server.terminate()
            server.stdout.read()
    assert server.returncode == 0


def test_panel_shows_the_price_of_the_newest_strike(tmp_path: Path) -> None:
    pytest.importorskip("panel")
    playwright = pytest.importorskip("playwright.sync_api")
    with panel_served(tmp_path) as address, playwright.sync_playwright() as play:
        assert urllib.request.urlopen(address).status == 200
        browser = play.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        page = browser.new_page()
        page.goto(address)
        page.get_by_text("from 1,000,000 replicates").wait_for()
        handle = page.locator(".noUi-handle").first
        handle.focus()
        for _ in range(20):
            handle.press("ArrowLeft")
        page.get_by_text(re.compile(r"^6\.\d+ ± .* from 1,000,000 replicates$")).wait_for()
        browser.close()


WX = """
import os, sys, threading, wx, bgsim
sys.path.insert(0, sys.argv[1])
import wx_app

application, engine, threads = wx.App(), bgsim.Engine(), set()

class Watched(wx_app.Window):
    def show(self, update):
        threads.add(threading.current_thread() is threading.main_thread())
        super().show(update)
        if update.update_type.is_terminal and update.simulation_id == self.job.id:
            print(self.slider.GetValue(), self.price.GetLabel(), self.bar.GetValue(), threads)
            self.job = engine.submit(wx_app.asian_call, {"strike": 77.0}, replicates=10**8)
            engine.subscribe(super().show, job=self.job, post=wx.CallAfter)
            self.Close()

window = Watched(engine)
window.Show()
for strike in (90, 95, 110, 99):
    window.slider.SetValue(strike)
    window.submit()
application.MainLoop()
engine.close(cancel=True)
"""


@pytest.mark.usefixtures("display")
def test_wxpython_shows_the_price_of_the_newest_strike(tmp_path: Path) -> None:
    """By the system's Python, since wxPython comes from Debian and not from an index, with what is installed here."""
    python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if (
        not Path(python).exists()
        or subprocess.run([python, "-c", "import wx"], capture_output=True, check=False).returncode
    ):
        pytest.skip(f"{python} has no wx: apt-get install python3-wxgtk4.0")
    (tmp_path / "walk.py").write_text(WX)
    packages = str(Path(importlib.util.find_spec("numpy").origin).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), packages])}
    done = subprocess.run(
        [python, "-W", "ignore", str(tmp_path / "walk.py"), str(APPS)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("99 6.3"), done.stdout + done.stderr
    assert "1,000,000 replicates 1000 {True}" in done.stdout
