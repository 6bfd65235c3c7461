"""Engines in processes that are killed, for the tests: ``python engine_process.py kill|chaos|queue|hold|...``.

``kill`` and ``chaos`` fork a process for each round, so that bgsim and numba are imported once. A round is: a process
that comes to a certain point, says so and is killed; then another that finds out what is left, and goes on.
"""

from __future__ import annotations

import concurrent.futures
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from crash_kernels import HOOKS, Hooked, deadly, hooked
from kernels import Walk, walk

import bgsim
from bgsim.clock import ManualClock
from bgsim.parameters.parameter_set import ResultKey
from bgsim.running.storing import Storing
from bgsim.simulation import Simulation

PREFIX, REPLICATES = 30, 200
PHASES = ("queued", "compiling", "running", "storing", "stored")
WAIT_S = 60.0


def kill(directory: str, rounds: int) -> None:
    """Kill processes in each phase; print the phase and the number of rounds that went as they should."""
    walk.warmup(Walk(steps=4))
    for phase in PHASES:
        for number in range(rounds):
            path = str(Path(directory) / f"{phase}{number}.db")
            killed(lambda report, path=path, phase=phase: come_to(phase, path, report), until=1)
            in_child(lambda path=path, phase=phase: look_after(phase, path))
        print(phase, rounds, flush=True)


def come_to(phase: str, path: str, report: Callable[[str], None]) -> None:
    """Run a job with a stored prefix up to a phase, and stay there."""
    engine = bgsim.Engine(path, workers=2, chunk_target_ms=0.1)
    simulation, parameters = subject(phase)
    engine.submit(simulation, parameters, replicates=PREFIX, seed=7).result(WAIT_S)
    flush = engine.store.journal.flush

    def stay() -> None:
        flush()
        report("here")
        threading.Event().wait()

    if phase == "queued":
        engine.pause()
    elif phase == "compiling":
        Simulation.prepare = lambda *_: stay()
    elif phase == "running":
        HOOKS.append(at_replicate(REPLICATES // 2, stay))
    elif phase == "storing":
        HOOKS.append(at_replicate(1, lambda: (flush(), setattr(engine.store._upkeep, "before_commit", wait_for_rows))))

        def wait_for_rows(connection: Any) -> None:
            if connection.execute("SELECT max(replicates) FROM results").fetchone() == (REPLICATES,):
                report("here")  # written, and not committed
                threading.Event().wait()

    else:
        Storing._settle = lambda *_: stay_in_writer()

        def stay_in_writer() -> None:
            report("here")
            threading.Event().wait()

    engine.submit(simulation, parameters, replicates=REPLICATES, seed=7)
    if phase == "queued":
        stay()
    threading.Event().wait()


def look_after(phase: str, path: str) -> None:
    """See that what was pending is found, once and with its number, and that it ends as if nothing had happened."""
    simulation, parameters = subject(phase)
    whole = bgsim.run(simulation, parameters, replicates=REPLICATES, seed=7)
    engine = bgsim.Engine(path, workers=2)
    found = engine.interrupted()
    assert engine.jobs() == [], "it was started by itself"
    stored = {r.replicates for r in engine.store.results()}
    if phase == "stored":
        assert (found, stored) == ([], {REPLICATES}), (found, stored)
        assert engine.recover() == []
    else:
        (request,) = found
        assert request.id.endswith("-2"), request
        assert stored == {PREFIX}, stored
        assert request.started == (phase != "queued")
        (job,) = engine.recover()
        assert (job.id, job.crashes) == (request.id, 0 if phase == "queued" else 1)
        same(job.result(WAIT_S), whole)
        assert job.status().from_store == PREFIX
    assert engine.interrupted() == []
    job = engine.submit(simulation, parameters, replicates=REPLICATES, seed=7, cache="only")
    same(job.result(WAIT_S), whole)
    assert engine.store.check().ok
    engine.close()
    with bgsim.Engine(path) as later:
        assert later.interrupted() == []


def subject(phase: str) -> tuple[Any, Any]:
    """Return what runs: only where numba compiles there is a phase of compiling."""
    return (walk, Walk(steps=4)) if phase in ("queued", "compiling", "stored") else (hooked, Hooked())


def at_replicate(number: int, action: Callable[[], object]) -> Callable[[], None]:
    """Return a hook that does something once, in the replicate of this number, counted from now."""
    left, lock = [number], threading.Lock()

    def hook() -> None:
        with lock:
            left[0] -= 1
            mine = left[0] == 0
        if mine:
            action()

    return hook


def chaos(directory: str, rounds: int, seed: int) -> None:
    """Kill a busy process at any moment; see that what it said is true, and that the rest can be done."""
    rng = random.Random(seed)
    for number in range(rounds):
        path = str(Path(directory) / f"{number}.db")
        seeds = rng.randrange(10**6)
        said = killed(lambda report, path=path, seeds=seeds: be_busy(path, seeds, report), until=rng.randrange(3, 60))
        in_child(lambda path=path, said=said: look_through(path, said))
    print(rounds, flush=True)


def be_busy(path: str, seeds: int, report: Callable[[str], None]) -> None:
    """Submit, cancel and finish without end; say what is asked for once it is durable, and what has ended how."""
    rng = random.Random(seeds)
    engine = bgsim.Engine(path, workers=2, max_concurrent_simulations=2, chunk_target_ms=1)
    while True:
        jobs = [
            engine.submit(
                hooked, replicates=10 + 7 * seed, seed=seed, priority=rng.randrange(4), block=True, durable=True
            )
            for seed in rng.sample(range(40), 8)
        ]
        for job in jobs:
            report(f"asked {job.id} {job.seed} {job.replicates}")
            job.add_done_callback(lambda job: report(f"{job.state.value} {job.id} {job.seed} {job.replicates}"))
        if rng.random() < 0.5:
            job = rng.choice(jobs)
            report(f"cancelling {job.id} {job.seed} {job.replicates}")
            job.cancel()
        concurrent.futures.wait([rng.choice(jobs)])


def look_through(path: str, said: list[str]) -> None:
    asked: dict[str, tuple[int, int]] = {}
    unwanted: set[str] = set()
    engine = bgsim.Engine(path, workers=2)
    found = {request.id for request in engine.interrupted()}
    for line in said:
        verb, job_id, seed, replicates = line.split()
        assert verb in ("asked", "completed", "cancelling", "cancelled"), line
        asked[job_id] = int(seed), int(replicates)
        if verb.startswith("cancel"):
            unwanted.add(job_id)
        if verb in ("cancelled", "completed"):
            assert job_id not in found, f"{job_id} was told to be {verb}, and is pending"
        if verb == "completed":
            stored = engine.submit(hooked, replicates=int(replicates), seed=int(seed), cache="only")
            same(stored.result(WAIT_S), expected(int(seed), int(replicates)))
    for job_id in asked.keys() - unwanted - found:  # completed, and perhaps killed before it could say so
        seed, replicates = asked[job_id]
        held = engine.store.count(ResultKey(hooked.name, hooked.fingerprint, seed, hooked.bind()))
        assert held >= replicates, (job_id, held)
    jobs = engine.recover()
    assert {job.id for job in jobs} == found
    for job in jobs:
        same(job.result(WAIT_S), expected(job.seed, job.replicates))
    assert engine.interrupted() == []
    assert engine.store.check().ok
    engine.close()


def long(directory: str, rounds: int, seed: int) -> None:
    """Kill the process of a long job again and again; see that each goes on from the last checkpoint, to the same bits."""
    rng = random.Random(seed)
    path, stored, lost = str(Path(directory) / "s.db"), 0, 0
    for _ in range(rounds):
        said = killed(lambda report: go_on(path, report), until=rng.randrange(1, 30))
        counts = [tuple(map(int, line.split())) for line in said]
        assert counts[0][0] > stored, (counts[0], stored)
        stored, done = counts[-1]
        lost += done - stored
    in_child(lambda: look_at_long(path, stored))
    print(rounds, stored // rounds, lost // rounds, flush=True)


def go_on(path: str, report: Callable[[str], None]) -> None:
    """Start a job, or go on with it; from the first checkpoint on say what is stored, and what is done."""
    often: dict[str, Any] = {"checkpoint_interval_s": 0.02, "progress_update_interval_ms": 2}
    engine = bgsim.Engine(path, workers=2, chunk_target_ms=1, recover=True, **often)
    (job,) = engine.jobs() or [engine.submit(hooked, replicates=LONG, seed=7)]
    began = engine.store.count(job.request.key)
    for update in job.updates():
        stored = engine.store.count(job.request.key)
        if stored > began:
            engine.store.journal.flush()
            report(f"{stored} {max(stored, update.replicates_completed)}")


def look_at_long(path: str, stored: int) -> None:
    with bgsim.Engine(path, workers=2) as engine:
        (request,) = engine.interrupted()
        found = engine.store.count(ResultKey(hooked.name, hooked.fingerprint, 7, hooked.bind()))
        assert (request.started, request.crashes) == (True, 0), "each process had a checkpoint"
        assert stored <= request.stored <= found
        job = engine.submit(hooked, replicates=found + 1000, seed=7)
        same(job.result(WAIT_S), expected(7, found + 1000))
        assert job.status().from_store == found
        assert engine.store.check().ok


LONG = 5_000_000
"""More replicates than a test has time for."""


def queue(path: str) -> None:
    """Submit with every option to an engine that starts nothing, and wait to be killed."""
    engine = bgsim.Engine(path, workers=1)
    engine.pause()
    at = datetime(2100, 1, 1, tzinfo=UTC)
    retry = bgsim.Retry(retries=2, backoff="fixed", delay_s=0.5, retry_on=(ValueError,))
    jobs = [
        engine.submit(hooked, {"scale": 2.0}, replicates=5, seed=3, priority="critical", group="g", timeout_s=9.0),
        engine.submit(hooked, replicates=6, workspace="w", cache="refresh", retry=retry, allow_deduplication=False),
        engine.submit(hooked, replicates=7, delay_s=3600.0, queue_timeout_s=7200.0, deadline_s=8000.0),
        engine.submit(hooked, replicates=8, seed=1, at=at, supersede="s", priority="low"),
    ]
    engine.store.journal.flush()
    say(*(job.id for job in jobs))
    sys.stdin.read()


def hold(path: str) -> None:
    """Run a job that stays in its first replicate; say which, and wait for the end of the input."""
    reached = threading.Event()
    HOOKS.append(lambda: (reached.set(), threading.Event().wait()))
    engine = bgsim.Engine(path, workers=1)
    job = engine.submit(hooked, replicates=5)
    assert reached.wait(WAIT_S)
    engine.store.journal.flush()
    say(job.id)
    sys.stdin.read()
    os._exit(0)  # without closing


def recover(path: str) -> None:
    """Wait for a line, recover what there is, say which, finish it, and wait for the end of the input."""
    engine = bgsim.Engine(path, workers=1)
    say("ready")
    sys.stdin.readline()
    jobs = engine.recover()
    say(*(job.id for job in jobs))
    for job in jobs:
        job.result(WAIT_S)
    sys.stdin.read()
    engine.close()


def die(path: str) -> None:
    """Submit what ends the process, and something that has to wait behind it; or recover that, until it is given up."""
    there = Path(path).exists()
    engine = bgsim.Engine(path, workers=1, max_concurrent_simulations=1)
    engine.pause()
    if there:
        engine.recover()
        engine.store.journal.flush()
        if engine.dead_letters():
            say("given up")
            os._exit(0)
        engine.resume()
    else:
        engine.submit(deadly, replicates=1, priority="high")
        engine.submit(hooked, replicates=3)
        engine.store.journal.flush()
        engine.resume()
    threading.Event().wait(WAIT_S)


def schedules(path: str, now: int) -> None:
    """Wait for a line, then run what is due of the schedules that the store keeps; say how many runs."""
    started: list[object] = []
    engine = bgsim.Engine(path, immediate=True, clock=ManualClock(float(now)))
    submit = engine._submitter.submit
    engine._submitter.submit = lambda submission: started.append(submit(submission)) or started[-1]
    say("ready")
    sys.stdin.readline()
    engine.drain()
    say(str(len(started)))
    engine.close()


# ---- processes ---------------------------------------------------------------------------------------


def killed(body: Callable[[Callable[[str], None]], object], *, until: int) -> list[str]:
    """Run something in a process, kill it when it has reported so many lines, and return all that it had."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        run_and_exit(lambda: body(lambda line: os.write(writer, f"{line}\n".encode())))
    os.close(writer)
    said = []
    with os.fdopen(reader) as reports:
        for _ in range(until):
            said.append(reports.readline())
        os.kill(child, signal.SIGKILL)
        said += reports
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"it ended by itself: {status}"
    return [line[:-1] for line in said if line.endswith("\n")]


def in_child(body: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        run_and_exit(body)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the next process ended with {status}"


def run_and_exit(body: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        body()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def same(found: Any, whole: Any) -> None:
    for name in whole:
        assert found[name].tobytes() == whole[name].tobytes(), name


def expected(seed: int, replicates: int) -> Any:
    return bgsim.run(hooked, replicates=replicates, seed=seed, immediate=True)


def say(*words: str) -> None:
    print(*words, flush=True)


if __name__ == "__main__":
    verbs = {f.__name__: f for f in (kill, chaos, long, queue, hold, recover, die, schedules)}
    verbs[sys.argv[1]](sys.argv[2], *(int(word) for word in sys.argv[3:]))
