"""A system that starts no more threads: named errors, nothing left behind, and nothing that waits for ever."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HANDSHAKE_S
from kernels import one_draw

import bgsim
from bgsim.errors import InvalidInputError, NoThreadError
from bgsim.testing import Gate, gated

STARTS = 4
"""How many threads an engine with a file and two workers starts."""


@contextmanager
def no_thread(monkeypatch: pytest.MonkeyPatch, after: int = 0, error: type[Exception] = RuntimeError) -> Iterator[None]:
    """Let so many threads start, and no more."""
    start, left = threading.Thread.start, [after]

    def start_or_fail(thread: threading.Thread) -> None:
        if not left[0]:
            raise error("can't start new thread")
        left[0] -= 1
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_or_fail)
        yield


def use(path: Path) -> None:
    """Use a store as if nothing had been."""
    with bgsim.Engine(path, workers=2) as engine:
        assert engine.interrupted() == []
        assert engine.submit(one_draw, replicates=2).result(HANDSHAKE_S).replicates == 2
        with engine.store.database() as database:  # type: ignore[attr-defined]
            assert database.execute("SELECT count(*) FROM owners").fetchone() == (1,)


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
@pytest.mark.parametrize("after", range(STARTS))
def test_an_engine_that_cannot_start_its_threads_leaves_nothing_behind(
    after: int, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixture of all tests looks for threads and open files."""
    path = tmp_path / "s.db"
    with no_thread(monkeypatch, after, error), pytest.raises(NoThreadError, match="cannot be started"):
        bgsim.Engine(path, workers=2)
    use(path)


def test_with_one_thread_more_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with no_thread(monkeypatch, STARTS):
        engine = bgsim.Engine(tmp_path / "s.db", workers=2)
        assert engine.submit(one_draw, replicates=1).result(HANDSHAKE_S).replicates == 1
        engine.close()


def test_settings_that_are_refused_late_leave_no_store_open(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        bgsim.Engine(tmp_path / "s.db", limits={"g": 0})
    use(tmp_path / "s.db")


def test_a_subscriber_is_told_and_the_next_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    with bgsim.Engine(workers=1) as engine:
        with no_thread(monkeypatch):
            with pytest.raises(NoThreadError):
                engine.subscribe()
            with pytest.raises(NoThreadError):
                engine.submit(one_draw, replicates=1, on_progress=print)
        updates = engine.subscribe(completions_only=True)
        job = engine.submit(one_draw, replicates=1, seed=1)
        assert next(updates).simulation_id == job.id


@pytest.mark.parametrize("then", ["another", "close"])
def test_done_callbacks_wait_for_a_thread_or_for_the_end(then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    enough = threading.Event()
    engine = bgsim.Engine(workers=1)
    with no_thread(monkeypatch):
        jobs = [engine.submit(one_draw, replicates=1, seed=seed) for seed in range(3)]
        for job in jobs:
            job.add_done_callback(called.append)
        assert [job.result(HANDSHAKE_S).replicates for job in jobs] == [1] * 3
        assert engine.drain(HANDSHAKE_S)
        assert called == []
        if then == "close":
            engine.close()
    if then == "another":
        jobs[0].add_done_callback(lambda _: enough.set())
        assert enough.wait(HANDSHAKE_S)
    engine.close()
    assert sorted(job.seed for job in called) == [0, 1, 2]


QUESTIONS: dict[str, Callable[[bgsim.Engine], Any]] = {
    "health": lambda engine: engine.health(),
    "stats": lambda engine: engine.stats(),
    "jobs": lambda engine: engine.jobs(),
}


def test_questions_are_answered(hold: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    with bgsim.Engine(workers=1) as engine, no_thread(monkeypatch):
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        job.add_done_callback(print)
        for ask in QUESTIONS.values():
            ask(engine)
        assert job.status().id == job.id
        hold.open()
        job.result(HANDSHAKE_S)
        for ask in QUESTIONS.values():
            ask(engine)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_workers_let_other_threads_go_first() -> None:
    with bgsim.Engine(workers=1, worker_nice=7) as engine:
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        found = engine.executor().submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()
    assert found == min(19, own + 7)
    with bgsim.Engine(workers=1, worker_nice="idle") as engine:
        assert engine.executor().submit(lambda: os.sched_getscheduler(0)).result() == os.SCHED_IDLE
    for wrong in (20, "ilde", np.array([1, 2])):
        with pytest.raises(InvalidInputError, match='worker_nice must be an integer from 0 to 19, or "idle"'):
            bgsim.Engine(worker_nice=wrong)
