"""The engine: submitting, sharing, overtaking, cancelling, failing, storing, closing; races forced by handshake."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import itertools
import logging
import math
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HANDSHAKE_S
from kernels import Fragile, Spin, Walk, fragile, one_draw, spin, walk

import bgsim
from bgsim.errors import (
    CompileError,
    EngineClosedError,
    InvalidInputError,
    JobTimeoutError,
    NotStoredError,
    OutputError,
    ParameterError,
    QueueFullError,
    ReplicateError,
    RequestNotFoundError,
    StoreError,
)
from bgsim.job import Job, JobState
from bgsim.progress import UpdateType
from bgsim.storage import MemoryStore, SlotPair
from bgsim.testing import GATES, Gate, gated, lock_is_free


def finish(*jobs: Job) -> None:
    concurrent.futures.wait(jobs, HANDSHAKE_S)
    assert all(job.done() for job in jobs)


# ---- submitting --------------------------------------------------------------------------------------


def test_a_job_is_a_future_with_a_result() -> None:
    with bgsim.Engine() as engine:
        job = engine.submit(walk, Walk(steps=2), replicates=100, seed=1)
        result = job.result(timeout=HANDSHAKE_S)
        assert result["path"].shape == (100, 2)
        assert job.done()
        assert not job.running()
        assert job.exception() is None
        assert job.state is JobState.COMPLETED
        status = job.status()
        assert (status.fraction, status.replicates_completed, status.from_store) == (1.0, 100, 0)
        assert "completed" in str(status)
        assert engine.status(job.id) == status
        assert job.id in repr(job)


def test_updates_begin_with_started_and_end_with_completed() -> None:
    with bgsim.Engine(progress_update_interval_ms=1, chunk_target_ms=1) as engine:
        job = engine.submit(walk, Walk(steps=200), replicates=20_000)
        updates = list(job.updates())
    assert updates[-1].update_type is UpdateType.COMPLETED
    assert updates[-1].fraction == 1.0
    fractions = [u.fraction for u in updates]
    assert fractions == sorted(fractions)
    sequences = [u.sequence for u in updates]
    assert sequences == sorted(set(sequences))
    assert {u.update_type for u in updates[1:-1]} <= {UpdateType.PROGRESS}
    assert any(u.estimated_time_remaining_ms is not None for u in updates[1:-1])


def test_on_progress_is_called_with_every_kind_in_order() -> None:
    seen: list[Any] = []
    ended = threading.Event()

    def watch(update: Any) -> None:
        seen.append(update.update_type)
        if update.update_type.is_terminal:
            ended.set()

    with bgsim.Engine() as engine:
        engine.submit(walk, replicates=10, on_progress=watch)
        assert ended.wait(HANDSHAKE_S)
    assert seen[0] is UpdateType.STARTED
    assert seen[-1] is UpdateType.COMPLETED


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"replicates": 0}, InvalidInputError, "replicates must be an integer of 1 or more; got 0"),
        ({"replicates": -5}, InvalidInputError, "got -5"),
        ({"replicates": 1.5}, InvalidInputError, "got 1.5"),
        ({"replicates": True}, InvalidInputError, "got True"),
        ({"seed": 1.5}, InvalidInputError, "seed must be an integer"),
        ({"seed": -1}, InvalidInputError, "seed must be an integer"),
        ({"priority": "hihg"}, InvalidInputError, "critical, high, normal, low; did you mean 'high'"),
        ({"cache": "of"}, InvalidInputError, "use, refresh, off, only; did you mean 'off'"),
        ({"timeout_s": 0}, InvalidInputError, "timeout_s must be more than 0"),
        ({"parameters": {"stesp": 2}}, ParameterError, "did you mean 'steps'"),
        ({"parameters": {"scale": float("nan")}}, ParameterError, "'scale' must not be NaN"),
        ({"parameters": {"steps": -1}}, ParameterError, "'steps' is a length of output 'path'"),
        ({"simulation": "walkk"}, bgsim.errors.SimulationNotFoundError, "no simulation is named 'walkk'"),
        ({"replicates": 10**12}, InvalidInputError, "max_result_bytes"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(arguments: Any, error: Any, message: str) -> None:
    with bgsim.Engine(workers=1) as engine:
        with pytest.raises(error, match=message):
            engine.submit(**{"simulation": walk, "replicates": 1, **arguments})
        assert engine.jobs() == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"worker": 2}, "did you mean 'workers'"),
        ({"number": 3}, "a simulation's parameters are one argument, a mapping; a job's options go to Engine.submit"),
        ({"workers": 0}, "workers must be an integer of 1 or more"),
        ({"chunk_target_ms": 0}, "chunk_target_ms must be a number above 0"),
        ({"store": 3}, "store must be a path"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        bgsim.Engine(**settings)


def test_a_kernel_that_does_not_compile_fails_its_job_only() -> None:
    @bgsim.simulation(outputs={"x": "f8"})
    def bad(p: Any, rng: Any) -> Any:
        return p.nothing

    @bgsim.simulation(outputs={"x": "i8"})
    def wrong(p: Any, rng: Any) -> Any:
        return 1.5

    with bgsim.Engine() as engine:
        jobs = [engine.submit(s, replicates=3) for s in (bad, wrong, one_draw)]
        with pytest.raises(CompileError, match=r"p\.nothing"):
            jobs[0].result(HANDSHAKE_S)
        with pytest.raises(OutputError):
            jobs[1].result(HANDSHAKE_S)
        assert jobs[2].result(HANDSHAKE_S).replicates == 3
        assert "CompileError" in (jobs[0].status().error or "")


def test_a_replicate_that_raises_fails_the_job_and_says_how_to_replay() -> None:
    with bgsim.Engine() as engine:
        job = engine.submit(fragile, Fragile(0.5), replicates=100, seed=9)
        with pytest.raises(ReplicateError, match=r"fragile\.replay\(parameters, seed=9, index=") as caught:
            job.result(HANDSHAKE_S)
        assert isinstance(caught.value.__cause__, ValueError)
        assert caught.value.parameters["fails_at"] == 0.5
        assert job.state is JobState.FAILED
        last = list(job.updates())[-1]
        assert last.update_type is UpdateType.FAILED
        assert last.fraction < 1.0


# ---- sharing -----------------------------------------------------------------------------------------


def test_the_same_request_twice_is_one_run(hold: Gate) -> None:
    """Each caller has a handle of its own, and the same result."""
    with bgsim.Engine(workers=1) as engine:
        first = engine.submit(gated, {"name": "a"}, replicates=3)
        assert hold.reached.wait(HANDSHAKE_S)
        second = engine.submit(gated, {"name": "a"}, replicates=3)
        apart = engine.submit(gated, {"name": "a"}, replicates=3, allow_deduplication=False)
        assert engine.stats().queue.joined == 1
        hold.go_on.set()
        results = [job.result(HANDSHAKE_S) for job in (first, second, apart)]
    assert first.id != second.id
    assert np.shares_memory(results[0]["x"], results[1]["x"])
    assert not np.shares_memory(results[0]["x"], results[2]["x"])
    assert results[0]["x"].tolist() == results[2]["x"].tolist()


def test_cancelling_one_of_two_leaves_the_other_running(hold: Gate) -> None:
    with bgsim.Engine(workers=1) as engine:
        first = engine.submit(gated, {"name": "a"}, replicates=3)
        assert hold.reached.wait(HANDSHAKE_S)
        second = engine.submit(gated, {"name": "a"}, replicates=3)
        assert first.cancel()
        assert first.state is JobState.CANCELLED
        assert second.state is JobState.RUNNING
        hold.go_on.set()
        assert second.result(HANDSHAKE_S).replicates == 3
        with pytest.raises(concurrent.futures.CancelledError):
            first.result()


@pytest.mark.parametrize("more", [50, 5])
def test_a_duplicate_that_wants_more_is_served_by_the_same_run(hold: Gate, more: int) -> None:
    """The larger number of replicates wins, whenever it comes; each gets as many as it asked for."""
    with bgsim.Engine(workers=2) as engine:
        first = engine.submit(gated, {"name": "a"}, replicates=20, seed=3)
        assert hold.reached.wait(HANDSHAKE_S)
        second = engine.submit(gated, {"name": "a"}, replicates=more, seed=3)
        hold.go_on.set()
        a, b = first.result(HANDSHAKE_S), second.result(HANDSHAKE_S)
    assert (a.replicates, b.replicates) == (20, more)
    shorter = min(20, more)
    assert a["x"][:shorter].tolist() == b["x"][:shorter].tolist()
    assert b["x"].tolist() == bgsim.run(gated, {"name": ""}, replicates=more, seed=3)["x"].tolist()


def test_the_key_is_free_again_after_a_failure() -> None:
    with bgsim.Engine() as engine:
        for _ in range(2):
            with pytest.raises(ReplicateError):
                engine.submit(fragile, Fragile(1.0), replicates=1).result(HANDSHAKE_S)


# ---- priority ----------------------------------------------------------------------------------------


def test_the_most_urgent_goes_first(hold: Gate) -> None:
    order: list[str] = []
    with bgsim.Engine(workers=1, max_concurrent_simulations=1) as engine:
        engine.submit(gated, {"name": "a"}, replicates=1, priority="critical")
        assert hold.reached.wait(HANDSHAKE_S)
        jobs = []
        for seed, priority in enumerate(("low", "normal", "high", "normal")):
            job = engine.submit(one_draw, replicates=1, seed=seed, priority=priority)
            job.add_done_callback(lambda job, text=f"{priority} {seed}": order.append(text))  # type: ignore[misc]
            jobs.append(job)
        assert [job.status().position for job in jobs] == [3, 1, 0, 2]
        jobs[0].set_priority("critical")
        assert [job.status().position for job in jobs] == [0, 2, 1, 3]
        hold.go_on.set()
        finish(*jobs)
    assert order == ["low 0", "high 2", "normal 1", "normal 3"]


def test_an_urgent_job_suspends_a_running_one_which_later_goes_on(hold: Gate) -> None:
    """With one place, the running one gives way at its next replicate, and nothing is computed twice."""
    with bgsim.Engine(workers=1, max_concurrent_simulations=1) as engine:
        low = engine.submit(gated, {"name": "a"}, replicates=5, priority="low")
        assert hold.reached.wait(HANDSHAKE_S)
        high = engine.submit(one_draw, replicates=5, priority="high")
        assert low.state is JobState.SUSPENDED
        assert high.state is JobState.RUNNING
        hold.go_on.set()
        assert high.result(HANDSHAKE_S).replicates == 5
        assert low.result(HANDSHAKE_S).replicates == 5
        kinds = [u.update_type for u in low.updates()]
    assert kinds[-1] is UpdateType.COMPLETED


def test_cancelling_a_suspended_job_keeps_its_replicates(hold: Gate, tmp_path: Path) -> None:
    urgent = Gate()
    GATES["urgent"] = urgent
    with bgsim.Engine(tmp_path / "runs.db", workers=1, max_concurrent_simulations=1) as engine:
        low = engine.submit(gated, {"name": "a"}, replicates=5, priority="low")
        assert hold.reached.wait(HANDSHAKE_S)
        high = engine.submit(gated, {"name": "urgent"}, replicates=1, priority="high")
        hold.go_on.set()
        assert urgent.reached.wait(HANDSHAKE_S)  # so the one replicate of `low` is done
        assert low.state is JobState.SUSPENDED
        assert low.cancel()
        assert low.state is JobState.CANCELLING
        urgent.go_on.set()
        finish(low, high)
        assert low.cancelled()
        assert low.status().replicates_completed == 1
        assert engine.submit(gated, {"name": "a"}, replicates=1).status().from_store == 1


def test_equal_jobs_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker serves two running jobs alternately, chunk by chunk."""
    monkeypatch.setattr(
        "bgsim.running.run._SHORT_CHECK_S", math.inf
    )  # a busy machine makes it long, and chunks with it
    served: list[int] = []
    both = threading.Event()

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def notes(p: Any, rng: Any) -> float:
        served.append(p.number)
        assert both.wait(HANDSHAKE_S)
        return 0.0

    with bgsim.Engine(workers=1, chunk_target_ms=1e-6) as engine:
        jobs = [engine.submit(notes, {"number": number}, replicates=20) for number in (0, 1)]
        both.set()
        finish(*jobs)
    assert sorted(served) == [0] * 20 + [1] * 20
    assert served[1:39].count(0) == 19
    assert all(a != b for a, b in itertools.pairwise(served[2:31]))


def test_one_job_uses_all_workers() -> None:
    """Several replicates of one job are in hand at once."""
    inside = threading.Barrier(3)

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def meets(p: Any, rng: Any) -> float:
        inside.wait(HANDSHAKE_S)
        return 0.0

    assert bgsim.run(meets, replicates=3, workers=3).replicates == 3


# ---- cancelling --------------------------------------------------------------------------------------


def test_a_running_kernel_is_stopped_and_honest_about_it() -> None:
    """CANCELLING until the kernel has let go; the flag is seen in a loop that stores nowhere."""
    spin.warmup()
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(spin, Spin(), replicates=1)
        for update in job.updates():
            if update.update_type is UpdateType.STARTED:
                break
        assert job.cancel()
        assert job.state in (JobState.CANCELLING, JobState.CANCELLED)
        finish(job)
        assert job.cancelled()
        assert not job.cancel()
        assert [u.update_type for u in job.updates()] == [UpdateType.CANCELLED]
        assert engine.submit(one_draw, replicates=1).result(HANDSHAKE_S).replicates == 1


def test_a_queued_job_is_cancelled_at_once_and_never_starts(hold: Gate) -> None:
    with bgsim.Engine(workers=1, max_concurrent_simulations=1) as engine:
        running = engine.submit(gated, {"name": "a"}, replicates=1)
        assert hold.reached.wait(HANDSHAKE_S)
        queued = engine.submit(one_draw, replicates=1)
        updates = queued.updates()
        assert queued.cancel()
        assert queued.cancelled()
        assert [u.update_type for u in updates] == [UpdateType.CANCELLED]
        hold.go_on.set()
        finish(running)


def test_a_kernel_that_does_not_let_go_holds_no_place(hold: Gate) -> None:
    """It is CANCELLING for as long as it takes; a more urgent job neither waits for it nor suspends it."""
    with bgsim.Engine(workers=2, max_concurrent_simulations=1) as engine:
        job = engine.submit(gated, {"name": "a"}, replicates=1, priority="low")
        assert hold.reached.wait(HANDSHAKE_S)
        queued = engine.submit(one_draw, replicates=1, priority="low")
        assert job.cancel()
        urgent = engine.submit(one_draw, replicates=1, seed=1, priority="critical")
        finish(queued, urgent)
        assert job.state is JobState.CANCELLING
        hold.go_on.set()
        finish(job)
        assert job.cancelled()


def test_of_several_failures_the_lowest_replicate_is_reported(gate: Gate) -> None:
    """However late it fails."""

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def all_fail(p: Any, rng: Any) -> float:
        if rng.random() == bgsim.replicate_rng(0, 0).random():
            gate.stop_here()
        raise ValueError("no luck")

    with bgsim.Engine(workers=2) as engine:
        job = engine.submit(all_fail, replicates=2)
        gate.wait_until_reached()
        while job.run.error is None:
            pass  # the other replicate fails now
        gate.open()
        with pytest.raises(ReplicateError, match="replicate 0 of"):
            job.result(HANDSHAKE_S)


def test_cancel_while_the_result_is_stored_is_too_late(gate: Gate) -> None:
    """A job that finishes first is COMPLETED."""

    class SlowStore(MemoryStore):
        def store(self, *args: Any, **kwargs: Any) -> None:
            gate.stop_here()
            super().store(*args, **kwargs)

    with bgsim.Engine(SlowStore()) as engine:
        job = engine.submit(one_draw, replicates=1)
        gate.wait_until_reached()
        assert job.status().phase == "storing"
        assert not job.cancel()
        gate.open()
        assert job.result(HANDSHAKE_S).replicates == 1


def test_a_request_that_comes_while_the_same_is_letting_go_follows_it(gate: Gate, tmp_path: Path) -> None:
    """It waits for the finished replicates to be stored, and computes only the others."""

    class SlowStore(MemoryStore):
        def store(self, *args: Any, **kwargs: Any) -> None:
            gate.stop_here()
            super().store(*args, **kwargs)

    with bgsim.Engine(SlowStore()) as engine:
        first = engine.submit(one_draw, replicates=10)
        gate.wait_until_reached()
        second = engine.submit(one_draw, replicates=15)
        assert second.status().phase != "running"
        gate.open()
        assert second.result(HANDSHAKE_S).replicates == 15
        assert second.status().from_store == 10
        finish(first)


def test_cancel_from_a_callback_and_from_many_threads(in_threads: Any, hold: Gate) -> None:
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        assert hold.reached.wait(HANDSHAKE_S)
        answers = in_threads(*[job.cancel] * 8)
        assert answers == [True] * 8
        hold.go_on.set()
        finish(job)
        assert job.cancelled()
        other = engine.submit(
            spin, replicates=1, on_progress=lambda update: engine.jobs() and engine.jobs()[0].cancel()
        )
        finish(other)
        assert other.cancelled()


def test_a_time_out_stops_the_kernel() -> None:
    spin.warmup()
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(spin, replicates=1, timeout_s=0.05)
        with pytest.raises(JobTimeoutError, match=r"longer than timeout_s=0\.05"):
            job.result(HANDSHAKE_S)
        assert job.state is JobState.FAILED


def test_a_newer_request_supersedes_the_older() -> None:
    """Latest wins: the running one is cancelled, the queued one dropped."""
    with bgsim.Engine(workers=1, max_concurrent_simulations=1) as engine:
        jobs = [
            engine.submit(spin, Spin(iterations=3_000_000_000 + i), replicates=1, supersede="preview") for i in range(3)
        ]
        last = engine.submit(one_draw, replicates=1, supersede="preview")
        assert last.result(HANDSHAKE_S).replicates == 1
        finish(*jobs)
        assert all(job.cancelled() for job in jobs)


def test_a_group_limits_how_many_run(hold: Gate) -> None:
    with bgsim.Engine(workers=2, limits={"disk": 1}) as engine:
        first = engine.submit(gated, {"name": "a"}, replicates=1, group="disk")
        assert hold.reached.wait(HANDSHAKE_S)
        second = engine.submit(one_draw, replicates=1, group="disk")
        other = engine.submit(one_draw, replicates=1, seed=1)
        assert other.result(HANDSHAKE_S).replicates == 1
        assert second.state is JobState.QUEUED
        hold.go_on.set()
        finish(first, second)


def test_a_full_queue_refuses_or_waits(hold: Gate) -> None:
    with bgsim.Engine(workers=1, max_concurrent_simulations=1, max_queue_size=1) as engine:
        engine.submit(gated, {"name": "a"}, replicates=1)
        assert hold.reached.wait(HANDSHAKE_S)
        queued = engine.submit(one_draw, replicates=1)
        with pytest.raises(QueueFullError, match="block=True"):
            engine.submit(one_draw, replicates=1, seed=1)
        assert engine.submit(one_draw, replicates=1).state is JobState.QUEUED  # joining needs no room
        with pytest.raises(QueueFullError):
            engine.submit(one_draw, replicates=1, seed=1, block=True, block_timeout_s=0.01)
        hold.go_on.set()
        waited = engine.submit(one_draw, replicates=1, seed=2, block=True)
        finish(queued, waited)


# ---- the store ---------------------------------------------------------------------------------------


def test_cache_modes(tmp_path: Path) -> None:
    with bgsim.Engine(tmp_path / "runs.db") as engine:
        with pytest.raises(NotStoredError, match="0 of 5 replicates"):
            engine.submit(one_draw, replicates=5, cache="only")
        engine.submit(one_draw, replicates=5, cache="off").result(HANDSHAKE_S)
        with pytest.raises(NotStoredError):
            engine.submit(one_draw, replicates=5, cache="only")
        expected = engine.submit(one_draw, replicates=5).result(HANDSHAKE_S)
        assert engine.submit(one_draw, replicates=5, cache="only").result()["x"].tolist() == expected["x"].tolist()
        fresh = engine.submit(one_draw, replicates=5, cache="refresh")
        assert fresh.result(HANDSHAKE_S)["x"].tolist() == expected["x"].tolist()
        assert fresh.status().from_store == 0
        assert engine.submit(one_draw, replicates=5).status().from_store == 5


def test_a_result_survives_the_engine(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with bgsim.Engine(path) as engine:
        expected = engine.submit(walk, replicates=50, seed=2**100).result(HANDSHAKE_S)
    with bgsim.Engine(path) as engine:
        job = engine.submit(walk, replicates=50, seed=2**100)
        assert job.done()
        assert [u.update_type for u in job.updates()] == [UpdateType.COMPLETED]
        assert all(job.result()[n].tobytes() == expected[n].tobytes() for n in expected)


def test_slots_hold_the_newest_and_the_one_before() -> None:
    """Asking again for a stored result makes it the newest; a LOW job takes no slot unless it names a workspace."""
    with bgsim.Engine() as engine:
        for seed in (1, 2, 3):
            engine.submit(one_draw, replicates=5, seed=seed).result(HANDSHAKE_S)

        def seeds(workspace: str) -> list[int | None]:
            by_hash = {r.hash: r.seed for r in engine.store.results()}
            pair = engine.store.slots(workspace)
            return [by_hash[s.hash] if s else None for s in (pair.primary, pair.secondary)]

        assert seeds("kernels.one_draw") == [3, 2]
        engine.submit(one_draw, replicates=5, seed=2).result()
        assert seeds("kernels.one_draw") == [2, 3]
        engine.submit(one_draw, replicates=5, seed=4, priority="low").result(HANDSHAKE_S)
        assert seeds("kernels.one_draw") == [2, 3]
        engine.submit(one_draw, replicates=5, seed=4, priority="low", workspace="mine").result(HANDSHAKE_S)
        assert seeds("mine") == [4, None]
        assert engine.store.slots("empty") == SlotPair()


class BrokenStore(MemoryStore):
    """Refuses everything, as a full disk or a locked file would."""

    def count(self, key: Any) -> int:
        raise StoreError("the disk is full")

    def load(self, key: Any, replicates: int) -> Any:
        raise StoreError("the disk is full")

    def store(self, key: Any, columns: Any, *, on_stored: Any = None, **more: Any) -> None:
        on_stored(StoreError("the disk is full"))


def test_a_store_that_fails_costs_no_result(caplog: pytest.LogCaptureFixture) -> None:
    """Simulations run and deliver; the status and a warning say that nothing is stored."""
    with caplog.at_level(logging.WARNING, "bgsim"), bgsim.Engine(BrokenStore()) as engine:
        job = engine.submit(one_draw, replicates=5)
        assert job.result(HANDSHAKE_S).replicates == 5
        assert job.status().store_error == "the disk is full"
        assert "not stored: the disk is full" in list(job.updates())[-1].messages
        with pytest.raises(StoreError, match="disk is full"):
            engine.submit(one_draw, replicates=5, cache="only")
    assert "not stored" in caplog.text


def test_a_large_stored_result_is_loaded_by_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that submitting stays quick."""
    monkeypatch.setattr("bgsim.running.submitter._ANSWER_BYTES", 0)
    with bgsim.Engine() as engine:
        expected = engine.submit(one_draw, replicates=50).result(HANDSHAKE_S)
        job = engine.submit(one_draw, replicates=50)
        assert job.result(HANDSHAKE_S)["x"].tolist() == expected["x"].tolist()
        assert job.status().from_store == 50


def test_a_subscription_to_an_engine_posts_its_calls() -> None:
    """As one to the bus does; here this thread makes them."""
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    ends: list[tuple[str, str]] = []

    def end(update: Any) -> None:
        ends.append((update.simulation_id, threading.current_thread().name))

    with bgsim.Engine() as engine:
        engine.subscribe(end, completions_only=True, post=calls.put)
        job = engine.submit(one_draw, replicates=1)
        calls.get(timeout=HANDSHAKE_S)()
    assert ends == [(job.id, threading.current_thread().name)]


# ---- closing -----------------------------------------------------------------------------------------


def test_leaving_the_block_waits_for_what_was_submitted() -> None:
    with bgsim.Engine() as engine:
        jobs = [engine.submit(one_draw, replicates=100, seed=seed) for seed in range(20)]
    assert all(job.state is JobState.COMPLETED for job in jobs)
    with pytest.raises(EngineClosedError, match="make a new one"):
        engine.submit(one_draw, replicates=1)
    with pytest.raises(EngineClosedError):
        engine.subscribe()
    assert engine.close() == []


def test_leaving_the_block_by_an_exception_cancels() -> None:
    spin.warmup()
    with pytest.raises(ZeroDivisionError), bgsim.Engine() as engine:
        job = engine.submit(spin, replicates=4)
        queued = [engine.submit(spin, replicates=1, seed=seed) for seed in range(5)]
        raise ZeroDivisionError
    assert all(j.cancelled() for j in (job, *queued))


def test_close_says_what_still_runs(hold: Gate) -> None:
    """A simulation that does not poll cannot be stopped; when it lets go at last, its job ends."""
    engine = bgsim.Engine(workers=1)
    job = engine.submit(gated, {"name": "a"}, replicates=1)
    assert hold.reached.wait(HANDSHAKE_S)
    assert engine.close(cancel=True, timeout_s=0.01) == [job]
    assert job.state is JobState.CANCELLING
    hold.go_on.set()
    finish(job)
    assert job.cancelled()


def test_closing_from_a_callback_returns() -> None:
    for store in (None, MemoryStore()):
        engine = bgsim.Engine(store, workers=1)
        closed = threading.Event()

        def close(_: Any, engine: bgsim.Engine = engine, closed: threading.Event = closed) -> None:
            engine.close()
            closed.set()

        job = engine.submit(one_draw, replicates=1)
        job.add_done_callback(close)
        assert closed.wait(HANDSHAKE_S)
        engine.close()


def test_a_dropped_engine_finishes_and_stops_its_threads() -> None:
    job = bgsim.Engine(workers=1).submit(one_draw, replicates=10)
    gc.collect()
    assert job.result(HANDSHAKE_S).replicates == 10  # and `nothing_leaks` sees the threads end


def test_submit_against_close_leaves_no_job_behind(in_threads: Any) -> None:
    """Each submit either raises or its job ends."""
    for _ in range(20):
        engine = bgsim.Engine(workers=2)

        def submit(engine: bgsim.Engine = engine) -> Job | None:
            try:
                return engine.submit(one_draw, replicates=3)
            except EngineClosedError:
                return None

        *jobs, _ = in_threads(submit, submit, submit, engine.close)
        finish(*[job for job in jobs if job is not None])


def in_new_process(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_the_interpreter_exits_with_a_kernel_running() -> None:
    """No hang, no crash, no message, with a kernel that polls and with one that does not."""
    for polls in (True, False):
        done = in_new_process(
            "import bgsim, time\n"
            "@bgsim.simulation(outputs={'x': 'i8'})\n"
            "def spin(p, rng, control):\n"
            "    x = 1\n"
            "    for i in range(200_000_000_000):\n"
            f"        if {polls} and bgsim.stop_requested(control):\n"
            "            return -1\n"
            "        x = x * 6364136223846793005 + rng.integers(0, 7)\n"
            "    return x\n"
            "spin.warmup()\n"
            "engine = bgsim.Engine()\n"
            "job = engine.submit(spin, replicates=1)\n"
            "next(job.updates())\n"
            "print('leaving')\n"
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")


# ---- asyncio and futures -----------------------------------------------------------------------------


def test_a_job_can_be_awaited_and_iterated_asynchronously() -> None:
    async def main() -> None:
        with bgsim.Engine() as engine:
            job = engine.submit(one_draw, replicates=10)
            assert (await job).replicates == 10
            kinds = [update.update_type async for update in job.updates()]
            assert kinds[-1] is UpdateType.COMPLETED
            results = await asyncio.gather(*[engine.submit(one_draw, replicates=n) for n in (1, 2, 3)])
            assert [r.replicates for r in results] == [1, 2, 3]

    asyncio.run(main())


def test_cancelling_the_awaiting_task_cancels_the_job() -> None:
    spin.warmup()

    async def main() -> None:
        with bgsim.Engine() as engine:
            job = engine.submit(spin, replicates=1)
            task = asyncio.ensure_future(asyncio.wrap_future(job))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(finish, job)
            assert job.cancelled()

    asyncio.run(main())


def test_wait_and_as_completed_work() -> None:
    with bgsim.Engine() as engine:
        jobs = [engine.submit(one_draw, replicates=10, seed=seed) for seed in range(5)]
        assert set(concurrent.futures.as_completed(jobs, HANDSHAKE_S)) == set(jobs)
        done, pending = concurrent.futures.wait(jobs, HANDSHAKE_S)
        assert (len(done), len(pending)) == (5, 0)


# ---- states ------------------------------------------------------------------------------------------


def test_an_unknown_job_is_named() -> None:
    with bgsim.Engine(workers=1) as engine, pytest.raises(RequestNotFoundError, match="no job 'x'"):
        engine.status("x")


def test_ended_jobs_are_forgotten_in_time() -> None:
    with bgsim.Engine(workers=1, max_completed_age_seconds=1e-9) as engine:
        old = engine.submit(one_draw, replicates=1)
        finish(old)
        old_id = old.id
        finish(engine.submit(one_draw, replicates=1, seed=1))
        assert list(old.updates()) == []
        del old
        gc.collect()
        with pytest.raises(RequestNotFoundError):
            engine.status(old_id)


def test_no_lock_is_held_when_callbacks_kernels_and_the_store_run() -> None:
    """Each of them could call the engine, from any thread."""
    free: list[bool] = []

    def probe() -> None:
        while not lock_is_free(engine):  # another thread has it for a moment
            pass
        free.append(True)

    class ProbingStore(MemoryStore):
        def count(self, key: Any) -> int:
            probe()
            return super().count(key)

        def load(self, key: Any, replicates: int) -> Any:
            probe()
            return super().load(key, replicates)

        def store(self, *args: Any, **kwargs: Any) -> None:
            probe()
            super().store(*args, **kwargs)

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def probing(p: Any, rng: Any) -> float:
        probe()
        return 0.0

    engine = bgsim.Engine(ProbingStore(), workers=1)
    done = threading.Event()
    job = engine.submit(probing, replicates=1, on_progress=lambda _: probe())
    job.add_done_callback(lambda _: (probe(), done.set()))
    assert done.wait(HANDSHAKE_S)
    engine.close()
    assert len(free) >= 6
    assert all(free)


@pytest.mark.stress
def test_a_storm_of_jobs_ends_in_order(in_threads: Any) -> None:
    """4 submitters and 2 cancellers, 400 jobs with duplicates: every job ends in one terminal state, once."""
    rng = np.random.default_rng(8)
    plan = rng.integers(0, [[12, 4, 30]], (400, 3)).tolist()
    terminal: dict[str, int] = {}

    with bgsim.Engine(workers=3, max_concurrent_simulations=2, max_queue_size=10_000) as engine:

        def count(update: Any) -> None:
            if update.update_type.is_terminal:
                terminal[update.simulation_id] = terminal.get(update.simulation_id, 0) + 1

        engine.subscribe(count, maxlen=10_000)
        jobs: list[Job] = []

        def submitter(part: list[list[int]]) -> Any:
            def run() -> None:
                for seed, priority, replicates in part:
                    simulation = fragile if seed == 0 else walk
                    job = engine.submit(simulation, replicates=replicates + 1, seed=seed, priority=priority)  # type: ignore[arg-type]
                    jobs.append(job)

            return run

        def canceller() -> None:
            for i in range(0, 300, 7):
                if i < len(jobs):
                    jobs[i].cancel()

        in_threads(*[submitter(plan[i::4]) for i in range(4)], canceller, canceller)
        finish(*jobs)
        for job in jobs:
            if job.state is JobState.COMPLETED:
                assert job.result().replicates == job.replicates
    assert terminal == {job.id: 1 for job in jobs}
    assert {job.state for job in jobs} <= {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}
