"""A job on a backend that has no workers says what it waits for, and goes on when one comes."""

from __future__ import annotations

import kernels

import bgsim
from bgsim.backends.base import Host
from bgsim.backends.threads import ThreadLane
from bgsim.models.options import asian_call
from bgsim.ui.job_line import line_of
from bgsim.ui.notebook.engine_state import engine_state


class Empty:
    """A backend whose only lane comes when a test adds it."""

    name = "empty"
    is_here = False
    cores = 1
    chunk_s = 0.02
    chunk_bytes = 2**20

    def open(self, host: Host) -> None:
        self.host = host

    def close(self) -> None:
        pass

    def alerts(self) -> list[str]:
        return ["it has no workers"]


def test_progress_status_and_health_say_what_a_job_waits_for() -> None:
    backend, lane = Empty(), ThreadLane()
    with bgsim.Engine(backend=backend, progress_update_interval_ms=10) as engine:
        job = engine.submit(kernels.one_draw, replicates=100, seed=1)
        update = next(update for update in job.updates() if update.messages)
        assert update.messages == ("waits for a worker",)
        assert str(update) == "running 0.0 % (0/100); waits for a worker"
        assert job.status().waiting_for == "a worker: the backend has none"
        assert [worker.phase for worker in engine.at_work()] == ["idle"]
        assert line_of(job, job.status())["detail"] == "waits for a worker: the backend has none"
        assert repr(engine).startswith("<Engine: 1 cores of empty, 1 running")
        state = engine_state(engine)
        assert state["about"].startswith("1 cores of empty · store")
        assert state["note"] == "it has no workers"
        (alert,) = engine.health().alerts
        assert (alert, alert.kind) == ("it has no workers", "backend")
        backend.host.add(lane)
        result = job.result(timeout=30.0)
        assert job.status().waiting_for is None
        backend.host.remove(lane)
    expected = bgsim.run(kernels.one_draw, replicates=100, seed=1)
    assert all(result[name].tobytes() == expected[name].tobytes() for name in expected)


def test_no_time_is_estimated_while_no_worker_is_there() -> None:
    backend, lane = Empty(), ThreadLane()
    with bgsim.Engine(backend=backend, progress_update_interval_ms=10) as engine:
        backend.host.add(lane)
        job = engine.submit(asian_call, replicates=10**8, seed=1)
        updates = iter(job.updates())
        assert next(update for update in updates if update.estimated_time_remaining_ms and update.metadata["rate"])
        backend.host.remove(lane)
        update = next(update for update in updates if update.messages)
        assert update.messages == ("waits for a worker",)
        assert update.replicates_completed > 0
        assert (update.estimated_time_remaining_ms, update.metadata["rate"]) == (None, None)
        status = job.status()
        assert (status.estimated_time_remaining_s, status.rate) == (None, None)
        job.cancel()
    assert job.partial().replicates > 0
