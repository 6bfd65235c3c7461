"""Log records of jobs, and context variables that go with a submission."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

import pytest
from conftest import HANDSHAKE_S

import bgsim
from bgsim import logs

logger = logging.getLogger("of_a_test")
user: ContextVar[str] = ContextVar("user", default="nobody")


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def talks(p: Any, rng: Any) -> float:
    logger.info("%s says %s", user.get(), p.word)
    return 0.0


def test_records_of_a_job_carry_its_id_and_are_kept_with_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "of_a_test"), bgsim.Engine(workers=2) as engine:
        jobs = [engine.submit(talks, {"word": n}, replicates=2, seed=n) for n in range(3)]
        for job in jobs:
            job.result(HANDSHAKE_S)
        logger.info("outside")
        for number, job in enumerate(jobs):
            assert [r.getMessage() for r in job.logs()] == [f"nobody says {number}"] * 2
            assert {r.job_id for r in job.logs()} == {job.id}  # type: ignore[attr-defined]
    by_id = {r.job_id for r in caplog.records if r.name == "of_a_test"}  # type: ignore[attr-defined]
    assert by_id == {job.id for job in jobs} | {""}


def test_a_formatter_may_show_the_id() -> None:
    logs.install()
    record = logging.getLogger("any").makeRecord("any", logging.INFO, "f", 1, "text", (), None)
    assert logging.Formatter("[%(job_id)s] %(message)s").format(record) == "[] text"


def test_the_newest_thousand_are_kept() -> None:
    log = logs.JobLog("a")
    for number in range(logs.MAX_RECORDS + 5):
        log.records.append(logging.makeLogRecord({"msg": str(number)}))
    assert len(log.records) == logs.MAX_RECORDS
    assert log.records[0].msg == "5"


def test_jobs_that_share_a_run_share_its_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "of_a_test"), bgsim.Engine(immediate=True) as engine:
        engine.pause()
        first, second = (engine.submit(talks, {"word": "a"}, replicates=1) for _ in range(2))
        engine.resume()
        assert first.logs() == second.logs()
        assert len(first.logs()) == 1


def test_logs_are_forgotten_with_the_job() -> None:
    with bgsim.Engine(immediate=True) as engine:
        job = engine.submit(talks, {"word": "a"}, replicates=1)
        engine.clock.advance(1.0)  # type: ignore[attr-defined]
        assert engine.clean() == 1
        assert job.logs() == []


def test_context_variables_go_with_a_submission_and_do_not_come_back() -> None:
    seen = []

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def looks(p: Any, rng: Any) -> float:
        seen.append(user.get())
        user.set("the simulation")
        return 0.0

    with bgsim.Engine(workers=1) as engine:
        token = user.set("somebody")
        job = engine.submit(looks, replicates=3)
        user.reset(token)
        job.result(HANDSHAKE_S)
        assert seen[0] == "somebody"  # a later replicate of the chunk sees what the one before has set
        assert user.get() == "nobody"


def test_every_job_of_a_batch_has_the_context_of_its_maker() -> None:
    """Also those that are submitted as others end, in the threads that end them."""
    seen = []

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def looks(p: Any, rng: Any) -> float:
        seen.append(user.get())
        return 0.0

    with bgsim.Engine(workers=1, max_queue_size=1, max_concurrent_simulations=1) as engine:
        token = user.set("somebody")
        batch = engine.submit_many(looks, [{"n": n} for n in range(8)], replicates=1)
        user.reset(token)
        assert batch.wait(HANDSHAKE_S)
    assert seen == ["somebody"] * 8
