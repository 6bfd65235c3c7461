"""A plain model of an engine: what must hold of every job, whatever is done to it and in whatever order.

A `World` is an engine, the jobs that it was given, and a simulation whose calls are counted. Its verbs do the same with
an engine of threads and with an immediate one, in which only `World.step` makes anything run; there all is checked after
each verb, with threads when all has ended.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from conftest import HANDSHAKE_S

import bgsim
from bgsim.clock import ManualClock
from bgsim.errors import EngineClosedError, JobTimeoutError, QueueFullError, ReplicateError, RequestNotFoundError
from bgsim.job import Job, JobState
from bgsim.kernels.revision import Revision
from bgsim.progress import UpdateType
from bgsim.testing import SteppedEngine, expire, parts, queue_position

SEEDS, REPLICATES = 3, 6
RETRY_S = 5.0

TERMINAL = {
    JobState.COMPLETED: UpdateType.COMPLETED,
    JobState.FAILED: UpdateType.FAILED,
    JobState.CANCELLED: UpdateType.CANCELLED,
}

STREAMS = [[float(bgsim.replicate_rng(seed, i).random()) for i in range(REPLICATES)] for seed in range(SEEDS)]
PLACES = {x: (seed, i) for seed, stream in enumerate(STREAMS) for i, x in enumerate(stream)}

LABS: dict[str, Lab] = {}
_numbers = itertools.count()


class UntoldClock(ManualClock):
    """A clock that tells no engine of its moves: the model moves it under the engine's lock."""

    def on_move(self, listener: object) -> None:
        pass


class Lab:
    """Counts calls by (seed, index), and raises what was armed for them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lock = threading.Lock()  # guards all below
        self.done: Counter[tuple[int, int]] = Counter()
        self.raised: Counter[tuple[int, int]] = Counter()
        self.armed: dict[tuple[int, int], list[BaseException]] = defaultdict(list)
        self.permits = threading.Semaphore(0)  # with threads: a call each

    def call(self, x: float) -> None:
        place = PLACES[x]
        if self.world.immediate:
            try:
                self.world.check_turn(place[0])
            except BaseException as error:  # within the simulation it would only fail the job
                self.world.wrong.append(error)
        else:
            assert self.permits.acquire(timeout=HANDSHAKE_S)
        with self.lock:
            if self.armed[place]:
                self.raised[place] += 1
                self.world.failed_at[place[0]] = self.world.clock.monotonic()
                raise self.armed[place].pop()
            self.done[place] += 1


@dataclass(frozen=True)
class Question:
    lab: str = ""


@bgsim.simulation(outputs={"x": "f8"}, compile=False, depends_on=())
def question(p: Question, rng: Any) -> float:
    x = float(rng.random())
    LABS[p.lab].call(x)
    return x


class QuickRevision(Revision):
    """The model counts on one replicate a chunk: a look at plain code that other load holds up makes chunks longer."""

    check_s = property(lambda _: 0.0, lambda _, seconds: None)  # type: ignore[assignment]


@dataclass(eq=False)
class Asked:
    """A job as the model knows it."""

    job: Job
    seed: int
    run: int  # the number of the first job of its run
    at: float
    options: dict[str, Any]
    ran_s: float = 0.0  # RUNNING, or taken off while a kernel had not let go
    was_paused: bool = False
    ended: JobState | None = None
    error: BaseException | None = None

    @property
    def due(self) -> float:
        return self.at + self.options.get("delay_s", 0.0)

    @property
    def is_wanted(self) -> bool:
        """Whether it may still be joined, paused or cancelled."""
        run = self.job.run
        return run is not None and run.phase != "storing" and self.job.state is not JobState.CANCELLING


@dataclass(eq=False)
class Run:
    """The wanted jobs with one seed, which share a run."""

    number: int
    members: list[Asked] = field(default_factory=list)

    @property
    def priority(self) -> int:
        return max(a.job.priority for a in self.members)

    def is_due(self, now: float) -> bool:
        return any(a.due <= now or a.job.started_at is not None for a in self.members)

    @property
    def is_held(self) -> bool:
        return all(a.job.paused for a in self.members)

    @property
    def is_running(self) -> bool:
        return any(a.job.state is JobState.RUNNING for a in self.members)


class World:
    """An engine and the model of what it was told."""

    def __init__(self, *, immediate: bool = True, places: int = 2, **settings: Any) -> None:
        self.immediate = immediate
        self.places = places
        self.clock = UntoldClock()
        self.name = f"lab {next(_numbers)}"
        self.lab = LABS[self.name] = Lab(self)
        make = SteppedEngine if immediate else bgsim.Engine
        self.engine = make(
            clock=self.clock,
            workers=2,
            chunk_target_ms=1e-6,  # a replicate a chunk
            max_concurrent_simulations=places,
            limits={"one": 1},
            **settings,
        )
        self.updates = self.engine.subscribe(maxlen=100_000)
        self.asked: list[Asked] = []
        self.newest: dict[str, Asked] = {}  # by the word that supersedes
        self.failed_at: dict[int, float] = {}  # by seed
        self.moved_at: dict[int, float] = {}  # by seed: when somebody joined or resumed, which ends a back-off
        self.letters_taken: set[str] = set()
        self.wrong: list[BaseException] = []
        self.closed = False

    # ---- the verbs -----------------------------------------------------------------------------------

    def submit(self, seed: int, replicates: int = REPLICATES, **options: Any) -> Asked | None:
        question.revision().__class__ = QuickRevision
        if self.closed:
            try:
                self.engine.submit(question, {"lab": self.name}, replicates=replicates, seed=seed)
            except EngineClosedError:
                return None
            raise AssertionError("a closed engine took a job")
        now, run = self.clock.monotonic(), self._run_to_join(seed)
        try:
            job = self.engine.submit(question, {"lab": self.name}, replicates=replicates, seed=seed, **options)
        except QueueFullError:
            assert self.engine.stats().queue.waiting == self.engine.config.max_queue_size
            return None
        return self._note(job, seed, run, now, options)

    def _run_to_join(self, seed: int) -> int:
        expire(self.engine)  # so that what has waited for too long is not joined
        runs = self.runs()
        return runs[seed].number if seed in runs else len(self.asked)

    def _note(self, job: Job, seed: int, run: int, now: float, options: dict[str, Any]) -> Asked:
        asked = Asked(job, seed, run, now, options)
        self.asked.append(asked)
        self.moved_at[seed] = now
        word = options.get("supersede")
        if word is not None:
            older = self.newest.get(word)
            assert older is None or not older.is_wanted
            self.newest[word] = asked
        return asked

    def cancel(self, asked: Asked) -> None:
        wanted = asked.is_wanted
        said = asked.job.cancel()
        if self.immediate:
            time_is_over = asked.job.state is JobState.FAILED or asked.job.pending_error is not None
            assert not wanted or said == (not time_is_over)
            assert not said or not asked.is_wanted

    def pause(self, asked: Asked) -> None:
        wanted = asked.is_wanted
        said = asked.job.pause()
        asked.was_paused |= said
        if self.immediate:
            assert said == wanted
            assert not said or asked.job.state in (JobState.SUSPENDED, JobState.FAILED)

    def resume(self, asked: Asked) -> None:
        paused = asked.job.paused and asked.is_wanted
        said = asked.job.resume()
        self.moved_at[asked.seed] = self.clock.monotonic()
        assert not self.immediate or said == paused

    def set_priority(self, asked: Asked, priority: str) -> None:
        try:
            asked.job.set_priority(priority)
        except RequestNotFoundError:
            return  # it has ended, or is about to
        assert asked.job.priority.name.lower() == priority

    def arm(self, seed: int, index: int, error: BaseException) -> None:
        with self.lab.lock:
            self.lab.armed[seed, index].append(error)

    def pause_engine(self) -> None:
        self.engine.pause()

    def resume_engine(self) -> None:
        self.engine.resume()

    def advance(self, seconds: float) -> None:
        scheduler = parts(self.engine)
        with scheduler.lock:  # no job starts or stops between the look and the step of the clock
            for asked in self.asked:
                if self._time_counts(asked):
                    asked.ran_s += seconds
            self.clock.advance(seconds)
            if not self.immediate:
                scheduler.timers.periodic_changed()  # its thread waits by the system's clock

    def _time_counts(self, asked: Asked) -> bool:
        """Whether time counts against the job's time-out; with threads also until the last kernel has let go."""
        run = asked.job.run
        is_taken_off = run is not None and run not in parts(self.engine).state.running
        return asked.job.moved_to is JobState.RUNNING or (is_taken_off and bool(run.workers))

    def step(self, count: int = 1) -> bool:
        """Do so many units of work; with threads, let so many replicates go on."""
        worked = False
        for _ in range(count):
            if not self.immediate:
                self.lab.permits.release()
                worked = True
                continue
            overdue = [a for a in self.asked if a.job.state is JobState.RUNNING and self._has_run_too_long(a)]
            worked = self.engine.step()
            for error in self.wrong:
                raise error
            self._check_limits(overdue)
        return worked

    def retry_letter(self) -> None:
        for letter in self.engine.dead_letters()[:1]:
            old = next(a for a in self.asked if a.job.id == letter.id)
            now, run = self.clock.monotonic(), self._run_to_join(old.seed)
            try:
                job = self.engine.retry(letter.id)
            except QueueFullError:
                assert letter.id in {kept.id for kept in self.engine.dead_letters()}
                return
            self.letters_taken.add(letter.id)
            self._note(job, old.seed, run, now, old.options)

    def discard_letter(self) -> None:
        for letter in self.engine.dead_letters()[:1]:
            assert self.engine.discard(letter.id) == letter
            self.letters_taken.add(letter.id)

    def close(self, *, cancel: bool) -> None:
        """Close the engine and check all that holds at the end."""
        if not self.immediate:
            self.lab.permits.release(10_000)
            if not cancel:
                self.engine.resume()
                for asked in self.asked:
                    asked.job.resume()
            for _ in range(200):
                if cancel or self.engine.drain(0.05):
                    break
                self.advance(10.0)
        left = self.engine.close(cancel=cancel, timeout_s=None if self.immediate or not cancel else HANDSHAKE_S)
        assert self.immediate or not left
        self.closed = True
        self.check_end()
        del LABS[self.name]

    # ---- what holds at any time ------------------------------------------------------------------------

    def runs(self) -> dict[int, Run]:
        """Return the wanted runs, by seed, in the order in which they were begun."""
        found: dict[int, Run] = {}
        for asked in self.asked:
            if asked.is_wanted:
                found.setdefault(asked.seed, Run(asked.run)).members.append(asked)
        return found

    def check_turn(self, seed: int) -> None:
        """A replicate of this seed is run: somebody wants it now, and nobody wants another more urgently."""
        now = self.clock.monotonic()
        runs = self.runs()
        mine = runs[seed]
        assert not mine.is_held
        assert mine.is_due(now)
        failed_at = self.failed_at.get(seed, -RETRY_S)
        assert now >= failed_at + RETRY_S or self.moved_at[seed] >= failed_at
        for other_seed, other in runs.items():
            waits = now < self.failed_at.get(other_seed, -RETRY_S) + RETRY_S
            if other.is_held or waits or not any(a.due <= now for a in other.members if not a.job.paused):
                continue
            in_group = any("group" in a.options for a in other.members)
            blocked = in_group and not other.is_running
            assert blocked or other.priority <= mine.priority

    def check(self) -> None:
        """Counts, positions and states agree; what has ended stays so."""
        states = Counter(a.job.state for a in self.asked)
        stats, health = self.engine.stats(), self.engine.health()
        assert {s: n for s, n in stats.states.items() if n} == dict(states)
        assert health.failed == states[JobState.FAILED]
        assert self.engine.jobs() == [a.job for a in self.asked if not a.job.state.is_terminal]
        assert sum(run.is_running for run in self.runs().values()) <= self.places
        for asked in self.asked:
            self._check_job(asked)
        if not self.closed:
            self._check_positions()
        self._check_letters()

    def _check_job(self, asked: Asked) -> None:
        job, status = asked.job, asked.job.status()
        if asked.ended is None and job.state.is_terminal:
            asked.ended = job.state
        assert asked.ended in (None, job.state)
        assert job.done() == job.state.is_terminal
        assert job.cancelled() == (job.state is JobState.CANCELLED)
        assert (status.overdue_s is not None) == (job.state is JobState.CANCELLING)
        done = sum(self.lab.done[asked.seed, i] for i in range(job.replicates))
        assert status.replicates_completed <= done
        if job.state is JobState.RUNNING and job.run.length:
            assert status.replicates_completed == done
        if job.state is JobState.COMPLETED:
            times = {self.lab.done[asked.seed, i] for i in range(job.replicates)}
            # A worker may be ahead of another when a run stops: what lies beyond a gap is computed again.
            assert times == {1} if self.immediate else min(times) >= 1
            assert job.result()["x"].tolist() == STREAMS[asked.seed][: job.replicates]
        elif job.state is JobState.FAILED and asked.error is None:
            asked.error = job.exception()
            self._check_reason(asked)

    def _check_reason(self, asked: Asked) -> None:
        age = self.clock.monotonic() - asked.at
        if isinstance(asked.error, JobTimeoutError):
            limits = [asked.options.get(name, np.inf) for name in ("deadline_s", "queue_timeout_s")]
            assert self._has_run_too_long(asked) or age >= min(limits)
        else:
            assert isinstance(asked.error, ReplicateError)
            assert self.lab.raised[asked.seed, asked.error.replicate]

    def _has_run_too_long(self, asked: Asked) -> bool:
        return asked.ran_s >= asked.options.get("timeout_s", np.inf)

    def _check_limits(self, overdue: list[Asked]) -> None:
        """After a step nothing is left whose time is over."""
        now = self.clock.monotonic()
        assert not any(a.job.state is JobState.RUNNING for a in overdue)
        for asked in self.asked:
            assert not asked.is_wanted or now < asked.at + asked.options.get("deadline_s", np.inf)
            if asked.is_wanted and asked.job.started_at is None and not asked.was_paused:
                assert now < asked.at + asked.options.get("queue_timeout_s", np.inf)

    def _check_positions(self) -> None:
        """Position counts the runs that are served before: by priority, and then in the order of submission."""
        waiting = []
        for run in self.runs().values():
            members = [a for a in run.members if self._position(a) is not None]  # whose time in the queue is not over
            if members:
                waiting.append(Run(run.number, members))
        waiting.sort(key=lambda run: (-run.priority, run.number))
        for place, run in enumerate(waiting):
            assert {self._position(a) for a in run.members} == {place}

    def _position(self, asked: Asked) -> int | None:
        try:
            return queue_position(self.engine, asked.job)
        except RequestNotFoundError:
            return None

    def _check_letters(self) -> None:
        """There is one dead letter for each failure, whoever shared it."""
        letters = {letter.id for letter in self.engine.dead_letters()} | self.letters_taken
        failures: dict[int, set[str]] = defaultdict(set)
        for asked in self.asked:
            if asked.job.state is JobState.FAILED:
                failures[id(asked.job.exception())].add(asked.job.id)
        assert letters <= {job_id for ids in failures.values() for job_id in ids}
        assert all(len(ids & letters) == 1 for ids in failures.values())

    def check_end(self) -> None:
        """Every job has ended once, and said so; nothing was computed twice."""
        by_job: dict[str, list[Any]] = defaultdict(list)
        for update in self.updates:
            by_job[update.simulation_id].append(update)
        for asked in self.asked:
            assert asked.job.done()
            self._check_job(asked)
            updates = by_job.pop(asked.job.id)
            kinds = [u.update_type for u in updates]
            assert kinds[-1] is TERMINAL[asked.job.state]
            assert [k.is_terminal for k in kinds].count(True) == 1
            assert kinds[0] is UpdateType.STARTED or (len(kinds) == 1 and kinds[0] is not UpdateType.COMPLETED)
            assert kinds.count(UpdateType.STARTED) <= 1
            sequences = [u.sequence for u in updates]
            assert sequences == sorted(set(sequences))
        assert not by_job
        self._check_letters()
        if self.immediate:  # with several workers, what lies beyond a replicate that failed may be done again
            assert set(self.lab.done.values()) <= {0, 1}
