"""Races of the engine, each forced by a handshake: somebody is stopped at the point where another comes."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import HANDSHAKE_S
from kernels import Spin, one_draw, plain_walk, spin

import bgsim
from bgsim.clock import ManualClock
from bgsim.errors import EngineClosedError, JobTimeoutError, NotStoredError, ReplicateError, RequestNotFoundError
from bgsim.job import Job, JobState
from bgsim.progress import UpdateType
from bgsim.retry import Retry
from bgsim.running.run import Run
from bgsim.storage import MemoryStore
from bgsim.testing import GATES, Gate, SteppedEngine, gated, parts, run_all, tick, workers_on

TERMINAL = (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


class GatedStore(MemoryStore):
    """A store that stops at a gate when a result is handed over."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def store(self, *args: Any, **kwargs: Any) -> None:
        self._gate.stop_here()
        super().store(*args, **kwargs)


def finish(*jobs: Job) -> None:
    done, waiting = concurrent.futures.wait(jobs, HANDSHAKE_S)
    assert not waiting
    assert all(job.state in TERMINAL for job in done)  # type: ignore[attr-defined]


def running(engine: bgsim.Engine, hold: Gate, **options: Any) -> Job:
    """Return a job that is held in its first replicate."""
    job = engine.submit(gated, {"name": "a"}, replicates=3, **options)
    assert hold.reached.wait(HANDSHAKE_S)
    return job


# ---- done-callbacks against what the worker could do next -----------------------------------------------


def test_a_worker_takes_nothing_before_it_has_called_the_done_callbacks(hold: Gate) -> None:
    """One of them may wait for another job, whose chunk nobody else could run."""
    other = GATES["b"] = Gate()
    called, found = threading.Event(), []

    def wait_for_next(_: Any) -> None:
        called.set()
        found.append(following.result(HANDSHAKE_S))

    try:
        with bgsim.Engine(workers=2, max_concurrent_simulations=3) as engine:
            first = engine.submit(gated, {"name": "a"}, replicates=1, cache="off")
            busy = engine.submit(gated, {"name": "b"}, replicates=1, cache="off")
            assert hold.reached.wait(HANDSHAKE_S)
            assert other.reached.wait(HANDSHAKE_S)
            one_draw.warmup()  # so that a worker could take it in one step
            following = engine.submit(one_draw, replicates=1, cache="off")
            first.add_done_callback(wait_for_next)
            hold.go_on.set()
            assert called.wait(HANDSHAKE_S)
            other.go_on.set()
            finish(first, busy, following)
    finally:
        GATES.pop("b").go_on.set()
    assert [len(result["x"]) for result in found] == [1]


@pytest.mark.parametrize("held_up_by", ["callback", "kernel", "store"])
def test_a_small_run_is_computed_though_the_worker_that_was_to_find_it_is_held_up(
    held_up_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other worker is woken for a run that comes while one is on a batch of such runs."""
    gate, stores, found = Gate(), Gate(), []
    with bgsim.Engine(GatedStore(stores), workers=2) as engine:
        warm = engine.submit(one_draw, replicates=1, cache="off")
        warm.result(HANDSHAKE_S)
        pace_key = warm.request.key.fingerprint, warm.request.parameters.encoding
        parts(engine).state.pace[pace_key] = 1e6
        workers = parts(engine).workers
        computed = workers.computed

        def stop_and_give_back(*given: Any) -> Any:
            if not gate.reached.is_set():
                gate.stop_here()
            return computed(*given)

        monkeypatch.setattr(workers, "computed", stop_and_give_back)
        first = engine.submit(one_draw, replicates=1, seed=1, cache="use" if held_up_by == "store" else "off")
        gate.wait_until_reached()
        second = engine.submit(one_draw, replicates=1, seed=2, cache="off")
        if held_up_by == "callback":
            first.add_done_callback(lambda _: found.append(second.result(HANDSHAKE_S)))
        elif held_up_by == "kernel":
            found.append(second.result(HANDSHAKE_S))
        gate.open()
        if held_up_by == "store":
            found.append(second.result(HANDSHAKE_S))
        stores.open()
        finish(first, second)
    assert len(found) == 1


@pytest.mark.parametrize("callback", ["waits", "exits"])
def test_a_callback_keeps_no_run_of_its_batch_from_the_store(callback: str) -> None:
    """A worker ends one run of a batch, and has another to hand to the store: callbacks come first."""
    found = []

    def call(_: Any) -> None:
        if callback == "exits":
            raise SystemExit
        found.append(second.result(HANDSHAKE_S))

    with bgsim.Engine(workers=2) as engine:
        warm = engine.submit(one_draw, replicates=1, cache="off")
        warm.result(HANDSHAKE_S)
        pace_key = warm.request.key.fingerprint, warm.request.parameters.encoding
        parts(engine).state.pace[pace_key] = 1e6
        engine.pause()
        first = engine.submit(one_draw, replicates=1, seed=1, cache="off")
        second = engine.submit(one_draw, replicates=1, seed=2)
        first.add_done_callback(call)
        engine.resume()
        finish(first, second)
    assert len(found) == (callback == "waits")


def test_what_waits_behind_a_slow_chunk_of_its_batch_goes_to_another_worker(hold: Gate) -> None:
    """The pace said that both take no time; one has a replicate that does not end."""
    spin.warmup()
    clock = ManualClock()
    with bgsim.Engine(workers=2, clock=clock) as engine:
        engine.submit(one_draw, replicates=1, cache="off").result(HANDSHAKE_S)
        busy = engine.submit(gated, {"name": "a"}, replicates=1, cache="off")
        hold.wait_until_reached()  # so the other worker gets the whole batch
        engine.pause()
        slow = engine.submit(spin, Spin(iterations=10**15), replicates=1, cache="off")
        quick = engine.submit(one_draw, replicates=1, seed=1, cache="off")
        for job in (slow, quick):
            parts(engine).state.pace[job.run.pace_key] = 1e6
        engine.resume()
        while not any(worker.chunk is not None and len(worker.batch) == 2 for worker in parts(engine).workers.all):
            engine.status(slow.id)  # until it is in the kernel
        hold.open()
        assert busy.result(HANDSHAKE_S).replicates == 1
        assert not quick.done()
        clock.advance(1.0)
        tick(engine)
        assert quick.result(HANDSHAKE_S).replicates == 1
        assert slow.cancel()


@pytest.mark.parametrize("simulation", [one_draw, plain_walk, gated])
@pytest.mark.parametrize("cache", ["use", "off"])
def test_a_worker_that_waits_keeps_no_result_alive(simulation: bgsim.Simulation, cache: str) -> None:
    """A result of gigabytes takes memory while the caller or the store keeps it, and no longer."""
    gone = threading.Event()
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(simulation, replicates=50, cache=cache)
        column = next(iter(job.result().values()))
        weakref.finalize(column if column.base is None else column.base, gone.set)
        engine.store.delete(job.request.key.hash)
        del job, column
        assert gone.wait(HANDSHAKE_S)


def test_somebody_who_keeps_a_futures_own_lock_holds_up_nobody_else(hold: Gate) -> None:
    """`concurrent.futures.wait` does, when Ctrl-C interrupts it while it takes the locks of its futures."""
    with bgsim.Engine(workers=2) as engine:
        job = running(engine, hold, cache="off")
        job._condition.acquire()
        hold.go_on.set()
        others = [engine.submit(one_draw, replicates=1, seed=seed, cache="off") for seed in range(20)]
        finish(*others)
        job._condition.release()
        finish(job)


def test_what_cannot_be_prepared_under_the_lock_fails_its_job_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("not here")

    with bgsim.Engine(workers=1) as engine:
        one_draw.warmup()
        with monkeypatch.context() as patch:
            patch.setattr(type(one_draw), "prepared", refuse)
            job = engine.submit(one_draw, replicates=1, cache="off")
            assert str(job.exception(HANDSHAKE_S)) == "not here"
        assert engine.submit(one_draw, replicates=1, cache="off").result(HANDSHAKE_S).replicates == 1


# ---- a verb against the end of its job ----------------------------------------------------------------

VERBS: dict[str, tuple[Callable[[Job], Any], Any]] = {
    "cancel": (Job.cancel, False),
    "pause": (Job.pause, False),
    "resume": (Job.resume, False),
    "set_priority": (lambda job: job.set_priority("high"), RequestNotFoundError),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_comes_while_the_result_is_stored_is_too_late(verb: str, gate: Gate) -> None:
    """Its job completes all the same."""
    call, answer = VERBS[verb]
    with bgsim.Engine(GatedStore(gate), workers=1) as engine:
        job = engine.submit(one_draw, replicates=3)
        gate.wait_until_reached()
        if answer is False:
            assert call(job) is False
        else:
            with pytest.raises(answer):
                call(job)
        gate.open()
        assert job.result(HANDSHAKE_S).replicates == 3


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_against_the_end_leaves_one_end(verb: str, in_threads: Any) -> None:
    """Whoever comes first, the job ends in one way, and says so once."""
    call, answer = VERBS[verb]
    with bgsim.Engine(workers=2, chunk_target_ms=1e-6) as engine:
        for seed in range(30):
            job = engine.submit(one_draw, replicates=1 + seed % 4, seed=seed)
            updates = job.updates()

            def act(job: Job = job) -> None:
                try:
                    call(job)
                except RequestNotFoundError:
                    assert answer is RequestNotFoundError

            in_threads(act, lambda job=job: job.status())
            job.resume()
            finish(job)
            assert [u.update_type.is_terminal for u in updates].count(True) == 1
            if job.state is JobState.COMPLETED:
                assert job.result().replicates == job.replicates


def test_a_run_that_is_suspended_in_its_last_replicate_completes(hold: Gate) -> None:
    """It yields at the replicate's end, and nothing is left to go on with."""
    with bgsim.Engine(workers=1, max_concurrent_simulations=1) as engine:
        low = engine.submit(gated, {"name": "a"}, replicates=1, priority="low")
        assert hold.reached.wait(HANDSHAKE_S)
        high = engine.submit(one_draw, replicates=1, priority="high")
        assert low.state is JobState.SUSPENDED
        hold.go_on.set()
        finish(low, high)
        assert low.state is JobState.COMPLETED


def test_a_job_paused_in_its_last_replicate_completes(hold: Gate) -> None:
    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(gated, {"name": "a"}, replicates=1)
        assert hold.reached.wait(HANDSHAKE_S)
        assert job.pause()
        hold.go_on.set()
        assert job.result(HANDSHAKE_S).replicates == 1
        assert not job.resume()


def test_a_cancel_that_comes_after_resume_wins_over_it(hold: Gate) -> None:
    """Paused, resumed and cancelled while the kernel has not let go: it stops once, and is not started again."""
    with bgsim.Engine(workers=1) as engine:
        job = running(engine, hold)
        assert job.pause()
        assert job.resume()
        assert job.cancel()
        assert not job.resume()
        assert not job.pause()
        hold.go_on.set()
        finish(job)
        assert job.cancelled()


def test_a_cancel_that_comes_while_a_chunk_fails_ends_the_retries(gate: Gate) -> None:
    """The chunk fails with what may pass after the job was cancelled: it is not tried again."""

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def fails_late(p: Any, rng: Any) -> float:
        gate.stop_here()
        raise OSError("it may pass")

    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(fails_late, replicates=2, retry=Retry(retries=3, delay_s=0.0))
        gate.wait_until_reached()
        assert job.cancel()
        assert job.state is JobState.CANCELLING
        gate.open()
        finish(job)
        assert job.state is JobState.FAILED
        assert engine.stats().retries == 0


def test_a_cancel_between_two_attempts_holds_no_worker() -> None:
    waiting = threading.Event()

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def fails(p: Any, rng: Any) -> float:
        raise OSError("it may pass")

    def watch(update: Any) -> None:
        if update.current_phase == "delayed":
            waiting.set()

    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(fails, replicates=2, retry=Retry(retries=3, delay_s=300.0), on_progress=watch)
        assert waiting.wait(HANDSHAKE_S)
        assert engine.submit(one_draw, replicates=1).result(HANDSHAKE_S).replicates == 1
        assert job.cancel()
        finish(job)
        assert job.cancelled()


# ---- several jobs of one run ---------------------------------------------------------------------------


def test_a_duplicate_against_the_cancel_of_the_last_handle_gets_a_run(in_threads: Any) -> None:
    """It joins in time, and keeps the run going, or has one of its own, which follows; either way it completes."""
    with bgsim.Engine(workers=2, chunk_target_ms=1e-6) as engine:
        for seed in range(30):
            first = engine.submit(one_draw, replicates=40, seed=seed)
            _, second = in_threads(first.cancel, lambda seed=seed: engine.submit(one_draw, replicates=40, seed=seed))
            finish(first, second)
            assert second.result()["x"].tolist() == [bgsim.replicate_rng(seed, i).random() for i in range(40)]


def test_who_wants_more_leaves_when_the_others_have_enough(hold: Gate) -> None:
    """The run is done for the others at once; no worker is on it that could notice."""
    with bgsim.Engine(workers=1) as engine:
        engine.pause()
        few = engine.submit(one_draw, replicates=1)
        many = engine.submit(one_draw, replicates=2**20, priority="low")
        started = many.updates()
        engine.resume()
        next(started)
        engine.pause()
        while workers_on(many):
            engine.status(many.id)  # until the worker has let go
        assert many.cancel()
        engine.resume()
        assert few.result(HANDSHAKE_S).replicates == 1


def test_superseding_a_run_against_its_completion(gate: Gate) -> None:
    """The older is being stored: too late to cancel it, and the newer one completes as well."""
    with bgsim.Engine(GatedStore(gate), workers=2) as engine:
        older = engine.submit(one_draw, replicates=3, supersede="preview")
        gate.wait_until_reached()
        newer = engine.submit(one_draw, replicates=3, seed=1, supersede="preview")
        gate.open()
        finish(older, newer)
        assert (older.state, newer.state) == (JobState.COMPLETED, JobState.COMPLETED)


def test_a_request_that_the_store_answers_supersedes_too(hold: Gate) -> None:
    """Or the older one's result would come after the newer one's."""
    with bgsim.Engine(workers=2) as engine:
        engine.submit(one_draw, replicates=3).result(HANDSHAKE_S)
        older = running(engine, hold, supersede="preview")
        newer = engine.submit(one_draw, replicates=3, supersede="preview")
        assert newer.done()
        assert older.state is JobState.CANCELLING
        hold.go_on.set()
        finish(older)
        assert older.cancelled()


# ---- the queue's time against verbs ----------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_comes_before_the_timekeeper_has_seen_a_time_out(verb: str) -> None:
    """The queue has let go of the job, and nobody has ended it: status and verbs answer as of a job that fails."""
    call, _ = VERBS[verb]
    with SteppedEngine() as engine:
        engine.pause()
        job = engine.submit(one_draw, replicates=1, queue_timeout_s=1.0)
        engine.clock.advance(2.0)
        assert not job.status().state.is_terminal
        try:
            assert verb in ("pause", "resume") or not call(job)
        except RequestNotFoundError:
            assert verb == "set_priority"
        engine.step()
        assert job.state is JobState.FAILED
        engine.resume()


@pytest.mark.parametrize("second", ["expires", "is cancelled"])
def test_the_last_two_jobs_of_a_suspended_run_leave_at_once(second: str) -> None:
    """The queue has let both go before either has ended, and only one can be the run's last."""
    with SteppedEngine() as engine:
        first = engine.submit(gated, replicates=3)
        engine.step()
        engine.pause()
        times_out = engine.submit(gated, replicates=2, queue_timeout_s=1.0)
        other = engine.submit(gated, replicates=1, queue_timeout_s=1.0 if second == "expires" else None)
        first.cancel()
        engine.clock.advance(2.0)
        other.cancel()
        run_all(engine)
        assert engine.jobs() == []
        assert times_out.state is JobState.FAILED
        assert other.state is (JobState.FAILED if second == "expires" else JobState.CANCELLED)


def test_what_waits_for_its_rate_is_woken() -> None:
    """Nothing else runs, so nobody but the timekeeper can; simulations and calls alike."""
    called = [threading.Event(), threading.Event()]
    with bgsim.Engine(workers=1, rate_limits={"web": (1, 0.05)}) as engine:
        for seed in range(3):
            assert engine.submit(one_draw, replicates=1, seed=seed, group="web").result(HANDSHAKE_S).replicates == 1
        for event in called:
            engine.executor(group="web").submit(event.set)
        assert all(event.wait(HANDSHAKE_S) for event in called)


def test_a_running_job_that_has_aged_is_not_overtaken_by_what_it_had_caught_up_with() -> None:
    """It would come out of the queue first, and be suspended again, for ever."""
    clock = bgsim.clock.ManualClock()
    with SteppedEngine(clock=clock, max_concurrent_simulations=1, age_after_s=1.0) as engine:
        engine.pause()
        old = engine.submit(one_draw, replicates=1, priority="low")
        clock.advance(5.0)
        engine.resume()
        new = engine.submit(one_draw, replicates=1, seed=1, priority="high")
        assert (old.state, new.state) == (JobState.RUNNING, JobState.QUEUED)


@pytest.mark.parametrize("age_after_s", [None, 1.0])
def test_a_running_job_that_has_aged_gets_workers_in_turn_with_what_it_had_caught_up_with(
    age_after_s: float | None,
) -> None:
    """Without, it would starve in its running place for as long as there is something urgent."""
    clock, ended = bgsim.clock.ManualClock(), []
    with bgsim.Engine(immediate=True, clock=clock, max_concurrent_simulations=2, age_after_s=age_after_s) as engine:
        engine.subscribe(lambda update: ended.append(update.simulation_id), completions_only=True)
        engine.pause()
        old = engine.submit(plain_walk, replicates=2, priority="low")
        clock.advance(5.0)
        new = engine.submit(plain_walk, replicates=50, seed=1, priority="critical")
        engine.resume()
    assert ended == ([old.id, new.id] if age_after_s else [new.id, old.id])


# ---- closing -----------------------------------------------------------------------------------------


def test_submit_against_close(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The submission has passed the first look when the engine closes: it is refused, and leaves nothing behind."""
    engine = bgsim.Engine(workers=1)
    count = MemoryStore.count

    def slow_count(self: MemoryStore, key: Any) -> int:
        gate.stop_here()
        return count(self, key)

    monkeypatch.setattr(MemoryStore, "count", slow_count)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        submitted = pool.submit(engine.submit, one_draw, replicates=1, on_progress=lambda _: None)
        gate.wait_until_reached()
        assert engine.close() == []
        gate.open()
        with pytest.raises(EngineClosedError):
            submitted.result(HANDSHAKE_S)
    assert engine.jobs() == []


@pytest.mark.parametrize("cancel", [True, False])
def test_close_twice_and_by_two_threads(cancel: bool, hold: Gate, in_threads: Any) -> None:
    engine = bgsim.Engine(workers=1, max_concurrent_simulations=1)
    job = running(engine, hold)
    queued = engine.submit(one_draw, replicates=1, priority="low")
    if cancel:
        queued.add_done_callback(lambda _: hold.go_on.set())  # both have been cancelled by then
    else:
        hold.go_on.set()
    left = in_threads(*[lambda: engine.close(cancel=cancel, timeout_s=HANDSHAKE_S)] * 3)
    assert left == [[], [], []]
    assert engine.close() == []
    assert job.state is (JobState.CANCELLED if cancel else JobState.COMPLETED)
    assert queued.state in TERMINAL


@pytest.mark.parametrize("where", ["on_progress", "done_callback"])
def test_close_from_a_callback_ends_every_job(where: str) -> None:
    engine = bgsim.Engine(workers=1)
    closed = threading.Event()

    def close(_: Any) -> None:
        engine.close()
        closed.set()

    engine.pause()
    job = engine.submit(one_draw, replicates=1, on_progress=close if where == "on_progress" else None)
    if where == "done_callback":
        job.add_done_callback(close)
    other = engine.submit(one_draw, replicates=1, seed=1)
    engine.resume()
    assert closed.wait(HANDSHAKE_S)
    finish(job, other)
    engine.close()


def test_close_that_runs_out_of_time_leaves_no_job_without_an_end(hold: Gate, tmp_path: Path) -> None:
    """What has not ended is cancelled, so that nobody waits for ever; in the journal it is interrupted."""
    path = tmp_path / "runs.db"
    engine = bgsim.Engine(path, workers=1, max_concurrent_simulations=1)
    job = running(engine, hold)
    queued = engine.submit(one_draw, replicates=1, priority="low")
    delayed = engine.submit(one_draw, replicates=1, seed=1, delay_s=3600.0)
    assert engine.close(timeout_s=0.01) == [job, queued, delayed]
    finish(queued, delayed)
    assert job.state is JobState.CANCELLING
    hold.go_on.set()
    finish(job)
    assert all(each.cancelled() for each in (job, queued, delayed))
    with bgsim.Engine(path, workers=1) as engine:
        assert {request.id for request in engine.interrupted()} == {job.id, queued.id, delayed.id}
        again = {each.id: each for each in engine.recover()}
        assert again[job.id].result(HANDSHAKE_S).replicates == 3
        again[delayed.id].cancel()


def test_an_immediate_engine_that_closes_cancels_what_is_not_due() -> None:
    engine = bgsim.Engine(immediate=True)
    job = engine.submit(one_draw, replicates=1, delay_s=10.0)
    assert engine.close() == [job]
    assert job.cancelled()


def test_drain_against_submit(in_threads: Any) -> None:
    """It returns when there is a moment without jobs; those submitted before it are done by then."""
    with bgsim.Engine(workers=2) as engine:
        before = [engine.submit(one_draw, replicates=1, seed=seed) for seed in range(10)]

        def submit() -> None:
            for seed in range(10, 30):
                engine.submit(one_draw, replicates=1, seed=seed)

        drained, _ = in_threads(lambda: engine.drain(HANDSHAKE_S), submit)
        assert drained
        assert all(job.done() for job in before)
        assert engine.drain(HANDSHAKE_S)
        assert engine.jobs() == []


def test_drain_is_told_when_the_last_call_is_taken_back(in_threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs that could end."""
    with bgsim.Engine(workers=1) as engine:
        engine.pause()
        call = engine.executor().submit(lambda: None)
        waits = threading.Event()
        idle = parts(engine).state.idle
        wait = idle.wait
        monkeypatch.setattr(idle, "wait", lambda timeout: waits.set() or wait(timeout))

        def take_back() -> bool:
            assert waits.wait(HANDSHAKE_S)
            return call.cancel()

        assert in_threads(lambda: engine.drain(HANDSHAKE_S), take_back) == [True, True]


# ---- updates, callbacks, batches ---------------------------------------------------------------------------


def test_a_terminal_update_against_subscribe(in_threads: Any) -> None:
    """Whenever a subscriber comes, it sees the terminal update, once and last."""
    with bgsim.Engine(workers=2) as engine:
        for seed in range(30):
            job = engine.submit(one_draw, replicates=1, seed=seed)
            for updates in in_threads(*[lambda job=job: list(job.updates())] * 3):
                kinds = [u.update_type for u in updates]
                assert kinds[-1] is UpdateType.COMPLETED
                assert kinds.count(UpdateType.COMPLETED) == 1


def test_a_callback_that_exits_costs_no_worker() -> None:
    """SystemExit passes through a future; the jobs that end with it, and those after it, end all the same."""

    def leave(_: Any) -> None:
        raise SystemExit

    with bgsim.Engine(workers=1) as engine:
        engine.pause()
        jobs = [engine.submit(one_draw, replicates=1) for _ in range(3)]
        jobs[0].add_done_callback(leave)
        engine.resume()
        finish(*jobs)
        assert engine.submit(one_draw, replicates=1, seed=1).result(HANDSHAKE_S).replicates == 1


def test_an_exception_without_a_text_costs_no_worker() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    @bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
    def mute(p: Any, rng: Any) -> float:
        raise Mute

    with bgsim.Engine(workers=1) as engine:
        job = engine.submit(mute, replicates=1)
        with pytest.raises(ReplicateError, match=r"raised Mute: a text that cannot be made \(RuntimeError\)"):
            job.result(HANDSHAKE_S)
        assert engine.submit(one_draw, replicates=1).result(HANDSHAKE_S).replicates == 1


def test_a_batch_that_is_fed_from_callbacks_against_its_cancel(in_threads: Any) -> None:
    """No job is submitted once it is cancelled, and every submitted one ends."""
    for _ in range(10):
        with bgsim.Engine(workers=2, max_queue_size=2) as engine:
            batch = engine.submit_many(one_draw, [{"n": n} for n in range(40)], replicates=2)
            in_threads(batch.cancel, lambda batch=batch: list(batch.as_completed(timeout_s=HANDSHAKE_S)))
            assert batch.wait(HANDSHAKE_S)
            finish(*batch._jobs)
            assert len(batch._ended) == len(batch._jobs)


def test_a_batch_waits_for_room_in_no_worker(hold: Gate) -> None:
    """Others keep the queue full; the only worker, which ends the batch's last job, is what makes room in it."""
    with bgsim.Engine(workers=1, max_concurrent_simulations=1, max_queue_size=1) as engine:
        first = running(engine, hold)
        seeds = itertools.count(1)
        others: list[Job] = []
        batch = None

        def fill(_: Any = None) -> None:
            """Fill the queue before the batch can."""
            if len(others) < 4:
                job = engine.submit(one_draw, replicates=1, seed=next(seeds), priority="critical")
                others.append(job)
                job.add_done_callback(fill)

        batch = engine.submit_many(one_draw, [{"n": n} for n in range(3)], replicates=1)
        batch[0].add_done_callback(fill)
        hold.go_on.set()
        assert batch.wait(HANDSHAKE_S)
        finish(first, *others, *batch)


# ---- two engines ---------------------------------------------------------------------------------------


def count_replicates(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each chunk adds how many replicates it was given."""
    counted: list[int] = []
    take = Run.take

    def take_and_count(run: Run, *arguments: Any) -> Any:
        chunk = take(run, *arguments)
        counted.append(chunk.count)
        return chunk

    monkeypatch.setattr(Run, "take", take_and_count)
    return counted


def test_what_is_stored_between_the_look_and_the_queue_is_not_computed_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counted = count_replicates(monkeypatch)
    with bgsim.Engine(tmp_path / "s.db", workers=2) as engine:
        count = engine.store.count

        def count_and_be_overtaken(key: Any) -> int:
            held = count(key)
            monkeypatch.setattr(engine.store, "count", count)
            assert engine.submit(one_draw, replicates=200, seed=3).result(HANDSHAKE_S).replicates == 200
            return held

        monkeypatch.setattr(engine.store, "count", count_and_be_overtaken)
        assert engine.submit(one_draw, replicates=200, seed=3).result(HANDSHAKE_S).replicates == 200
    assert sum(counted) == 200


def test_what_an_apart_run_stores_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = count_replicates(monkeypatch)
    with bgsim.Engine(workers=1, max_concurrent_simulations=1) as engine:
        engine.pause()
        jobs = [
            engine.submit(one_draw, replicates=200, seed=3, allow_deduplication=False),
            engine.submit(one_draw, replicates=50, seed=4),
            engine.submit(one_draw, replicates=200, seed=3),
        ]
        engine.resume()
        for job in jobs:
            job.result(HANDSHAKE_S)
    assert sum(counted) == 250


def test_who_has_waited_too_long_does_not_get_what_another_wanted_less_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """They share a run, and it ends before the timekeeper has looked at the clock."""
    clock = ManualClock()
    with bgsim.Engine(workers=1, clock=clock) as engine:
        monkeypatch.setattr(parts(engine), "tick", lambda: None)
        engine.pause()
        few = engine.submit(one_draw, replicates=18)
        many = engine.submit(one_draw, replicates=49, queue_timeout_s=1.0)
        clock.advance(2.0)
        engine.resume()
        assert len(few.result(HANDSHAKE_S)["x"]) == 18
        assert isinstance(many.exception(HANDSHAKE_S), JobTimeoutError)


@pytest.mark.parametrize("cache", ["use", "only"])
def test_a_result_that_shrinks_between_two_looks_is_no_answer(cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process deletes it and stores less of it."""
    with bgsim.Engine(workers=1) as engine:
        engine.submit(one_draw, replicates=40, seed=3).result(HANDSHAKE_S)
        load = engine.store.load
        monkeypatch.setattr(engine.store, "load", lambda key, replicates: load(key, min(replicates, 9)))
        if cache == "only":
            with pytest.raises(NotStoredError):
                engine.submit(one_draw, replicates=35, seed=3, cache=cache)
        else:
            found = engine.submit(one_draw, replicates=35, seed=3, cache=cache).result(HANDSHAKE_S)
            assert list(found["x"]) == [bgsim.replicate_rng(3, i).random() for i in range(35)]


def test_two_engines_on_one_file_ask_the_same_at_once(tmp_path: Path, in_threads: Any) -> None:
    """Both compute or one finds it; the results are equal, and the longer one stays in the store."""
    path = tmp_path / "runs.db"
    with bgsim.Engine(path, workers=1) as one, bgsim.Engine(path, workers=1) as other:
        for seed in range(5):
            results = in_threads(
                lambda seed=seed: one.submit(one_draw, replicates=300, seed=seed).result(HANDSHAKE_S),
                lambda seed=seed: other.submit(one_draw, replicates=500, seed=seed).result(HANDSHAKE_S),
            )
            expected = [bgsim.replicate_rng(seed, i).random() for i in range(500)]
            assert [r["x"].tolist() for r in results] == [expected[:300], expected]
            again = one.submit(one_draw, replicates=500, seed=seed, cache="only").result()
            assert again["x"].tolist() == expected


def test_an_extension_against_the_other_engines_run(tmp_path: Path, hold: Gate) -> None:
    """One engine extends what the other is still computing: each stores what it has, and nothing gets shorter."""
    path = tmp_path / "runs.db"
    with bgsim.Engine(path, workers=1) as one, bgsim.Engine(path, workers=1) as other:
        slow = running(one, hold)
        assert hold.reached.wait(HANDSHAKE_S)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            quick = pool.submit(lambda: other.submit(gated, {"name": "a"}, replicates=8).result(HANDSHAKE_S))
            hold.go_on.set()
            assert len(quick.result(HANDSHAKE_S)["x"]) == 8
        finish(slow)
        assert one.store.count(slow.request.key) == 8
