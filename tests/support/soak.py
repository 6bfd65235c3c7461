"""A mixed load on an engine, seeded: all verbs from many threads, failures, subscribers, other processes on the file.

``python tests/soak.py runs.db --seconds 600 --seed 1`` runs it alone and prints what became of the jobs; the test of the
same name runs a short one.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernels import Fragile, Spin, Walk, fragile, one_draw, plain_walk, spin, walk

import bgsim
from bgsim.errors import QueueFullError, RequestNotFoundError
from bgsim.job import Job, JobState
from bgsim.retry import Retry
from bgsim.running.run import Run

WAIT_S = 120.0
"""Bound on any wait: reached only by a bug."""

_calls = itertools.count()


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def unlucky(p: Any, rng: Any) -> float:
    """Fails now and then with what may pass; what it returns depends on its stream alone."""
    if next(_calls) % 50 == 49:
        raise OSError("it may pass")
    return float(rng.random())


@dataclass
class Outcome:
    """What became of the jobs of a load."""

    states: Counter[str] = field(default_factory=Counter)
    terminal: Counter[str] = field(default_factory=Counter)  # terminal updates by job, less one if it was checked
    wrong: list[str] = field(default_factory=list)
    jobs: int = 0


class Load:
    """Submits and meddles from several threads until its time is over or its jobs are all submitted."""

    def __init__(self, engine: bgsim.Engine, seed: int, *, seconds: float, jobs: int) -> None:
        self.engine = engine
        self.outcome = Outcome()
        self._seed = seed
        self._until = time.monotonic() + seconds
        self._left = jobs
        self._lock = threading.Lock()  # guards the two below, `_left` and the counts
        self._recent: list[Job] = []
        self._done = False

    def run(self) -> Outcome:
        """Run the load, wait for every job, and say what became of them."""
        watch = self.engine.subscribe(self._count, completions_only=True, maxlen=1_000_000)
        self._slow = self.engine.subscribe(maxlen=1)  # nobody reads it
        workers = [threading.Thread(target=self._submit, args=(n,), daemon=True) for n in range(3)]
        meddlers = [threading.Thread(target=self._meddle, args=(n,), daemon=True) for n in range(2)]
        for thread in (*workers, *meddlers):
            thread.start()
        for thread in workers:
            thread.join()
        self._done = True
        for thread in meddlers:
            thread.join()
        self.engine.resume()
        for job in self.engine.jobs():
            job.resume()
        if not self.engine.drain(WAIT_S):
            self.outcome.wrong += [f"{job} has not ended: {job.status()}" for job in self.engine.jobs()]
        self._slow.unsubscribe()
        for job in self._recent:
            self._check(job)
        self._recent.clear()
        self._watch = watch
        return self.outcome

    def _count(self, update: Any) -> None:
        self._note(update.simulation_id, 1)

    def _note(self, job_id: str, change: int) -> None:
        """Count a terminal update, or that a job has ended: together nothing is left, and none of many is kept."""
        terminal = self.outcome.terminal
        with self._lock:
            terminal[job_id] += change
            if not terminal[job_id]:
                del terminal[job_id]

    def _submit(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        while time.monotonic() < self._until:
            with self._lock:
                if not self._left:
                    return
                self._left -= 1
            try:
                job = self._submit_one(rng)
            except QueueFullError:
                continue
            old: list[Job] = []
            with self._lock:
                self.outcome.jobs += 1
                self._recent.append(job)
                if len(self._recent) > 400:
                    old = [job for job in self._recent if job.done()]
                    ended = set(old)
                    self._recent = [job for job in self._recent if job not in ended]
            for each in old:
                self._check(each)
            if old:  # who reads nothing is kept the end of every job
                self._slow, forgotten = self.engine.subscribe(maxlen=1), self._slow
                forgotten.unsubscribe()

    def _submit_one(self, rng: random.Random) -> Job:
        simulation, parameters = rng.choice(
            [
                (one_draw, None),
                (walk, Walk(steps=rng.randint(1, 20))),
                (plain_walk, Walk(steps=2)),
                (fragile, Fragile(rng.choice((0.0, 0.01)))),
                (unlucky, None),
                (spin, Spin(rng.choice((1000, 10**12)))),
            ]
        )
        endless = simulation is spin and parameters.iterations > 1000
        return self.engine.submit(
            simulation,
            parameters,
            replicates=1 if endless else rng.randint(1, 60),
            seed=rng.randrange(20),
            priority=rng.choice(("low", "normal", "high", "critical")),
            cache=rng.choice(("use", "use", "use", "off", "refresh")),
            allow_deduplication=rng.random() < 0.9,
            group=rng.choice((None, None, "some")),
            supersede=rng.choice((None, None, None, "preview")),
            delay_s=rng.choice((0.0, 0.0, 0.02)),
            timeout_s=0.05 if endless else rng.choice((None, 30.0)),
            queue_timeout_s=rng.choice((None, None, 0.2)),
            retry=rng.choice((None, Retry(retries=5, delay_s=0.01, jitter=0.5))),
            on_progress=rng.choice((None, len)),
            block=True,
            block_timeout_s=WAIT_S,
        )

    def _meddle(self, number: int) -> None:
        rng = random.Random(f"{self._seed} meddler {number}")
        while not self._done:
            with self._lock:
                job = rng.choice(self._recent) if self._recent else None
            verb = rng.choice(("cancel", "pause", "resume", "set_priority", "watch", "look", "pause the engine"))
            if verb == "pause the engine":
                self.engine.pause()
                self.engine.resume()
            elif verb == "look":
                self.engine.health()
                self.engine.stats()
            elif job is not None:
                self._meddle_with(job, verb, rng)

    def _meddle_with(self, job: Job, verb: str, rng: random.Random) -> None:
        if verb == "set_priority":
            try:
                job.set_priority(rng.choice(("low", "high")))
            except RequestNotFoundError:
                return
        elif verb == "watch":
            with job.updates() as updates:
                if job.done():
                    found = list(updates)  # nothing, if it is forgotten
                    assert not found or found[-1].update_type.is_terminal
        elif verb == "cancel":
            if rng.random() < 0.1:
                job.cancel()
        else:
            getattr(job, verb)()
            if verb == "pause" and rng.random() < 0.9:
                job.resume()

    def _check(self, job: Job) -> None:
        """Note how a job ended, and compare its first and last replicates with the plain function's."""
        with self._lock:
            self.outcome.states[job.state.name] += 1
        self._note(job.id, -1)
        if not job.done() or not job.state.is_terminal:
            self.outcome.wrong.append(f"{job} has not ended")
        elif job.state is JobState.COMPLETED:
            result = job.result()
            for index in {0, job.replicates - 1}:
                if job.simulation in (one_draw, unlucky):
                    expected = bgsim.replicate_rng(job.seed, index).random()
                    if result["x"][index] != expected:
                        self.outcome.wrong.append(f"{job} has a wrong replicate {index}")


def live(kind: type) -> int:
    """Return how many objects of a class are alive."""
    gc.collect()
    return sum(type(each) is kind for each in gc.get_objects())


def resident_bytes() -> int:
    """Return how much memory the process has; 0 where the system does not tell."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * 4096 if path.exists() else 0


def holding() -> int:
    """Return how many runs hold columns."""
    return sum(bool(run.length) for run in gc.get_objects() if type(run) is Run)


def soak(path: Path | None, seed: int, *, seconds: float, jobs: int) -> Outcome:
    """Run a load on an engine of its own, with threads that switch all the time; what is left over is wrong, too."""
    interval = sys.getswitchinterval()
    before = live(Job), holding()  # of earlier tests in this process
    sys.setswitchinterval(1e-6)
    try:
        with bgsim.Engine(
            path,
            workers=3,
            max_concurrent_simulations=2,
            max_queue_size=100,
            limits={"some": 1},
            chunk_target_ms=1.0,
            progress_update_interval_ms=5.0,
        ) as engine:
            outcome = Load(engine, seed, seconds=seconds, jobs=jobs).run()
            engine.clean()
            left = live(Job) - before[0]
            if left > 0:
                outcome.wrong.append(f"{left} jobs are still alive")
            if holding() > before[1]:
                outcome.wrong.append("runs still hold columns")
    finally:
        sys.setswitchinterval(interval)
    outcome.wrong += [f"{job} has {n + 1} terminal updates" for job, n in outcome.terminal.items()]
    if sum(outcome.states.values()) != outcome.jobs:
        outcome.wrong.append(f"{outcome.jobs} jobs, and {sum(outcome.states.values())} ends")
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a mixed load, and say what became of its jobs.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--jobs", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    soak(None, 0, seconds=60.0, jobs=50)  # what is made once is there then
    threads, memory = threading.active_count(), resident_bytes()
    outcome = soak(options.path, options.seed, seconds=options.seconds, jobs=options.jobs)
    print(f"{outcome.jobs} jobs: {dict(outcome.states)}")
    print(f"threads: {threads} before, {threading.active_count()} after")
    print(f"memory: {memory / 2**20:.0f} MiB before, {resident_bytes() / 2**20:.0f} MiB after")
    sys.exit("\n".join(outcome.wrong) if outcome.wrong else 0)


if __name__ == "__main__":
    main()
