"""What tests of windows share: waiting for a condition while events are handled, and programs that are run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCREENS = ROOT / ".screens"
BOUND_S = 30.0


def until(reached: Callable[[], Any], handle_events: Callable[[], Any], bound_s: float = BOUND_S) -> Any:
    """Handle events until a condition holds, and return what it gives."""
    deadline = time.monotonic() + bound_s
    while not (found := reached()):
        assert time.monotonic() < deadline, "it did not come"
        handle_events()
        time.sleep(0.001)
    return found


def for_a_while(handle_events: Callable[[], Any], seconds: float) -> None:
    """Handle events, so that what should not come has time to."""
    until_then = time.monotonic() + seconds
    until(lambda: time.monotonic() >= until_then, handle_events)


def run_program(
    code: str, *, folder: Path, timeout_s: float = 60.0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    (folder / "program.py").write_text(code)
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "support", ROOT / "tests" / "desktop")))
    return subprocess.run(
        [sys.executable, str(folder / "program.py")],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        check=False,
    )
