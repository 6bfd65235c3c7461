"""One process of the soak of crashes: an engine under a mixed load, which tells what it was told.

The orchestrator, ``soak_crashes.py``, forks it. Each line that the process writes is about something that has happened:
``asked`` after a durable `submit` has returned, ``cancelling`` before `cancel`, and ``completed``, ``cancelled`` or
``failed`` after bgsim has told the end. The lines that the process reads are ``full``, ``room`` and ``stop``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import faulthandler
import functools
import os
import random
import resource
import signal
import sqlite3
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from crash_kernels import Hooked, hooked
from kernels import Fragile, Walk, fragile, one_draw, walk
from soak import unlucky

import bgsim
from bgsim.errors import EngineClosedError, QueueFullError, StoreError
from bgsim.job import Job, JobState
from bgsim.parameters.parameter_set import ResultKey
from bgsim.retry import Retry
from bgsim.running import checkpoints

CHECKPOINT_S = 1.0
LIMIT_BYTES = 8 * 2**20
"""Of the store: reached in a few minutes. What is never removed takes half of it, so that no result goes at once."""

LONG = 4000
"""Replicates of a long job: more than a process usually has time for."""

SEEDS, MOST = 80, 200
"""Of the jobs whose results must stay: seeds, and replicates."""


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def plod(p: Any, rng: Any) -> float:
    """Takes its time, and none of the processor's."""
    time.sleep(0.002)
    return float(rng.random())


KINDS: dict[str, tuple[Any, Any]] = {
    "one_draw": (one_draw, None),
    "hooked": (hooked, Hooked()),
    "walk": (walk, Walk(steps=4)),
    "plod": (plod, None),
    "unlucky": (unlucky, None),
    "fragile": (fragile, Fragile(2.0)),  # no draw is that large
}
KEPT = ("one_draw", "hooked", "walk")
"""Each result of these has a slot of its own, so that no limit removes it."""


class Alarm(BaseException):
    """What the handler of SIGALRM raises: no Exception, which code that takes what any value raises would take for its own."""


def key(kind: str, seed: int) -> ResultKey:
    simulation, parameters = KINDS[kind]
    return ResultKey(simulation.name, simulation.fingerprint, seed, simulation.bind(parameters))


def kind_of(job: Job) -> str:
    """Return the kind of a job that was recovered; "other" of one that stores nothing."""
    if job.request.cache == "off":
        return "other"
    found = (kind for kind in KINDS if key(kind, job.seed).hash == job.request.key.hash)
    return next(found, "other")


@functools.cache
def row(kind: str, seed: int, index: int) -> tuple[Any, ...]:
    """Return a replicate as the plain function computes it, without an engine."""
    if kind in ("plod", "unlucky"):
        return (bgsim.replicate_rng(seed, index).random(),)
    simulation, parameters = KINDS[kind]
    found = simulation.function(parameters, bgsim.replicate_rng(seed, index))
    return found if isinstance(found, tuple) else (found,)


def is_right(result: Any, kind: str, seed: int, replicates: int) -> bool:
    """Compare the bytes of a result with those of the plain function."""
    columns = zip(*(row(kind, seed, index) for index in range(replicates)), strict=True)
    return all(
        result[name][:replicates].tobytes() == np.array(column, result[name].dtype).tobytes()
        for name, column in zip(result, columns, strict=True)
    )


@dataclass
class Armed:
    """Whether a signal may raise now; one that does disarms."""

    now: bool = False

    def raise_(self, error: type[BaseException]) -> None:
        if self.now:
            self.now = False
            raise error


class Process:
    """The engine, the load from two threads, and a thread that takes commands."""

    def __init__(self, path: Path, seed: int, commands: int, reports: int) -> None:
        self.path, self.seed, self._commands, self._reports = path, seed, commands, reports
        self.full = False  # what is told may not be written
        self.done = False
        self.closing = False  # what has not ended is told to be cancelled, and stays for the next engine
        self.pause_s = 0.0  # what follows the last checkpoint of a long job at least
        self.armed = Armed()
        self.engine: bgsim.Engine
        self.recent: deque[tuple[Job, str]] = deque(maxlen=60)

    def say(self, *words: object) -> None:
        os.write(self._reports, (" ".join(map(str, words)) + "\n").encode())

    def run(self) -> None:
        """Work until the orchestrator says stop, and leave nothing behind."""
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        threads = threading.active_count()
        self.time_checkpoints()
        self.engine = bgsim.Engine(
            self.path,
            workers=3,
            max_queue_size=60,
            chunk_target_ms=2.0,
            progress_update_interval_ms=50.0,
            checkpoint_interval_s=CHECKPOINT_S,
            max_storage_bytes=LIMIT_BYTES,
            recover=True,
        )
        for job in self.engine.jobs():
            self.follow(job, kind_of(job))
        commander = threading.Thread(target=self.obey, daemon=True)
        other = threading.Thread(target=self.load_or_exit, daemon=True)
        commander.start()
        other.start()
        signal.signal(signal.SIGTERM, self.look_around)
        signal.signal(signal.SIGALRM, lambda *_: self.armed.raise_(Alarm))
        signal.signal(signal.SIGINT, lambda *_: self.armed.raise_(KeyboardInterrupt))
        self.say("ready")
        self.load("main")
        other.join(60.0)
        assert not other.is_alive(), "a thread of the load hangs"
        self.closing = True
        self.engine.close(timeout_s=0.5)
        commander.join(60.0)
        assert threading.active_count() == threads, threading.enumerate()
        fds = Path("/proc/self/fd")
        left = [str(fd.readlink()) for fd in fds.iterdir() if fd.is_symlink()] if fds.is_dir() else []
        assert not [name for name in left if name.startswith(str(self.path))], left
        self.say("closed")

    def look_around(self, *_: object) -> None:
        """Call the engine from a signal's handler, wherever the main thread is."""
        self.engine.stats()
        self.engine.health()
        self.engine.jobs()
        with contextlib.suppress(EngineClosedError, QueueFullError):
            self.engine.submit(one_draw, replicates=2, seed=SEEDS, cache="off")

    def time_checkpoints(self) -> None:
        """Note how long the pauses are that keep checkpoints to 2 % of the time."""
        store = checkpoints.Checkpoints.store

        def timed(itself: checkpoints.Checkpoints, checkpoint: checkpoints.Checkpoint) -> None:
            store(itself, checkpoint)
            self.pause_s = checkpoints._LEAST_PAUSE * (checkpoint.took_s or 0.0)

        checkpoints.Checkpoints.store = timed

    # ---- commands ------------------------------------------------------------------------------------

    def obey(self) -> None:
        with os.fdopen(self._commands) as commands:
            for line in commands:
                if line == "stop\n":
                    self.done = True
                    return
                self.fill_disk() if line == "full\n" else self.make_room()
        os._exit(3)  # the orchestrator is gone

    def fill_disk(self) -> None:
        """Let no file grow beyond what the log is now, and a little."""
        self.full = True
        self.say("full")
        log = Path(f"{self.path}-wal")
        size = (log.stat().st_size if log.exists() else 0) + 32_768
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def make_room(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until = time.monotonic() + 30.0
        while True:
            try:
                self.engine.store.journal.flush()
                break
            except StoreError:
                assert time.monotonic() < until, "the store does not write again although there is room"
                time.sleep(0.05)
        self.full = False
        self.say("room")

    # ---- the load ------------------------------------------------------------------------------------

    def load_or_exit(self) -> None:
        try:
            self.load("other")
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def load(self, name: str) -> None:
        rng = random.Random(f"{self.seed} {name}")
        told = 0.0
        while not self.done:
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                self.say("alive", name)
            try:
                if name == "main":
                    self.armed.now = True  # what a signal raises goes no further than this block
                self.step(rng)
                if name == "main":
                    self.armed.now = False
            except (Alarm, KeyboardInterrupt):
                self.say("interrupted")
            except (QueueFullError, concurrent.futures.TimeoutError):
                pass
            except StoreError as error:
                self.armed.now = False
                self.say("refused", self.full, str(error).replace("\n", " ")[:200])

    def step(self, rng: random.Random) -> None:
        """Do one thing."""
        verb = rng.choices(
            ("keep", "fill", "plod", "fail", "retry", "sweep", "cancel", "wait", "look"), (30, 8, 4, 4, 8, 4, 10, 25, 7)
        )[0]
        if verb == "keep":
            kind, seed = rng.choice(KEPT), rng.randrange(SEEDS)
            self.submit(rng, kind, seed, rng.randint(1, MOST), workspace=f"{kind} {seed}", priority=rng.randrange(4))
        elif verb == "fill":
            parameters = Walk(steps=50, label=f"{rng.random()}")
            job = self.engine.submit(walk, parameters, replicates=100, priority="low", block=True, block_timeout_s=5.0)
            self.follow(job, "filler")
        elif verb == "plod":
            if not any(job.simulation is plod for job in self.engine.jobs()):
                self.submit(rng, "plod", rng.randrange(10**9), LONG, workspace="long")
        elif verb == "fail":
            self.submit(rng, "fragile", rng.randrange(10**9), 3)
        elif verb == "retry":
            self.submit(rng, "unlucky", rng.randrange(10**9), 30, retry=Retry(retries=5, delay_s=0.01))
        elif verb == "sweep":
            for job in self.engine.sweep(walk, {"steps": [1, 2, 3]}, seed=rng.randrange(5), replicates=20):
                self.follow(job, "swept")
        elif self.recent:
            self.meddle(verb, *rng.choice(self.recent))

    def meddle(self, verb: str, job: Job, kind: str) -> None:
        if verb == "cancel" and kind != "plod":
            self.say("cancelling", job.id)
            job.cancel()
        elif verb == "wait" and kind != "plod":
            concurrent.futures.wait([job], timeout=1.0)
        elif verb == "look" and kind in KINDS and job.state is JobState.COMPLETED:
            is_as_told = is_right(job.result(60.0), kind, job.seed, job.replicates)
            self.say("looked" if is_as_told else "wrong", job.id, kind, job.seed, job.replicates)

    def submit(self, rng: random.Random, kind: str, seed: int, replicates: int, **options: Any) -> None:
        simulation, parameters = KINDS[kind]
        durable, began = kind == "plod" or rng.random() < 0.6, time.monotonic()
        job = self.engine.submit(
            simulation,
            parameters,
            replicates=replicates,
            seed=seed,
            durable=durable,
            block=True,
            block_timeout_s=5.0,
            **options,
        )
        if durable:
            self.say("asked", job.id, kind, seed, replicates, f"{time.monotonic() - began:.4f}")
        self.follow(job, kind)

    def follow(self, job: Job, kind: str) -> None:
        """Tell how a job ends, and how far a long one is."""
        if kind == "plod":

            def far(update: Any) -> None:
                self.say("at", job.id, job.seed, update.replicates_completed, time.monotonic(), self.pause_s)

            self.engine.subscribe(far, job=job)
        else:
            self.recent.append((job, kind))
        job.add_done_callback(lambda job: self.tell(job, kind))

    def tell(self, job: Job, kind: str) -> None:
        status = job.status()
        is_sure = not (self.full or self.closing) and status.store_error is None
        hit = status.from_store == job.replicates
        self.say(job.state.value, job.id, kind, job.seed, job.replicates, int(is_sure), int(hit))


def hold(path: Path, statement: str, seconds: float) -> None:
    """Keep a transaction open for so long: of a reader, or of one that lets nobody else write."""
    connection = sqlite3.connect(path, timeout=60.0, isolation_level=None)
    connection.execute(statement)
    connection.execute("SELECT count(*) FROM results").fetchone()
    time.sleep(seconds)
    connection.execute("ROLLBACK")
    connection.close()
