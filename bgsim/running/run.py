"""A run: one computation, shared by all jobs that asked for it, and the chunks that workers take from it.

Workers take ranges of replicates, lowest first, and give back what they did not do; what is done is never computed
again. `bgsim.running.kept` has what is kept of them. The engine's lock guards everything here.
"""

from __future__ import annotations

import contextvars
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from bgsim.backends.base import Chunk, Computation
from bgsim.bus.rate import Rate
from bgsim.environment import environment, extended, first_rows
from bgsim.logs import JobLog
from bgsim.queue.entry import Entry
from bgsim.running.kept import kept_by
from bgsim.running.looks import Looks
from bgsim.running.pending import Pending
from bgsim.running.stages import Attempt, Stage
from bgsim.streams import stream_key

if TYPE_CHECKING:
    from bgsim.environment import Versions
    from bgsim.job import Job
    from bgsim.request import Request
    from bgsim.running.kept import Room
    from bgsim.storage.codec.columns import Columns

_GROWTH = 16
"""A chunk is at most this many times the one before, until the rate is known well."""

_MOST_BESIDE = 0.05
"""Of a worker's time, at most this part goes into what comes with each chunk: looking whether plain code is unchanged,
and putting summaries together."""

_SHORT_CHECK_S = 1e-3
"""A look that is shorter than this makes no chunk longer."""

_NOT_ALL = 0.99
"""The fraction that is shown at most, as long as more replicates may turn out to be needed than was expected."""

_SMOOTHING = 0.3
"""Weight of the newest measurement of a chunk's rate."""


class ChunkWorker(Protocol):
    """What a run asks of the workers on it; `bgsim.running.worker.Worker` is one.

    Attributes
    ----------
    chunk : Chunk or None
        The one that it computes now, or has just computed.
    writes_in_place : bool
        As its lane; see `bgsim.backends.base.Lane`.
    """

    chunk: Chunk | None
    writes_in_place: bool

    @property
    def sees_orders(self) -> bool:
        """Whether an order reaches its kernel at once."""

    def order(self, order: int) -> None:
        """Tell its kernel to yield or to stop."""

    def is_ordered(self) -> bool:
        """Tell whether its kernel was told to."""

    def can_work_on(self, run: Run) -> bool:
        """Tell whether it can prepare a run, or compute it."""

    def progress(self) -> tuple[int, float]:
        """Return the replicates done in its chunk, and the fraction of the one in hand."""


class Run(Entry):
    """One computation of (simulation, parameters, seed), for any number of jobs. It is the entry of the queue.

    Attributes
    ----------
    members : dict of str to Job
        The jobs that want it; empty when the last has left.
    last : Job or None
        That last job, if the run had started: it ends when the run has stopped.
    stage : Stage
    request : Request
        The first job's.
    pace_key : (str, bytes)
        Runs of one key take about the same time a replicate.
    kept : Kept
        The rows of the replicates, or a summary of them.
    looks : Looks or None
        What says how many replicates are enough, if no number was asked for.
    length : int
        For how many replicates there is room; 0 until a worker has asked the store.
    computation : Computation
        What is computed, and by which compiled code.
    completed : int
        Replicates that are done, chunks in progress not counted.
    from_store : int
        How many of them came from the store.
    held : int
        How many of the first ones the store is known to have had, now or at the last checkpoint.
    checkpoint_at : float
        When its finished prefix is to be stored; infinity while that is under way, or nothing new can come.
    checkpoint_wait_s : float
        The interval before that; 0 before the first.
    stored_versions : Versions
        Which NumPy and numba computed those.
    workers : dict of ChunkWorker to Chunk or None
        The workers on it, and their chunks; None while one prepares it.
    prepares_since : float
        When a worker last began to prepare it, by the monotonic clock.
    chunk_rate : float
        Replicates a second of one worker; 0 until it is known.
    turn : int
        When a worker last took a chunk of it, counted over all runs.
    error, failed_at : BaseException or None, int
        Why it failed, and at which replicate: the lowest of those that did.
    retry : Retry or None
        When a failure is tried again: the most patient of those that the jobs brought.
    attempts : tuple of Attempt
        The failures so far.
    shut_out : dict of str to str
        Places of a backend that would compute other bits, and why.
    follows, followers : Run or None, tuple of Run
        An earlier run with this key that is stopping or being stored: this one starts after it.
    missed_at : float
        When the store was last asked and had nothing, by the monotonic clock; minus infinity for never.
    store_error : str or None
        Why the store refused it.
    shown : float
        The fraction that was last published, so that what is published never falls.
    moved_at : float
        When one of its counters was last seen to move.
    stalled : bool
        Whether that was reported as too long ago.
    """

    __slots__ = (
        "_eta", "_last_count", "_moved", "_pending", "_result", "attempts", "checkpoint_at", "checkpoint_wait_s",
        "chunk_rate", "completed", "computation", "error", "failed_at", "followers", "follows", "from_store", "held",
        "kept", "last", "length", "looks", "missed_at", "moved_at", "pace_key", "prepares_since", "request",
        "retry", "shown", "shut_out", "stage", "stalled", "store_error", "stored_versions", "turn", "workers",
    )  # fmt: skip

    members: dict[str, Job]

    def __init__(self, request: Request, job_id: str, missed_at: float = -math.inf) -> None:
        super().__init__(request.queue_key, request.group)
        self.request = request
        self.retry = request.retry
        self.pace_key = request.key.fingerprint, request.parameters.encoding
        self.computation = computation = Computation(
            request.simulation,
            request.key.fingerprint,
            request.parameters,
            request.seed,
            request.replicates,
            stream_key(request.seed),
            compiles=request.revision.compiles,
            keeps_rows=request.keep == "columns",
        )
        if not computation.compiles:
            computation.context, computation.log = contextvars.copy_context(), JobLog(job_id)
        self.last: Job | None = None
        self.stage = Stage.WAITING
        self.kept = kept_by(request)
        self.looks = None if request.precision is None else Looks(request.precision)
        self.length = 0
        self.completed = 0
        self.from_store = self.held = 0
        self.checkpoint_at = math.inf
        self.checkpoint_wait_s = 0.0
        self.stored_versions: Versions = ()
        self.workers: dict[ChunkWorker, Chunk | None] = {}
        self.error: BaseException | None = None
        self.failed_at = self.turn = 0
        self.attempts: tuple[Attempt, ...] = ()
        self.follows: Run | None = None
        self.followers: tuple[Run, ...] = ()
        self.store_error: str | None = None
        self.missed_at = missed_at
        self.shown = self.chunk_rate = self.prepares_since = 0.0
        self.shut_out: dict[str, str] = {}
        self._eta: Rate | None = None
        self._result: tuple[int, Columns] | None = None
        self.moved_at = 0.0
        self.stalled = False
        self._moved = 0.0  # the counters when they last moved
        self._pending = Pending()
        self._last_count = 0

    @property
    def eta(self) -> Rate:
        """How fast it is done; most runs end before anybody asks."""
        if self._eta is None:
            self._eta = Rate()
        return self._eta

    @property
    def jobs(self) -> Iterable[Job]:
        """The jobs that end with it."""
        return self.members.values() if self.last is None else (*self.members.values(), self.last)

    @property
    def phase(self) -> str:
        """``queued``, ``compiling``, ``running`` or ``storing``."""
        if self.stage >= Stage.STOPPED:
            return "storing"
        if self.length or self.computation.runner is not None:
            return "running"
        return "compiling" if self.workers else "queued"

    @property
    def needs_preparing(self) -> bool:
        """Whether it has to be loaded, compiled, or given longer columns."""
        return self.length < self.replicates or (self.computation.runner is None and self.has_pending)

    @property
    def is_done(self) -> bool:
        """Whether every wanted replicate is there."""
        if self.workers or self.needs_preparing or self.has_pending:
            return False
        return self.looks is None or self.looks.stopping is not None

    @property
    def is_stopped(self) -> bool:
        """Whether workers take nothing more from it, though not all is done."""
        return self.stage is Stage.STOPPING or self.stage is Stage.STOPPED

    @property
    def _wanted(self) -> int:
        """How many replicates are to be computed for the time being."""
        return self.replicates if self.looks is None else min(self.looks.horizon, self.replicates)

    @property
    def goal(self) -> int:
        """How many replicates it will have needed, as far as that can be told."""
        return self.replicates if self.looks is None else min(self.looks.expected, self.replicates)

    @property
    def is_paused(self) -> bool:
        """Whether all jobs that want it were paused by hand."""
        return all(job.paused for job in self.members.values())

    @property
    def prefix(self) -> int:
        """How many replicates are done without a gap from 0 on; exact while no worker is on it."""
        ranges = self._pending.ranges
        return min(ranges[0][0], self.length) if ranges else self.length

    @property
    def given_back(self) -> int:
        """How many replicates are done without a gap from 0 on, chunks in progress not counted."""
        return min([self.prefix, *(chunk.first for chunk in self.workers.values() if chunk is not None)])

    @property
    def has_pending(self) -> bool:
        """Whether there are rows that no worker has."""
        ranges = self._pending.ranges
        return bool(ranges) and ranges[0][0] < self._wanted

    def result_columns(self, replicates: int) -> Columns:
        """Return the first replicates, by output name, and which versions computed them; to be read only."""
        if self._result is not None and self._result[0] == replicates:
            return self._result[1]
        found = self._with_versions(self.kept.first(replicates))
        self._result = (replicates, found)  # for the store, and for the job
        return found

    def finished(self, rows: int, most: int) -> Columns:
        """Return what is finished, while workers are on later replicates; see `Kept.finished`."""
        return self._with_versions(self.kept.finished(rows, most))

    def _with_versions(self, found: Columns) -> Columns:
        replicates = len(next(iter(found.values())))
        if self.from_store and replicates:
            stored = first_rows(self.stored_versions, min(replicates, self.from_store))
            found.versions = extended(stored, replicates, environment())
        else:
            found.versions = ((0, replicates, environment()),)
        return found

    def clear(self) -> None:
        """Keep no replicate any more."""
        self.kept.clear()
        self.length, self._result = 0, None

    def adopt(self, room: Room) -> None:
        """Take what a worker has made room for, and loaded from the store, without the lock."""
        if not self.length:
            self.from_store = self.held = self.completed = self.length = room.stored
            self.stored_versions = room.versions
        if room.length > self.length:
            self._pending.add(self.length, room.length)
        self.length = room.length
        self.kept.adopt(room)
        self._result = None

    # ---- chunks --------------------------------------------------------------------------------------

    def expect(self, rate: float, target_s: float) -> None:
        """Size the first chunk by a rate that was measured before, in replicates a second of one worker."""
        self.chunk_rate, self._last_count = rate, max(1, int(rate * target_s))

    def take(self, worker: ChunkWorker, cores: int, target_s: float, least_s: float, most_bytes: int) -> Chunk:
        """Cut about `target_s`, towards the end at least `least_s`, off the lowest pending range; there must be one."""
        lowest, most = self._pending.ranges[0][0], 1
        left = min(self._wanted, self.kept.next_cut(lowest)) - lowest
        if self.chunk_rate and left > 1:
            most = min(self._chunk_size(cores, target_s, least_s, most_bytes), left)
        first, end, is_suspect = self._pending.take(most)
        chunk = Chunk(self.computation, first, end - first, self.kept.part(first, end), is_suspect)
        self.workers[worker] = chunk
        return chunk

    def give_back(self, worker: ChunkWorker, done: int, elapsed_s: float) -> Chunk | None:
        """Take back a chunk of which a worker has done `done` replicates, from its first on; return it.

        None means that the worker has prepared the run, or tried to.
        """
        chunk = self.workers.pop(worker)
        if chunk is None:
            return None
        self.completed += done
        if self._pending.lost:
            self._pending.computed(chunk.first, chunk.first + done)
        if done < chunk.count:
            self._pending.add(chunk.first + done, chunk.first + chunk.count)
        computing_s = elapsed_s - self.request.revision.check_s
        if done and computing_s > 0:
            rate = done / computing_s
            known = self.chunk_rate > 0 and self._last_count * _GROWTH > done
            self.chunk_rate += (rate - self.chunk_rate) * (_SMOOTHING if known else 1.0)
            self._last_count = max(done, 1)
        return chunk

    def lose(self, chunk: Chunk, at: int | None) -> bool:
        """Note that a chunk was lost that was given back, with row `at` in hand; return whether its one is to blame."""
        return self._pending.lose(chunk.first, chunk.first + chunk.count, was_alone=chunk.alone, at=at)

    def done_within(self, replicates: int) -> int:
        """Return how many of the first replicates are done, chunks in progress not counted."""
        rows = min(replicates, self.length)
        if not self._pending.ranges and not self.workers:
            return rows
        chunks = [(c.first, c.first + c.count) for c in self.workers.values() if c is not None]
        in_hand = sum([min(stop, rows) - first for first, stop in chunks if first < rows])
        return rows - self._pending.count(rows) - in_hand

    def in_progress(self) -> tuple[int, float]:
        """Return how many replicates are done, chunks in progress included, and the fraction done of the whole."""
        done, amount = self.amount()
        most = 1.0 if self.looks is None or self.looks.stopping is not None else _NOT_ALL
        return done, min(most, amount / self.goal) if self.replicates else 1.0

    def amount(self) -> tuple[int, float]:
        """Return how many replicates are done, chunks in progress included, and the same with parts of replicates."""
        done, parts = self.completed, 0.0
        for worker, chunk in self.workers.items():
            if chunk is not None and worker.chunk is chunk:
                finished, part = worker.progress()
                done += min(finished, chunk.count)
                parts += part
        return done, done + parts

    def begin_watch(self, now: float) -> None:
        """Count from now on for how long the counters have not moved: it may have been suspended for a while."""
        if self.length:
            self.observe(now)
        self.moved_at, self.stalled = now, False

    def observe(self, now: float) -> float:
        """Look at the counters; return for how long they have not moved, in seconds."""
        done, fraction = self.in_progress()
        moved = done + fraction
        if moved != self._moved:
            self._moved, self.moved_at, self.stalled = moved, now, False
        return now - self.moved_at

    def _chunk_size(self, cores: int, target_s: float, least_s: float, most_bytes: int) -> int:
        check_s = self.request.revision.check_s
        beside_s = self.kept.chunk_s + (0.0 if check_s < _SHORT_CHECK_S else check_s)
        chunk_s = max(target_s, beside_s / _MOST_BESIDE)
        wanted = min(self.chunk_rate * chunk_s, self._last_count * _GROWTH)
        most = most_bytes * self.request.replicates // max(1, self.request.size_bytes)
        share = max(-(-self._pending.count(self._wanted) // cores), int(self.chunk_rate * least_s))
        return max(1, min(int(wanted), most, share))
