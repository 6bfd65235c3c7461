"""What plain Python may do in another process, and what becomes of that process."""

from __future__ import annotations

import decimal
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from far import wait_until

import bgsim
from bgsim.backends import ExecutorBackend
from bgsim.errors import ReplicateError, WorkerMismatchError
from bgsim.models.options import asian_call
from bgsim.testing import HANDSHAKE_S

ROOT = Path(__file__).parents[2]


def raising(kind: str) -> Any:
    class NotItself(Exception):
        def __reduce__(self) -> Any:
            return str, ("no exception",)

    class NoNotes(Exception):
        def add_note(self, note: str) -> None:
            raise RuntimeError("no notes")

    made, argument = {"not itself": (NotItself, "a"), "no notes": (NoNotes, "a"), "exit": (SystemExit, 3)}[kind]

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def odd(p: Any, rng: Any) -> float:
        raise made(argument)

    return odd


@pytest.mark.parametrize(
    ("kind", "said"), [("not itself", "NotItself: a"), ("no notes", "NoNotes: a"), ("exit", "SystemExit: 3")]
)
def test_what_a_replicate_raises_fails_its_job_however_odd(kind: str, said: str) -> None:
    with (
        bgsim.Engine(backend=ExecutorBackend(workers=1)) as engine,
        pytest.raises(ReplicateError, match=rf"replicate 0 of .*odd raised .*{said}"),
    ):
        engine.submit(raising(kind), replicates=3).result(timeout=HANDSHAKE_S)


def test_plain_python_that_reads_what_only_this_process_has_is_refused() -> None:
    """Here it computes with five digits, there with 28."""

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def digits(p: Any, rng: Any) -> float:
        return float(decimal.Decimal(rng.random()).sqrt() / 3)

    with (
        decimal.localcontext(prec=5),
        bgsim.Engine(backend=ExecutorBackend(workers=1)) as engine,
        pytest.raises(WorkerMismatchError, match="it computes other bits of .*digits"),
    ):
        engine.submit(digits, replicates=10).result(timeout=HANDSHAKE_S)


ENGINE = """
import os, sys, time
import bgsim
from bgsim.backends import ExecutorBackend

@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def tells(p, rng):
    open(f"pid-{os.getpid()}", "w").close()
    time.sleep(0.01)
    return rng.random()

if __name__ == "__main__":
    with bgsim.Engine(backend=ExecutorBackend(workers=2)) as engine:
        engine.submit(tells, replicates=10**6).result()
"""


@pytest.mark.skipif(os.name != "posix", reason="kills")
def test_processes_end_with_an_engine_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "engine.py"
    script.write_text(ENGINE)
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    engine = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})

    def workers() -> list[int]:
        return [number for one in tmp_path.glob("pid-*") if (number := int(one.name[4:])) != engine.pid]

    wait_until(lambda: len(workers()) == 2, "two workers")
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait()
    wait_until(lambda: not any(map(is_there, workers())), "the end of the workers")


def test_a_process_that_hosts_an_engine_does_not_end_with_its_parent() -> None:
    """Though an executor of threads computes in it."""
    context = multiprocessing.get_context("spawn")
    hosting = context.Process(target=host_in_threads)
    hosting.start()
    hosting.join(HANDSHAKE_S)
    assert hosting.exitcode == 0


def host_in_threads() -> None:
    with (
        ThreadPoolExecutor(1) as executor,
        bgsim.Engine(backend=ExecutorBackend(executor)) as engine,
    ):
        engine.submit(asian_call, replicates=10).result(timeout=HANDSHAKE_S)
        assert not [thread for thread in threading.enumerate() if thread.name == "bgsim-parent"]


def is_there(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{number}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
