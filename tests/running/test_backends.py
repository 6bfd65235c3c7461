"""An engine and its backend: lanes that come, go and compute not everything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import wait
from threading import Lock

import pytest
from far import wait_until

import bgsim
from bgsim.backends.base import Chunk, Host, Seats, ShutOutError
from bgsim.backends.threads import ThreadBackend, ThreadLane
from bgsim.control import GO, ORDER
from bgsim.errors import BackendError, InvalidInputError, WorkerMismatchError
from bgsim.models.options import AsianCall, asian_call
from bgsim.testing import HANDSHAKE_S, Gate, gate, gated, parts


class Lane(ThreadLane):
    """A lane of another place, as far as the engine knows."""

    writes_in_place = False

    def __init__(self, place: str, before: Callable[[Chunk], None] = lambda _: None) -> None:
        super().__init__()
        self.place = place  # type: ignore[misc]
        self._before = before
        self.chunks: list[Chunk] = []

    def compute(self, chunk: Chunk) -> tuple[int, float]:
        self._before(chunk)
        self.chunks.append(chunk)
        return super().compute(chunk)


class Backend:
    """A backend whose lanes a test adds and removes."""

    name = "of a test"
    is_here = False
    cores = 2
    chunk_s = 0.02
    chunk_bytes = sys.maxsize

    def __init__(self, *lanes: Lane) -> None:
        self.lanes = lanes
        self.closed = 0

    def open(self, host: Host) -> None:
        self.host = host
        for lane in self.lanes:
            host.add(lane)

    def close(self) -> None:
        self.closed += 1

    def alerts(self) -> list[str]:
        return []


def same(result: bgsim.SimulationResult) -> bool:
    """Tell whether rows are those of one thread."""
    with bgsim.Engine(workers=1) as engine:
        again = engine.submit(result.simulation, result.parameters, replicates=result.replicates, seed=result.seed)
        return bool(again.result()["payoff"].tobytes() == result["payoff"].tobytes())


def other_bits(chunk: Chunk) -> None:
    raise ShutOutError("it computes other bits")


def test_a_job_waits_for_a_worker_and_says_so() -> None:
    backend = Backend()
    with bgsim.Engine(backend=backend) as engine:
        job = engine.submit(asian_call, replicates=2000)
        wait_until(lambda: job.state is bgsim.JobState.RUNNING, "a running job")
        assert job.status().waiting_for == "a worker: the backend has none"
        backend.host.add(Lane("a"))
        assert same(job.result(timeout=HANDSHAKE_S))
    assert backend.closed == 1


def test_what_is_stored_needs_no_worker() -> None:
    store = bgsim.MemoryStore()
    with bgsim.Engine(store) as engine:
        engine.submit(asian_call, replicates=300).result()
    with bgsim.Engine(store, backend=Backend()) as engine:
        job = engine.submit(asian_call, replicates=200)
        assert len(job.result(timeout=HANDSHAKE_S)["payoff"]) == 200


def test_a_lane_that_is_removed_ends_its_chunk_and_takes_no_other() -> None:
    there = Gate()
    first = Lane("a", there.stop_here)
    backend = Backend(first)
    with bgsim.Engine(backend=backend) as engine:
        job = engine.submit(asian_call, replicates=50_000)
        there.wait_until_reached()
        backend.host.remove(first)
        assert [one.place for one in engine.at_work()] == [""]
        there.open()
        backend.host.add(Lane("b"))
        assert same(job.result(timeout=HANDSHAKE_S))
    assert len(first.chunks) == 1


@pytest.mark.parametrize("replicates", [2, 10**8])
def test_a_run_whose_last_chunk_a_lane_computed_that_leaves_is_stored_by_another_worker(replicates: int) -> None:
    """It sleeps, and the worker that gave the chunk back would have been the one to store it."""
    there = Gate()

    class Leaving(Lane):
        def compute(self, chunk: Chunk) -> tuple[int, float]:
            computed = super().compute(chunk)
            if chunk.first:
                there.stop_here()
            return computed

    lane = Leaving("a")
    backend = Backend(lane)
    with bgsim.Engine(backend=backend) as engine:
        job = engine.submit(asian_call, replicates=replicates)
        there.wait_until_reached()
        backend.host.remove(lane)
        wait_until(lambda: len(parts(engine).state.sleepers) == 1, "the other worker sleeps")
        if replicates == 10**8:
            job.cancel()
        there.open()
        assert wait([job], timeout=HANDSHAKE_S).done
        assert job.cancelled() == (replicates == 10**8)


class Seated(Lane):
    """A lane whose place computes one chunk at a time; what waits for that can be taken back."""

    def __init__(self, place: str, seats: Seats, room: Lock) -> None:
        super().__init__(place)
        self.seats, self._room = seats, room  # type: ignore[assignment] # a thread has none
        self.has_come = Gate()
        self.has_come.open()

    def compute(self, chunk: Chunk) -> tuple[int, float]:
        self.has_come.stop_here()
        while not self._room.acquire(timeout=0.01):
            if self.control[ORDER] != GO:
                return 0, 0.0
        try:
            return super().compute(chunk)
        finally:
            self._room.release()


def test_what_waits_for_a_long_replicate_goes_to_a_worker_that_comes_later(hold: Gate) -> None:
    """It was sent ahead to a worker that has another chunk in hand, and would wait there as long as that takes."""
    seats, room = Seats(1), Lock()
    first, ahead = Seated("a", seats, room), Seated("a", seats, room)
    backend = Backend(first)
    with bgsim.Engine(backend=backend, progress_update_interval_ms=10) as engine:
        held = engine.submit(gated, {"name": "a"}, replicates=1)
        hold.wait_until_reached()
        job = engine.submit(asian_call, replicates=1)
        backend.host.add(ahead)
        ahead.has_come.wait_until_reached()
        backend.host.add(Seated("b", Seats(1), Lock()))
        assert same(job.result(timeout=HANDSHAKE_S))
        assert not held.done()
        assert ahead.chunks == []
        hold.open()
        assert held.result(timeout=HANDSHAKE_S).replicates == 1


def test_what_waits_is_found_though_it_was_sent_first(hold: Gate) -> None:
    """Chunks may arrive in another order than that in which they were sent."""
    seats, room = Seats(1), Lock()
    first, ahead = Seated("a", seats, room), Seated("a", seats, room)
    first.has_come = Gate()
    backend = Backend(first)
    with bgsim.Engine(backend=backend, progress_update_interval_ms=10) as engine:
        job = engine.submit(asian_call, replicates=1)
        first.has_come.wait_until_reached()
        held = engine.submit(gated, {"name": "a"}, replicates=1)
        backend.host.add(ahead)
        hold.wait_until_reached()
        first.has_come.open()
        backend.host.add(Seated("b", Seats(1), Lock()))
        assert same(job.result(timeout=HANDSHAKE_S))
        assert not held.done()
        assert first.chunks == []
        hold.open()
        assert held.result(timeout=HANDSHAKE_S).replicates == 1


def test_when_the_backend_fails_jobs_fail_with_its_error_and_stored_ones_do_not() -> None:
    backend = Backend()
    store = bgsim.MemoryStore()
    with bgsim.Engine(store) as engine:
        engine.submit(asian_call, replicates=10).result()
    with bgsim.Engine(store, backend=backend) as engine:
        before = engine.submit(asian_call, AsianCall(strike=90.0), replicates=10)
        backend.host.fail(BackendError("the cluster is gone"))
        after = engine.submit(asian_call, AsianCall(strike=91.0), replicates=10)
        for job in (before, after):
            with pytest.raises(BackendError, match="the cluster is gone"):
                job.result(timeout=HANDSHAKE_S)
        assert engine.submit(asian_call, replicates=10).result(timeout=HANDSHAKE_S).replicates == 10
        assert engine.health().alerts[-1] == "nothing is computed any more: the cluster is gone"
        assert not engine.health().ok


def test_a_place_is_shut_out_of_one_run_and_named_until_it_has_gone() -> None:
    bad = Lane("bad", lambda chunk: other_bits(chunk) if chunk.computation.seed == 1 else None)
    backend = Backend(bad, Lane("good"))
    with bgsim.Engine(backend=backend) as engine:
        jobs = [engine.submit(asian_call, replicates=40_000, seed=seed) for seed in (1, 2)]
        assert all(same(job.result(timeout=HANDSHAKE_S)) for job in jobs)
        assert {chunk.computation.seed for chunk in bad.chunks} <= {2}
        if engine.health().alerts:  # else the good one was so fast that the bad one was never asked
            assert engine.health().alerts == ("the worker bad is shut out: it computes other bits",)
        backend.host.remove(bad)
        assert engine.health().alerts == ()


def test_a_job_that_no_place_computes_fails_and_another_does_not() -> None:
    refuse = [True]
    lane = Lane("a", lambda chunk: other_bits(chunk) if refuse[0] else None)
    with bgsim.Engine(backend=Backend(lane)) as engine:
        job = engine.submit(asian_call, replicates=10)
        with pytest.raises(
            WorkerMismatchError, match=r"no worker can compute .*asian_call; of a: it computes other bits"
        ):
            job.result(timeout=HANDSHAKE_S)
        refuse[0] = False
        assert same(engine.submit(asian_call, replicates=10).result(timeout=HANDSHAKE_S))


def test_an_urgent_job_overtakes_though_a_worker_without_a_lane_sleeps() -> None:
    """It must not be taken for one that could compute it."""
    with bgsim.Engine(backend=Backend(Lane("a")), max_concurrent_simulations=2) as engine:
        low = engine.submit(asian_call, replicates=100_000_000, priority="low")
        wait_until(lambda: low.status().replicates_completed > 10_000, "progress")
        assert same(engine.submit(asian_call, replicates=1000, seed=5, priority="high").result(timeout=HANDSHAKE_S))
        assert not low.done()
        low.cancel()


def test_nobody_sleeps_while_a_small_job_waits() -> None:
    """The worker without a lane prepares it at once, and has to wake one that computes it."""
    with bgsim.Engine(backend=Backend(Lane("a"), Lane("b"))) as engine:
        for seed in range(200):
            assert engine.submit(asian_call, replicates=1, seed=seed).result(timeout=HANDSHAKE_S).replicates == 1


def test_rows_that_come_at_the_end_are_not_shown_before() -> None:
    there = Gate()
    with bgsim.Engine(backend=Backend(Lane("a", there.stop_here))) as engine:
        job = engine.submit(asian_call, replicates=50_000)
        there.wait_until_reached()
        (lane,) = engine.backend.lanes  # type: ignore[attr-defined]
        lane.control[1] = 1  # as if a message had said so
        assert job.status().replicates_completed == 1
        assert job.partial() is None or job.partial().replicates == 0
        lane.control[1] = 0
        there.open()
        assert same(job.result(timeout=HANDSHAKE_S))


def test_a_backend_that_cannot_open_leaves_nothing() -> None:
    class Broken(Backend):
        def open(self, host: Host) -> None:
            host.add(Lane("a"))
            raise BackendError("no cluster")

    backend = Broken()
    before = len(bgsim.engines())
    with pytest.raises(BackendError, match="no cluster"):
        bgsim.Engine(backend=backend)
    assert len(bgsim.engines()) == before
    assert backend.closed == 1


def test_an_immediate_engine_has_no_other_backend() -> None:
    with pytest.raises(InvalidInputError, match="backend must be None for an immediate engine"):
        bgsim.Engine(immediate=True, backend=ThreadBackend(1, 0.1))


def test_what_workers_do_is_shown_with_its_place() -> None:
    with bgsim.Engine(backend=Backend(Lane("tcp://a"))) as engine, gate("g") as g:
        engine.submit(gated, {"name": "g"}, replicates=1)
        g.wait_until_reached()
        assert [(one.phase, one.place) for one in engine.at_work()] == [("idle", ""), ("running", "tcp://a")]
        assert "tcp://a" in str(engine.at_work())
        g.open()
