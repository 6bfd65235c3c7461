"""JupyterLab and marimo as a person has them: a server, and a page of Debian's Chromium."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kernels_of_jupyter import ROOT, write_specs
from playwright.sync_api import Error, Locator, Page, sync_playwright

SCREENS = ROOT / ".screens"
BOUND_S = 60.0

_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def until(reached: Callable[[], Any], what: str, bound_s: float = BOUND_S) -> Any:
    """Wait for a condition, and return what it gives; the look itself takes as long as a browser needs."""
    deadline = time.monotonic() + bound_s
    while not (found := reached()):
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{what} did not come within {bound_s} s")
        time.sleep(0.02)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(command: list[str], url: str, folder: Path, **environment: str) -> Iterator[None]:
    """Run a server until it is not needed any more."""
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
        try:

            def answers() -> bool:
                assert server.poll() is None, (folder / "server.log").read_text()
                with contextlib.suppress(OSError):
                    return urllib.request.urlopen(url, timeout=5).status == 200
                return False

            until(answers, "the server")
            yield
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


@contextlib.contextmanager
def chromium(folder: Path, **options: Any) -> Iterator[Page]:
    """Open a page, with a profile of its own."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(folder / "profile"), executable_path="/usr/bin/chromium", headless=True, args=_FLAGS,
            viewport={"width": 900, "height": 1000}, **options,
        )  # fmt: skip
        try:
            yield context.pages[0]
        finally:
            context.close()


def notebook(path: Path, cells: list[str], kernel: str = "python3") -> None:
    """Write a notebook that has not been run."""
    made = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "execution_count": None, "source": cell}
        for i, cell in enumerate(cells)
    ]
    spec = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    path.write_text(json.dumps({"cells": made, "metadata": spec, "nbformat": 4, "nbformat_minor": 5}))


class Lab:
    """JupyterLab, and a notebook that is open in it."""

    def __init__(self, page: Page, folder: Path, port: int) -> None:
        self.page = page
        self.folder = folder
        self._url = f"http://127.0.0.1:{port}/lab"
        self.path = folder
        self._kernel = ""
        page.add_locator_handler(page.locator(".jp-Dialog", has_text="Select Kernel"), self._choose_kernel)

    def open(self, name: str, cells: list[str], kernel: str) -> None:
        """Write a notebook and open it, with its kernel."""
        self.path, self._kernel = self.folder / name, kernel
        notebook(self.path, cells, kernel)
        self.page.goto(f"{self._url}/workspaces/{self.path.stem}/tree/{name}?reset")
        self.wait_for_kernel()

    def _choose_kernel(self, dialog: Locator) -> None:
        """Answer what JupyterLab asks where it opens a notebook before it has the list of kernels."""
        dialog.locator("select").select_option(label=self._kernel)
        dialog.locator(".jp-mod-accept").click()

    def wait_for_kernel(self) -> None:
        """Wait until the notebook's kernel is idle."""
        idle = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
        self.page.wait_for_selector(idle, timeout=1000 * BOUND_S)

    def run_cell(self, number: int, *, to_its_end: bool = True) -> None:
        """Run a cell; JupyterLab forgets one that is run before the kernel is there, so ask again."""
        cell = self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)
        before = cell.locator(".jp-InputPrompt").inner_text()
        state = {"asked": -math.inf}

        def has_run() -> bool:
            prompt = cell.locator(".jp-InputPrompt").inner_text()
            if prompt != before and (re.fullmatch(r"\[\d+\]:", prompt) or (prompt == "[*]:" and not to_its_end)):
                return True
            if prompt in (before, "[ ]:") and time.monotonic() > state["asked"] + 2.0:
                state["asked"] = time.monotonic()
                cell.locator(".cm-content").first.click()
                self.page.keyboard.press("Control+Enter")
            return False

        until(has_run, f"the run of cell {number}")

    def card(self, number: int = 0) -> Locator:
        """Return a card, a widget or a saved one."""
        return self.page.locator(".bgsim-card").nth(number)

    def press(self, name: str, number: int = 0) -> None:
        """Press a button of a card."""
        self.card(number).get_by_role("button", name=name).click()

    def word(self, number: int = 0) -> str:
        """Return where the card's job is."""
        return self.card(number).locator(".head .word").inner_text()

    def save(self) -> dict[str, Any]:
        """Save the notebook; return what is in the file."""
        before = self.path.stat().st_mtime_ns
        self.page.keyboard.press("Control+s")

        def written() -> Any:
            with contextlib.suppress(ValueError):  # it is being written
                return self.path.stat().st_mtime_ns != before and json.loads(self.path.read_text())

        return until(written, "the file")


def shot(what: Page | Locator, name: str) -> None:
    """Keep a picture in a folder that git ignores."""
    SCREENS.mkdir(exist_ok=True)

    def taken() -> bool:
        with contextlib.suppress(Error):  # the widget has just been replaced
            what.screenshot(path=str(SCREENS / f"{name}.png"))
            return True
        return False

    until(taken, f"the picture {name}")


@contextlib.contextmanager
def jupyterlab(folder: Path, *, dark: bool = False) -> Iterator[Lab]:
    """Start JupyterLab and a browser."""
    port = free_port()
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    theme = "JupyterLab Dark" if dark else "JupyterLab Light"
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": theme}))
    (settings / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False})
    )
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True", f"--notebook-dir={folder}",
        f"--LabApp.user_settings_dir={folder / 'settings'}", f"--LabApp.workspaces_dir={folder / 'workspaces'}",
        "--LabApp.news_url=",
    ]  # fmt: skip
    environment = {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PATH": str(write_specs(folder)),
    }
    with (
        served(command, f"http://127.0.0.1:{port}/api/status", folder, **environment),
        chromium(folder, color_scheme="dark" if dark else "light") as page,
    ):
        yield Lab(page, folder, port)
