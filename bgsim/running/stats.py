"""How an engine is doing: counts, quantiles and alerts, taken at one moment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bgsim.errors import printable
from bgsim.job import JobState
from bgsim.progress import format_duration
from bgsim.running.status import has_failed, state_of
from bgsim.tables import Table, Tabular, in_short
from bgsim.threads.signals import HOLD, interruptibly, is_interrupt

if TYPE_CHECKING:
    from bgsim.backends.base import Backend
    from bgsim.queue_manager import QueueStats
    from bgsim.running.scheduler import Scheduler

_LATE_S = 1.0
"""A kernel that has not stopped this long after it was asked to is overdue."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Of the newest thousand measurements, in seconds; NaN where there are none."""

    p50: float
    p90: float
    p99: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Quantiles:
        """Return the quantiles of some measurements."""
        values = np.fromiter(seconds, float)
        return cls(*(np.quantile(values, (0.5, 0.9, 0.99)).tolist() if len(values) else [float("nan")] * 3))


@dataclass(frozen=True, slots=True, repr=False)
class EngineStats(Tabular):
    """What an engine has done and is doing.

    Attributes
    ----------
    states : mapping of JobState to int
        Jobs now; the terminal ones since the engine began.
    queue : QueueStats
    queue_wait_s, run_time_s : Quantiles
        From submission to start, and from there to the end, of the newest thousand jobs.
    replicates_per_second : float
        Of all running jobs together, now.
    utilisation : float
        Part of the time since the engine began that the workers were in kernels, 0 to 1.
    joined : int
        Submissions that became part of a run that was there.
    from_store : int
        Submissions that the store answered at once.
    retries : int
    stored_results, stored_bytes : int or None
        None while the store cannot say.
    """

    states: Mapping[JobState, int]
    queue: QueueStats
    queue_wait_s: Quantiles
    run_time_s: Quantiles
    replicates_per_second: float
    utilisation: float
    joined: int
    from_store: int
    retries: int
    stored_results: int | None
    stored_bytes: int | None

    def __str__(self) -> str:
        return "\n".join([f"{name:12} {text}" for name, text in self._lines()])

    def __repr__(self) -> str:
        return in_short("EngineStats", f"{self._jobs()}; {100 * self.utilisation:.0f} % busy, {self.queue}")

    def _jobs(self) -> str:
        states = ", ".join(f"{count} {state.value}" for state, count in self.states.items() if count)
        return states or "none"

    def _lines(self) -> list[tuple[str, str]]:
        wait, run, size = self.queue_wait_s, self.run_time_s, self.stored_results
        return [
            ("jobs", self._jobs()),
            ("waited", f"median {_duration(wait.p50)}, p99 {_duration(wait.p99)}"),
            ("ran", f"median {_duration(run.p50)}, p99 {_duration(run.p99)}"),
            (
                "workers",
                f"{100 * self.utilisation:.0f} % busy, {self.replicates_per_second:,.0f} replicates a second now",
            ),
            ("saved", f"{self.joined} joined, {self.from_store} from the store; {self.retries} retries"),
            ("store", "cannot say" if size is None else f"{size:,} results, {self.stored_bytes:,} bytes"),
        ]

    def _table(self) -> Table:
        return Table((), [*self._lines(), ("queue", str(self.queue))])


class Alert(str):
    """A sentence about what needs attention.

    Attributes
    ----------
    kind : str
        ``failed``, ``waiting``, ``stalled``, ``overdue``, ``store``, ``limit``, ``simulation``, ``schedule`` or
        ``backend``.
    job : str
        The id of the job that it is about; empty for none.
    """

    kind: str
    job: str

    def __new__(cls, text: str, kind: str = "", job: str = "") -> Alert:
        """Make one of a text."""
        self = super().__new__(cls, text)
        self.kind, self.job = kind, job
        return self

    @property
    def is_error(self) -> bool:
        """Whether something does not work; else it is a warning."""
        return self.kind in ("store", "schedule", "backend")


@dataclass(frozen=True, slots=True, repr=False)
class Health(Tabular):
    """Whether an engine needs attention.

    Attributes
    ----------
    alerts : tuple of Alert
        A sentence each; empty when all is well.
    failed, waiting : int
        Jobs that failed and are not forgotten; jobs that wait for their start.
    stalled, overdue : tuple of str
        Ids of jobs that do not move; of those that were asked to stop and have not stopped.
    store_error : str or None
        Why the store refused its latest use.
    evicted : int
        Results that the limits of the store have removed since it was opened.
    """

    alerts: tuple[Alert, ...]
    failed: int
    waiting: int
    stalled: tuple[str, ...]
    overdue: tuple[str, ...]
    store_error: str | None
    evicted: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is no alert."""
        return not self.alerts

    @property
    def healthy(self) -> bool:
        """Whether everything works: an alert may warn all the same."""
        return not any(alert.is_error for alert in self.alerts)

    def __str__(self) -> str:
        told = self.alerts or ("all is well",)
        evicted = (f"the store's limits have removed {self.evicted:,} results",) if self.evicted else ()
        return printable("; ".join((*told, *evicted)))

    def __repr__(self) -> str:
        return in_short("Health", str(self))

    def _table(self) -> Table:
        alerts: list[tuple[str, str]] = [("alert", alert) for alert in self.alerts] or [("", "all is well")]
        counts = [("jobs that failed", self.failed), ("jobs that wait", self.waiting)]
        return Table((), [*alerts, *counts, ("removed by the store's limits", self.evicted)])


def _duration(seconds: float) -> str:
    return "-" if math.isnan(seconds) else format_duration(1000 * seconds)


def stats_of(scheduler: Scheduler, began: float) -> EngineStats:
    """Return an engine's statistics, given when it began by its clock. Without its lock."""
    stored: tuple[int, int] | tuple[None, None] = None, None
    with HOLD:
        try:
            stored = interruptibly(scheduler.store.size)
        except Exception as error:  # health() says what is wrong with it
            if is_interrupt(error):
                raise
    workers, state = scheduler.workers.all, scheduler.state
    busy_s = sum(worker.busy_s for worker in workers)
    with scheduler.lock.plain:
        states = dict.fromkeys(JobState, 0)
        for job in state.jobs.values():
            states[state_of(job)] += 1
        for kind in JobState:
            if kind.is_terminal:
                states[kind] = state.counts[kind.name]
        waits, runs = list(state.waits_s), list(state.runs_s)
        counts = state.counts.copy()
        rate = sum(run.eta.per_second or 0.0 for run in state.running)
        queue = state.queue.stats(state.now())
    elapsed = max(scheduler.clock.monotonic() - began, 1e-9)
    return EngineStats(
        states=states,
        queue=queue,
        queue_wait_s=Quantiles.of(waits),
        run_time_s=Quantiles.of(runs),
        replicates_per_second=rate,
        utilisation=min(1.0, busy_s / (elapsed * max(1, scheduler.backend.cores))),
        joined=counts["joined"],
        from_store=counts["from_store"],
        retries=counts["retries"],
        stored_results=stored[0],
        stored_bytes=stored[1],
    )


def in_words(backend: Backend) -> str:
    """Return how many chunks a backend computes at the same time, and by what."""
    return f"{backend.cores} workers" if backend.is_here else f"{backend.cores} cores of {backend.name}"


def health_of(scheduler: Scheduler) -> Health:
    """Return how an engine is. Without its lock."""
    config, state = scheduler.config, scheduler.state
    now = scheduler.clock.monotonic()
    with scheduler.lock.plain:
        failed = sum(has_failed(ended) for ended in state.ended.values())
        waiting = state.queue.order.waiting
        stalled = tuple(job.id for run in state.running if run.stalled for job in run.jobs)
        overdue = tuple(job.id for job in state.jobs.values() if now - job.asked_to_stop_at > _LATE_S)
        store_error = state.store_error or state.journal_error
        shut_out = [f"the worker {place} is shut out: {why}" for place, why in sorted(state.shut_out.items())]
        backend_error = state.backend_error
    alerts = []
    if failed > config.alert_failed:
        alerts.append(Alert(f"{failed} jobs failed; engine.dead_letters() says which, and why", "failed"))
    if waiting > config.alert_waiting:
        alerts.append(Alert(f"{waiting} jobs are waiting", "waiting"))
    late = f"has stalled: no progress for {config.stalled_after_s:g} s or more"
    alerts += [Alert(f"{job_id} {late}", "stalled", job_id) for job_id in stalled]
    alerts += [Alert(f"{job_id} was asked to stop and has not let go", "overdue", job_id) for job_id in overdue]
    if store_error is not None:
        alerts.append(Alert(f"the store refuses: {store_error}", "store"))
    unknown = "which the store names, is unknown here; import its module, then engine.recover()"
    alerts += [Alert(f"the simulation {name!r}, {unknown}", "simulation") for name in sorted(state.unknown)]
    alerts += [
        Alert(
            f"the schedule {name!r}, as the store has it, is not run: {why}; engine.schedule(..., name={name!r}, "
            "replace=True) takes its place",
            "schedule",
        )
        for name, why in sorted(state.unreadable.items())
    ]
    alerts += [Alert(text, "limit") for text in scheduler.store.alerts()]
    broken = [] if backend_error is None else [f"nothing is computed any more: {backend_error}"]
    alerts += [Alert(text, "backend") for text in [*broken, *shut_out, *scheduler.backend.alerts()]]
    return Health(tuple(alerts), failed, waiting, stalled, overdue, store_error, scheduler.store.evicted)
