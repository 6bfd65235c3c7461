"""A mixed load, with another process on the same file: every job ends once, and nothing is left over."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import soak

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
