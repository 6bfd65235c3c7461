"""Several jobs as one progress, weighted by their replicates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bgsim.bus.post import check_delivery
from bgsim.bus.rate import Rate
from bgsim.bus.updates import ProgressUpdate, UpdateType, format_bar, format_duration, format_share
from bgsim.checks import NotPicklable
from bgsim.errors import InvalidInputError
from bgsim.tables import in_short
from bgsim.threads.locks import Lock

if TYPE_CHECKING:
    from bgsim.bus.post import Post
    from bgsim.bus.subscription import Bus, Subscription


class WatchedJob(Protocol):
    """A `bgsim.job.Job`, as batches and bars read it."""

    id: str

    @property
    def simulation(self) -> Any:
        """What runs; it has a ``name``."""

    @property
    def replicates(self) -> int:
        """How many were asked for."""

    def done(self) -> bool:
        """Tell whether the job has ended."""

    def status(self) -> Any:
        """Return a `bgsim.job.JobStatus`."""

    def updates(self) -> Subscription:
        """Return an iterator over its updates."""


class BatchUpdate(NamedTuple):
    """The state of several jobs together at one moment. Immutable.

    Attributes
    ----------
    fraction : float
        Finished part of all replicates, 0 to 1. It stays below 1 when a job fails or is cancelled.
    replicates_completed, total_replicates : int
        Where a precision says how many are needed, the total is what is expected of each job, as far as it is known.
    pending, running, completed, failed, cancelled : int
        Numbers of jobs; a pending job has not started.
    rate : float or None
        Replicates a second, stored ones not counted; None without an estimate.
    estimated_time_remaining_ms : float or None
        For the replicates that are left, at that rate.
    messages : tuple of str
        What the newest updates of running jobs say, such as that one compiles; each text once.
    """

    fraction: float
    replicates_completed: int
    total_replicates: int
    pending: int
    running: int
    completed: int
    failed: int
    cancelled: int
    rate: float | None
    estimated_time_remaining_ms: float | None
    messages: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether every job has ended."""
        return not self.pending and not self.running

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        return {**self._asdict(), "messages": list(self.messages)}

    @property
    def outlook(self) -> str:
        """Jobs that have not completed, and the time left, as text: ``"3 running, 6 pending, 3.1 s left"``."""
        words = [f"{getattr(self, w)} {w}" for w in ("running", "pending", "failed", "cancelled") if getattr(self, w)]
        if self.estimated_time_remaining_ms is not None and not self.is_final:
            words.append(f"{format_duration(self.estimated_time_remaining_ms)} left")
        return ", ".join(words)

    @property
    def jobs_ended(self) -> str:
        """How many jobs have ended, as text: ``"3 of 12 jobs"``."""
        ended = self.completed + self.failed + self.cancelled
        return f"{ended} of {ended + self.running + self.pending} jobs"

    def __str__(self) -> str:
        share = format_share(self.fraction, self.replicates_completed, self.total_replicates)
        return "; ".join((", ".join(filter(None, (self.jobs_ended, share, self.outlook))), *self.messages))

    def __repr__(self) -> str:
        return in_short("batch update", str(self))

    def _repr_html_(self) -> str:
        return format_bar(self.fraction, str(self))


class BatchProgress(NotPicklable):
    """Combines the updates of several jobs; made by `ProgressBus.batch` and `batch_of`.

    Iterate over it with ``for`` or ``async for``: each step waits for an update, takes all that have arrived, and gives
    the state of the whole. It ends when the last job has ended, those included that are added later.

    Attributes
    ----------
    current : BatchUpdate
        The newest state; any thread may read it.
    """

    instead = "pickle its updates, such as current"

    def __init__(
        self,
        bus: Bus,
        jobs: Mapping[str, int] | Iterable[WatchedJob],
        callback: Callable[[BatchUpdate], Any] | None = None,
        *,
        later: Iterable[int] = (),
        executor: Executor | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        post: Post | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        handles = [] if isinstance(jobs, Mapping) else list(jobs)
        check_delivery(callback, executor, loop, post)
        self._clock = clock
        # Guards everything below; a leaf.
        self._lock = Lock()
        self._replicates = dict(jobs) if isinstance(jobs, Mapping) else {job.id: job.replicates for job in handles}
        self._later = list(later)
        self._count = len(self._replicates) + len(self._later)
        self._total = sum(self._replicates.values()) + sum(self._later)
        self._running: dict[str, ProgressUpdate] = {}
        self._ended = dict.fromkeys((UpdateType.COMPLETED, UpdateType.FAILED, UpdateType.CANCELLED), 0)
        # Sums over jobs that have ended: replicates done, their weighted fraction, and replicates that will not come.
        self._done = self._lost = 0
        self._part = 0.0
        self._stored = 0  # of all jobs
        self._rate = Rate()
        self._rate.observe(clock(), 0.0)
        self.current = self._combine(clock())
        on_update = None if callback is None else lambda update: callback(self._take([update]))
        self._updates = bus.subscribe(
            on_update, job=list(self._replicates), later=len(self._later), executor=executor, loop=loop, post=post
        )
        for job in handles:
            if job.done() and bus.current(job.id) is None:  # the bus has forgotten it
                self._take([_last_update(job)])
                self._updates.job_ended(job.id)

    def add(self, job: str, replicates: int) -> None:
        """Name one of the jobs announced with ``later``, by its id and the replicates that it is asked for.

        Raises
        ------
        InvalidInputError
            If no job with this number of replicates is to come.
        """
        with self._lock:
            if replicates not in self._later:
                raise InvalidInputError(
                    f"replicates must be those of a job that is to come, one of {sorted(set(self._later))}; "
                    f"got {replicates!r} for {job!r}",
                    field="replicates",
                    value=replicates,
                )
            self._later.remove(replicates)
            self._replicates[job] = replicates
        self._updates.add_job(job)

    def add_no_more(self) -> None:
        """Expect no more jobs; those that were to come count as cancelled."""
        with self._lock:
            self._ended[UpdateType.CANCELLED] += len(self._later)
            self._lost += sum(self._later)
            self._later.clear()
            self.current = self._combine(self._clock())
        self._updates.add_no_more()

    @property
    def running(self) -> list[ProgressUpdate]:
        """The newest update of each running job, the longest running first."""
        with self._lock:
            return list(self._running.values())

    def unsubscribe(self) -> None:
        """End the batch before its jobs have ended."""
        self._updates.unsubscribe()

    def __iter__(self) -> Iterator[BatchUpdate]:
        return self

    def __next__(self) -> BatchUpdate:
        return self._take([next(self._updates), *self._updates.take_all()])

    def __aiter__(self) -> BatchProgress:
        return self

    async def __anext__(self) -> BatchUpdate:
        return self._take([await anext(self._updates), *self._updates.take_all()])

    def __enter__(self) -> BatchProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.unsubscribe()

    def __repr__(self) -> str:
        return f"<batch: {self.current}>"

    def _take(self, updates: list[ProgressUpdate]) -> BatchUpdate:
        """Take updates in their order; return the state of the whole."""
        with self._lock:
            for update in updates:
                job, kind = update.simulation_id, update.update_type
                before = self._running.pop(job, None) if kind.is_terminal else self._running.get(job)
                self._stored += _stored(update) - (_stored(before) if before is not None else 0)
                if update.total_replicates:  # a precision needs fewer than were asked for, or more than it seemed
                    self._total += update.total_replicates - self._replicates[job]
                    self._replicates[job] = update.total_replicates
                if kind.is_terminal:
                    self._ended[kind] += 1
                    self._done += update.replicates_completed
                    self._part += update.fraction * self._replicates[job]
                    self._lost += self._replicates[job] - update.replicates_completed
                else:
                    self._running[job] = update
            self.current = self._combine(self._clock())
            return self.current

    def _combine(self, now: float) -> BatchUpdate:
        running = self._running.values()
        done = self._done + sum(update.replicates_completed for update in running)
        part = self._part + sum(update.fraction * self._replicates[update.simulation_id] for update in running)
        self._rate.observe(now, part - self._stored)
        left_s = self._rate.remaining_s(self._total - self._lost - part)
        return BatchUpdate(
            fraction=min(1.0, part / self._total) if self._total else 1.0,
            replicates_completed=done,
            total_replicates=self._total,
            pending=self._count - len(self._running) - sum(self._ended.values()),
            running=len(self._running),
            completed=self._ended[UpdateType.COMPLETED],
            failed=self._ended[UpdateType.FAILED],
            cancelled=self._ended[UpdateType.CANCELLED],
            rate=self._rate.per_second,
            estimated_time_remaining_ms=None if left_s is None else 1000 * left_s,
            messages=tuple(dict.fromkeys(message for update in running for message in update.messages)),
        )


def batch_of(jobs: Iterable[WatchedJob]) -> BatchProgress:
    """Return the combined progress of an engine's jobs, to iterate over.

    Raises
    ------
    InvalidInputError
        If there is no job, or they are of several engines.
    """
    jobs = list(jobs)
    buses: set[Bus] = set()
    for job in jobs:
        with job.updates() as updates:
            buses.add(updates.bus)
    if len(buses) != 1:
        raise InvalidInputError(f"jobs must be one or more of one engine; got {jobs!r}", field="jobs", value=jobs)
    return BatchProgress(buses.pop(), jobs)


def _stored(update: ProgressUpdate) -> int:
    """Return how many replicates came from the store."""
    return int(update.metadata.get("from_store", 0))


def _last_update(job: WatchedJob) -> ProgressUpdate:
    status = job.status()
    return ProgressUpdate(
        job.id,
        0,
        UpdateType[status.state.name],
        status.fraction,
        status.replicates_completed,
        status.total_replicates,
        metadata={"from_store": status.replicates_completed},
    )
