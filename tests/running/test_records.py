"""What the engine logs: at DEBUG what it did, at WARNING what costs the user something; never under its lock."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from kernels import one_draw

import bgsim
from bgsim.running.lock import EngineLock
from bgsim.storage import MemoryStore


def records(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == level and r.name == "bgsim.engine"]


def test_at_debug_it_says_what_was_stored_answered_and_joined(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "bgsim"), bgsim.Engine(MemoryStore(), immediate=True) as engine:
        engine.pause()
        first = engine.submit(one_draw, replicates=2)
        second = engine.submit(one_draw, replicates=3)
        engine.resume()
        second.result()
        engine.submit(one_draw, replicates=3).result()
        engine.submit(one_draw, replicates=5).result()
        third = f"{first.id[:-1]}3"
    found = records(caplog, logging.DEBUG)
    assert found[0] == f"{second.id}: joins the run of {first.id}, which asks for the same"
    assert found[1].startswith(f"{one_draw.name}: 3 replicates stored as ")
    assert found[2] == f"{third}: 3 replicates answered from the store"
    assert found[3] == f"{one_draw.name}: 3 replicates from the store"
    assert found[4].startswith(f"{one_draw.name}: 5 replicates stored as ")
    assert records(caplog, logging.WARNING) == []


def test_nothing_is_made_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    monkeypatch.setattr(logging, "getLogRecordFactory", logging.getLogRecordFactory)
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(lambda *a, **k: made.append(a) or factory(*a, **k))
    try:
        with bgsim.Engine(MemoryStore(), immediate=True) as engine:
            engine.submit(one_draw, replicates=3).result()
            engine.submit(one_draw, replicates=3).result()
    finally:
        logging.setLogRecordFactory(factory)
    assert made == []


class Asking(logging.Handler):
    """Asks the engine while it handles a record: a lock that the thread holds would never come free."""

    def __init__(self, engine: bgsim.Engine) -> None:
        super().__init__()
        self.engine = engine
        self.asked: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.engine.stats()
        self.asked.append(record.getMessage())


def test_a_handler_may_use_the_engine(tmp_path: Any) -> None:
    logger = logging.getLogger("bgsim.engine")
    with bgsim.Engine(tmp_path / "s.db", workers=1) as engine:
        handler = Asking(engine)
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            engine.submit(one_draw, replicates=3).result(HANDSHAKE_S)
            engine.submit(one_draw, replicates=3).result(HANDSHAKE_S)
        finally:
            logger.setLevel(logging.NOTSET)
            logger.removeHandler(handler)
    assert ["stored" in handler.asked[0], "answered" in handler.asked[1]] == [True, True]


_tries: list[int] = []


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def fails_once(p: Any, rng: Any) -> float:
    _tries.append(1)
    if len(_tries) == 1:
        raise OSError("no luck")
    return 1.0


def test_a_retry_that_was_asked_for_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    _tries.clear()
    with caplog.at_level(logging.INFO, "bgsim"), bgsim.Engine(immediate=True) as engine:
        job = engine.submit(fails_once, {}, replicates=1, retry=bgsim.Retry(2))
        engine.clock.advance(100.0)
        assert job.result()["x"].tolist() == [1.0]
    (told,) = records(caplog, logging.INFO)
    assert told.startswith(f"{fails_once.name}: retry 1 of 2 in ")
    assert told.endswith("OSError: no luck")


SWITCHED_OFF = """
import bgsim, logging
from bgsim.models.options import european_call
logging.basicConfig(format="%(levelname)s %(message)s")
for seed in (1, 2):
    bgsim.run(european_call, replicates=2, seed=seed)
"""


def test_numba_that_is_switched_off_is_told_once() -> None:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SWITCHED_OFF], capture_output=True, text=True, env=environment, timeout=60, check=True
    )
    assert done.stderr.count("WARNING numba is switched off (NUMBA_DISABLE_JIT)") == 1
    assert len(done.stderr.splitlines()) == 1


def test_compiling_is_told_with_its_seconds(caplog: pytest.LogCaptureFixture) -> None:
    @bgsim.simulation(outputs={"x": "f8"})
    def compiled_here(p: Any, rng: Any) -> float:
        return rng.random() + p.x

    with caplog.at_level(logging.DEBUG, "bgsim.kernels.compiled"):
        bgsim.run(compiled_here, {"x": 1.0}, replicates=2)
    told = [r.getMessage() for r in caplog.records if r.name == "bgsim.kernels.compiled"]
    assert len(told) == 1
    assert told[0].startswith(f"{compiled_here.name}: ")
    assert told[0].endswith(" s")
    assert compiled_here.revision().compiled.took_s > 0


class _Broken(logging.Handler):
    """It raises for each record, and not by way of `handleError`."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError(f"the handler is broken: {record.getMessage()}")


@pytest.fixture
def broken() -> Iterator[None]:
    logger, handler = logging.getLogger("bgsim"), _Broken()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.usefixtures("broken")
def test_a_handler_that_raises_costs_no_job(capsys: pytest.CaptureFixture[str]) -> None:
    """Behind a deferred record a future may wait; a worker, the store's writer and `submit` log, too."""
    before = signal.getsignal(signal.SIGINT)
    with bgsim.Engine(MemoryStore(), workers=2) as engine:
        for _ in range(2):  # the second is answered by the store
            assert engine.submit(one_draw, replicates=5).result(HANDSHAKE_S).replicates == 5
    assert "the handler is broken: " in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_a_deferred_action_that_raises_costs_not_the_next() -> None:
    """Also where the error itself cannot be logged; and signals are handled again."""
    before, called = signal.getsignal(signal.SIGINT), []
    logger = logging.getLogger("bgsim.engine")
    handler = _Broken()
    logger.addHandler(handler)
    try:
        lock = EngineLock(lambda: None)
        with lock:
            lock.defer(lambda: 1 / 0)
            lock.defer(lambda: called.append("next"))
    finally:
        logger.removeHandler(handler)
    assert called == ["next"]
    assert signal.getsignal(signal.SIGINT) is before
