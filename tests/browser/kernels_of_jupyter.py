"""Kernels of Jupyter that tests talk to as a front end does."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
IPYKERNEL_6 = Path(sys.prefix) / "ipykernel6"
BOUND_S = 60.0
NAMES = ("ipykernel6", "ipykernel7")


def write_specs(folder: Path) -> Path:
    """Write a spec for each kernel; return what JUPYTER_PATH has to name."""
    for name in NAMES:
        place = folder / "jupyter" / "kernels" / name
        place.mkdir(parents=True)
        paths = [str(ROOT), *([str(IPYKERNEL_6)] if name == "ipykernel6" else [])]
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": name,
            "language": "python",
            "env": {"PYTHONPATH": os.pathsep.join(reversed(paths))},
        }
        (place / "kernel.json").write_text(json.dumps(spec))
    return folder / "jupyter"


class Kernel:
    """A kernel and its messages."""

    def __init__(self, name: str, folder: Path) -> None:
        specs = KernelSpecManager(kernel_dirs=[str(write_specs(folder) / "kernels")])
        self.manager = KernelManager(kernel_name=name, kernel_spec_manager=specs)
        self.manager.start_kernel(cwd=str(folder), env={**os.environ, "IPYTHONDIR": str(folder / "ipython")})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=BOUND_S)
        self.seen: list[dict[str, Any]] = []

    def start(self, code: str) -> str:
        """Run a cell, and do not wait for it."""
        return str(self.client.execute(code))

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell, and return its messages."""
        cell, first = self.start(code), len(self.seen)
        self.until(lambda m: is_idle(m, cell), code)
        own = [m for m in self.seen[first:] if m["parent_header"].get("msg_id") == cell]
        errors = [m["content"]["evalue"] for m in own if m["msg_type"] == "error"]
        assert not errors, errors
        return own

    def until(self, reached: Callable[[dict[str, Any]], Any], what: str, bound_s: float = BOUND_S) -> dict[str, Any]:
        """Wait for a message."""
        deadline = time.monotonic() + bound_s
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"no message came within {bound_s} s: {what}"
            with contextlib.suppress(Exception):  # Empty, of the queue's own module
                message = self.client.get_iopub_msg(timeout=min(left, 1.0))
                self.seen.append(message)
                if reached(message):
                    return message

    def press(self, comm: str, action: str) -> None:
        """Press a button of a card."""
        self.say(comm, {"do": action})

    def say(self, comm: str, content: dict[str, Any]) -> None:
        """Send a widget something, as a front end does."""
        data = {"comm_id": comm, "data": {"method": "custom", "content": content}}
        self.client.shell_channel.send(self.client.session.msg("comm_msg", data))

    def html(self, word: str, what: str = "") -> dict[str, Any]:
        """Wait for a state of a card that says a word."""
        return self.until(lambda m: word in (html_in(m) or ""), what or f"a card that says {word}")


def is_idle(message: dict[str, Any], cell: str) -> bool:
    """Tell whether a cell has ended."""
    ends = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
    return ends and message["parent_header"].get("msg_id") == cell


def html_in(message: dict[str, Any]) -> str | None:
    """Return the card in a message, if there is one."""
    content = message["content"]
    match message["msg_type"]:
        case "comm_open" | "comm_msg":
            return content["data"].get("state", {}).get("html")
        case "display_data" | "update_display_data":
            return content["data"].get("text/html")
    return None


@contextlib.contextmanager
def kernel(name: str, folder: Path) -> Iterator[Kernel]:
    """Run a kernel."""
    found = Kernel(name, folder)
    try:
        yield found
    finally:
        found.client.stop_channels()
        found.manager.shutdown_kernel(now=True)
