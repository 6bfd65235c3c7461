"""Mixed loads from two processes on one file: every job ends once, nothing is left over, and what was told holds."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import soak
from new_process import start_script
from paths import SUPPORT

SECONDS = float(os.environ.get("BGSIM_SOAK_SECONDS", "0"))
"""How long, for a long one; by default so many jobs."""

JOBS = 150


@pytest.mark.stress
@pytest.mark.timeout(180 + 2 * SECONDS)
def test_every_job_of_a_mixed_load_ends_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    load = {"seconds": SECONDS or 60.0, "jobs": 10**9 if SECONDS else JOBS}
    soak.soak(None, 0, seconds=60.0, jobs=50)  # what is made once is there now
    threads = set(threading.enumerate())
    path = tmp_path / "runs.db"
    options = [f"--{name}={value}" for name, value in load.items()]
    other = subprocess.Popen(
        [sys.executable, soak.__file__, str(path), "--seed=2", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    outcome = soak.soak(path, 1, **load)  # type: ignore[arg-type]
    said, _ = other.communicate(timeout=120 + 2 * SECONDS)
    assert outcome.wrong == []
    assert (other.returncode, said.count("\n")) == (0, 3), said
    assert outcome.jobs >= JOBS // 2
    assert {"COMPLETED", "CANCELLED", "FAILED"} <= set(outcome.states)
    assert {t for t in threading.enumerate() if t.name.startswith("bgsim")} <= threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the soak forks its processes, to be quick")
@pytest.mark.stress
@pytest.mark.timeout(300)
def test_what_was_told_holds_through_kills_signals_a_full_disk_and_a_long_reader(tmp_path: Path) -> None:
    """``make soak`` does so for ten minutes; docs/explanation/guarantees.md says what it asserts."""
    process = start_script(SUPPORT / "soak_crashes.py", tmp_path, "--seconds=20")
    said, wrong = process.communicate(timeout=240)
    assert (process.returncode, wrong) == (0, "")
    assert {"kill", "signal", "full", "read", "lock"} <= {line.partition(":")[0] for line in said.split("\n")}, said
