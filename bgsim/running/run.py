"""A run: one computation, shared by all jobs that asked for it, and the chunks it is cut into.

A run's replicates are rows of columns that are allocated once. Workers take ranges of rows, lowest first, and give
back what they did not do; what is done is never computed again. The scheduler's lock guards everything here.
"""

from __future__ import annotations

import bisect
import contextvars
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bgsim.bus.rate import Rate
from bgsim.environment import environment, extended, first_rows
from bgsim.logs import JobLog
from bgsim.storage.codec.columns import Columns
from bgsim.streams import stream_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bgsim.environment import Versions
    from bgsim.job import Job
    from bgsim.kernels.plain import ChunkRunner
    from bgsim.queue_manager import Entry
    from bgsim.request import Submission
    from bgsim.running.worker import Worker

_GROWTH = 16
"""A chunk is at most this many times the one before, until the rate is known well."""

_MOST_CHECKING = 0.05
"""Of a worker's time, at most this part goes into looking whether plain code is unchanged: after each chunk, once."""

_SHORT_CHECK_S = 1e-3
"""A look that is shorter than this makes no chunk longer."""

_SMOOTHING = 0.3
"""Weight of the newest measurement of a chunk's rate."""


@dataclass(slots=True)
class Chunk:
    """Consecutive replicates that one worker runs."""

    run: Run
    first: int
    count: int
    columns: tuple[NDArray[Any], ...]
    began: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a run that failed.

    Attributes
    ----------
    at : float
        Seconds since the epoch.
    error : BaseException
    """

    at: float
    error: BaseException


class Run:
    """One computation of (simulation, parameters, seed), for any number of jobs.

    Attributes
    ----------
    jobs : dict of str to Job
        Those that want it; empty when the last has left.
    entry : Entry
        Its place in the queue; says priority and target.
    phase : str
        ``queued``, ``compiling``, ``running``, ``storing``.
    started : bool
        Whether it was ever given a running place.
    columns : tuple of ndarray
        Rows 0 to `length`; a row is written by one worker, once.
    completed : int
        Replicates that are done, chunks in progress not counted.
    from_store : int
        How many of them came from the store.
    stored_versions : Versions
        Which NumPy and numba computed those.
    workers : dict of Worker to Chunk or None
        Who is on it, and with what; None while preparing.
    stopping : bool
        Nothing more is taken from it: cancelled, failed, or timed out.
    loaded : bool
        The store has been asked, and there are columns.
    turn : int
        When it was last given a worker, counted over all runs.
    error, failed_at : BaseException or None, int
        Why it failed, and at which replicate: the lowest of those that did.
    retry : Retry or None
        When a failure is tried again: the most patient of those that the jobs brought.
    attempts : tuple of Attempt
        The failures so far.
    context, log : contextvars.Context, JobLog
        Of the first job's submission: plain Python runs in a copy of the one and writes to the other. Compiled code can
        reach neither, and has None.
    follows : Run or None
        An earlier run with this key that is still letting go; this one starts after it.
    missed_at : float
        When the store was last asked and had nothing, by the monotonic clock.
    moved_at : float
        When one of its counters was last seen to move.
    """

    __slots__ = (
        "_chunk_rate", "_last_count", "_moved", "_pending", "attempts", "cache", "columns", "completed", "context",
        "entry", "error", "eta", "failed_at", "followers", "follows", "from_store", "jobs", "key", "length", "loaded",
        "log", "missed_at", "moved_at", "parameters", "phase", "retry", "revision", "runner", "seed", "shown",
        "simulation", "stalled", "started", "stopping", "store_error", "stored_versions", "stream_key", "turn",
        "workers",
    )  # fmt: skip

    def __init__(self, submission: Submission, job_id: str, missed_at: float = -math.inf) -> None:
        self.simulation = submission.simulation
        self.revision = submission.revision
        self.parameters = submission.parameters
        self.seed = submission.seed
        self.key = submission.key
        self.cache = submission.cache
        self.retry = submission.retry
        self.stream_key = stream_key(submission.seed)
        plain = not submission.revision.compiles
        self.context = contextvars.copy_context() if plain else None
        self.log = JobLog(job_id) if plain else None
        self.jobs: dict[str, Job] = {}
        self.entry: Entry | None = None
        self.phase = "queued"
        self.started = False
        self.runner: ChunkRunner | None = None
        self.columns: tuple[NDArray[Any], ...] = ()
        self.length = 0
        self.completed = 0
        self.from_store = 0
        self.stored_versions: Versions = ()
        self.workers: dict[Worker, Chunk | None] = {}
        self.stopping = False
        self.error: BaseException | None = None
        self.failed_at = 0
        self.attempts: tuple[Attempt, ...] = ()
        self.turn = 0
        self.follows: Run | None = None
        self.followers: tuple[Run, ...] = ()
        self.loaded = False
        self.store_error: str | None = None
        self.missed_at = missed_at
        self.shown = 0.0  # the fraction last published, so that what is published never falls
        self.eta = Rate()
        self.moved_at = 0.0
        self.stalled = False  # and said so
        self._moved = 0.0  # the counters when they last moved
        self._pending: list[tuple[int, int]] = []  # ranges of rows that nobody has; sorted, apart
        self._chunk_rate = 0.0  # replicates a second of one worker, 0 until measured
        self._last_count = 0

    @property
    def target(self) -> int:
        """How many replicates are wanted."""
        assert self.entry is not None
        return self.entry.replicates

    @property
    def needs_preparing(self) -> bool:
        """Whether it has to be loaded, compiled, or given longer columns."""
        return not self.loaded or self.length < self.target or (self.runner is None and self.has_pending)

    @property
    def done(self) -> bool:
        """Whether every wanted replicate is there."""
        return not self.workers and not self.needs_preparing and not self.has_pending

    @property
    def is_ending(self) -> bool:
        """Whether it is too late to pause it or to let it go on."""
        return self.stopping or self.phase == "storing"

    @property
    def is_paused(self) -> bool:
        """Whether all who want it have paused it by hand."""
        return all(job.record.paused for job in self.jobs.values())

    @property
    def prefix(self) -> int:
        """How many replicates are done without a gap from 0 on; exact while nobody is on it."""
        return min(self._pending[0][0], self.length) if self._pending else self.length

    @property
    def has_pending(self) -> bool:
        """Whether there are rows that nobody has."""
        return bool(self._pending) and self._pending[0][0] < self.target

    @property
    def _pending_rows(self) -> int:
        target = self.target
        return sum([min(stop, target) - first for first, stop in self._pending if first < target])

    def result_columns(self, replicates: int) -> Columns:
        """Return the first replicates, by output name, and which versions computed them."""
        found = Columns({o.name: c[:replicates] for o, c in zip(self.simulation.outputs, self.columns, strict=True)})
        stored = first_rows(self.stored_versions, min(replicates, self.from_store)) if self.from_store else ()
        found.versions = extended(stored, replicates, environment())
        return found

    # ---- preparing: by one worker, without the lock --------------------------------------------------

    def allocate(self, target: int, stored: Columns | None) -> tuple[NDArray[Any], ...]:
        """Return columns for `target` replicates with what is there, or stored, copied in."""
        columns = self.simulation.new_columns(self.parameters, target)
        old = self.columns or tuple((stored or {}).values())
        for new, values in zip(columns, old, strict=bool(old)):
            new[: len(values)] = values[:target]
        return columns

    def adopt(self, columns: tuple[NDArray[Any], ...], stored: int, versions: Versions = ()) -> None:
        """Take new columns; `stored` replicates at their start come from the store, computed with these versions."""
        length = len(columns[0])
        if not self.loaded:
            self.loaded = True
            self.from_store = self.completed = stored
            self.stored_versions = versions
            self.length = stored
        if length > self.length:
            bisect.insort(self._pending, (self.length, length))
        self.columns = columns
        self.length = length

    # ---- chunks --------------------------------------------------------------------------------------

    def take(self, worker: Worker, workers: int, target_s: float) -> Chunk:
        """Cut a chunk of about `target_s` seconds off the lowest pending range; there has to be one."""
        remaining = self._pending_rows
        first, stop = self._pending[0]
        count = self._chunk_size(remaining, workers, target_s)
        end = min(first + count, stop, self.target)
        if end == stop:
            self._pending.pop(0)
        else:
            self._pending[0] = (end, stop)
        whole = end - first == self.length
        columns = self.columns if whole else tuple([column[first:end] for column in self.columns])
        chunk = Chunk(self, first, end - first, columns, time.perf_counter())
        self.workers[worker] = chunk
        return chunk

    def give_back(self, worker: Worker, done: int) -> None:
        """Take back a chunk of which so many replicates, from its first on, are done."""
        chunk = self.workers.pop(worker)
        assert chunk is not None
        self.completed += done
        if done < chunk.count:
            self._return(chunk.first + done, chunk.first + chunk.count)
        elapsed = time.perf_counter() - chunk.began - self.revision.check_s
        if done and elapsed > 0:
            rate = done / elapsed
            known = self._chunk_rate > 0 and self._last_count * _GROWTH > done
            self._chunk_rate += (rate - self._chunk_rate) * (_SMOOTHING if known else 1.0)
            self._last_count = max(done, 1)

    def done_within(self, replicates: int) -> int:
        """Return how many of the first replicates are done, chunks in progress not counted."""
        rows = min(replicates, self.length)
        if not self._pending and not self.workers:
            return rows
        ranges = [*self._pending, *((c.first, c.first + c.count) for c in self.workers.values() if c is not None)]
        return rows - sum(min(stop, rows) - first for first, stop in ranges if first < rows)

    def in_progress(self) -> tuple[int, float]:
        """Return how many replicates are done, chunks in progress included, and the fraction done of the whole."""
        done, parts = self.completed, 0.0
        for worker, chunk in self.workers.items():
            if chunk is not None:
                finished, part = worker.progress()
                done += min(finished, chunk.count)
                parts += part
        return done, min(1.0, (done + parts) / self.target) if self.target else 1.0

    def begin_watch(self, now: float) -> None:
        """Count from now on for how long the counters have not moved: it may have been suspended for a while."""
        if self.loaded:
            self.observe(now)
        self.moved_at, self.stalled = now, False

    def observe(self, now: float) -> float:
        """Look at the counters; return for how long they have not moved, in seconds."""
        done, fraction = self.in_progress()
        moved = done + fraction
        if moved != self._moved:
            self._moved, self.moved_at, self.stalled = moved, now, False
        return now - self.moved_at

    def _chunk_size(self, remaining: int, workers: int, target_s: float) -> int:
        if not self._chunk_rate:
            return 1
        check_s = self.revision.check_s
        chunk_s = target_s if check_s < _SHORT_CHECK_S else max(target_s, check_s / _MOST_CHECKING)
        wanted = min(self._chunk_rate * chunk_s, self._last_count * _GROWTH)
        return max(1, min(int(wanted), -(-remaining // workers)))

    def _return(self, first: int, stop: int) -> None:
        """Put a range back, joined with its neighbour."""
        index = bisect.bisect(self._pending, (first, stop))
        if index < len(self._pending) and self._pending[index][0] == stop:
            stop = self._pending.pop(index)[1]
        self._pending.insert(index, (first, stop))
