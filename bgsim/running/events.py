"""What is told of jobs: to the progress bus, and to the journal. No other module of `bgsim.running` talks to either."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bgsim.errors import text_of
from bgsim.job import JobState
from bgsim.progress import ProgressBus, UpdateType
from bgsim.storage.journal import DeadLetter, PendingRequest
from bgsim.storage.times import time_text

if TYPE_CHECKING:
    from bgsim.job import Job
    from bgsim.running.run import Run
    from bgsim.running.state import State
    from bgsim.storage.journal import Journal

logger = logging.getLogger("bgsim.engine")

MOST_KEPT = 20_000
"""Characters that a dead letter keeps of an error, and of its traceback: beginning and end of a longer one."""

_STARTED, _PROGRESS = UpdateType.STARTED, UpdateType.PROGRESS

_TERMINAL_UPDATES = {
    JobState.COMPLETED: UpdateType.COMPLETED,
    JobState.FAILED: UpdateType.FAILED,
    JobState.CANCELLED: UpdateType.CANCELLED,
}


class Events:
    """Publishes and journals; called under the engine's lock, except where a method says otherwise.

    Attributes
    ----------
    bus : ProgressBus
    journal : Journal
    owner : str or None
        The name under which the journal keeps what is pending; None where nothing outlives a crash, and once the engine
        is closed.
    """

    def __init__(self, state: State, bus: ProgressBus, journal: Journal, owner: str | None) -> None:
        self.bus = bus
        self.journal = journal
        self.owner = owner
        self._state = state
        self._clock = state.clock

    # ---- the journal ---------------------------------------------------------------------------------

    def entered(self, job: Job, *, started: bool = False) -> None:
        """Journal a job, new or asking for something else than before, that has not ended."""
        if self.owner is not None:
            self._tell(self.journal.add, self._pending(job, self.owner, started=started))

    def left(self, job: Job) -> None:
        """Take a job out of the journal."""
        if self.owner is not None:
            self._tell(self.journal.remove, job.id)

    def is_written(self, on_written: Callable[[Exception | None], None]) -> bool:
        """Tell whether the journal has written all that it was told; else it calls, in any thread, when it has."""
        try:
            return self.journal.is_written(on_written)
        except Exception as error:  # a journal that breaks its contract must not keep a job from ending
            self._state.journal_error = str(error)
            return True

    def register(self) -> None:
        """Journal that this engine lives."""
        if self.owner is not None:
            self._tell(self.journal.register, self.owner)

    def release(self) -> None:
        """Journal that this engine is closed: the next one finds what it leaves pending, as not crashed."""
        owner, self.owner = self.owner, None
        if owner is None:
            return
        for job in self._state.jobs.values():
            if job.run is not None and job.moved_to is not JobState.CANCELLING and job.run.phase != "storing":
                self._tell(self.journal.add, self._pending(job, owner))
        self._tell(self.journal.release, owner)

    def _pending(self, job: Job, owner: str, *, started: bool = False) -> PendingRequest:
        return job.request.pending(
            job.id,
            owner,
            job.asked_at,
            priority=job.priority,
            crashes=job.crashes,
            started=started,
            stored=job.stored,
        )

    def _tell(self, verb: Callable[..., object], *arguments: Any) -> None:
        """Tell the journal something; one that raises, as it must not, costs no job."""
        try:
            verb(*arguments)
        except Exception as error:
            self._state.journal_error = str(error)
            logger.warning("the journal refuses, so a crash would lose what it was told: %s", error)

    # ---- the bus -------------------------------------------------------------------------------------

    def started(self, job: Job, messages: Sequence[str] = ()) -> None:
        """Tell that a job has started for the first time."""
        if self.owner is not None and job.run is not None:
            self._tell(self.journal.start, job.id)
        self.bus.publish(
            job.id,
            _STARTED,
            total_replicates=job.replicates,
            current_phase="running",
            messages=tuple(messages),
            metadata=_metadata(job.request.simulation.name, job.request.workspace, 0),
        )

    def progress(self, job: Job, phase: str, messages: Sequence[str] = ()) -> None:
        """Tell how far a job is."""
        run: Run = job.run
        done, fraction = run.in_progress()
        run.shown = fraction = max(run.shown, fraction)
        total = min(job.replicates, run.goal)
        runs = job.moved_to is JobState.RUNNING and self._state.lanes > 0
        remaining = run.eta.remaining_s(run.goal * (1 - fraction)) if runs else None
        self.bus.publish(
            job.id,
            _PROGRESS,
            fraction=fraction,
            replicates_completed=min(done, total),
            total_replicates=total,
            estimated_time_remaining_ms=None if remaining is None else 1000 * remaining,
            current_phase=phase,
            messages=tuple(messages),
            metadata={**_metadata_of(job, run.from_store), "rate": run.eta.per_second if self._state.lanes else None},
        )

    def ended(self, job: Job, from_store: int, messages: tuple[str, ...]) -> None:
        """Tell how a job has ended."""
        if job.error is not None:
            messages = (*messages, job.error)
        if job.store_error is not None:
            messages = (*messages, f"not stored: {job.store_error}")
        self.bus.publish(
            job.id,
            _TERMINAL_UPDATES[job.moved_to],
            fraction=job.replicates_done / job.replicates,
            replicates_completed=job.replicates_done,
            total_replicates=job.replicates,
            current_phase=job.moved_to.value,
            messages=messages,
            metadata=_metadata_of(job, from_store),
        )

    # ---- dead letters --------------------------------------------------------------------------------

    def buried(self, job: Job, run: Run, error: BaseException) -> Callable[[], None]:
        """Return what writes the dead letter of a job that failed for good; to be called without the lock."""
        failures = [(a.at, a.error) for a in run.attempts]
        failed_at = self._clock.time()
        failures.append((failed_at, error))
        submitted_at = failed_at - (self._clock.monotonic() - job.submitted_at)

        def write() -> None:  # a traceback as text takes a while
            attempts = [
                {
                    "at": time_text(at),
                    "error": _shortened(f"{type(e).__name__}: {text_of(e)}"),
                    "traceback": _shortened("".join(traceback.format_exception(e))),
                }
                for at, e in failures
            ]
            letter = DeadLetter(
                id=job.id,
                **job.request.kept(),
                options=job.request.options_json(),
                submitted_at=time_text(submitted_at),
                failed_at=time_text(failed_at),
                attempts=json.dumps(attempts),
            )
            self._tell(self.journal.add_dead_letter, letter)
            if self.owner is not None:
                self._tell(self.journal.remove, job.id)  # after the letter, or a crash between them would lose the job

        return write


def _shortened(text: str) -> str:
    """Return a text as a dead letter keeps it: of one that is too long beginning and end, and no lone surrogates."""
    text = text.encode("utf-8", "backslashreplace").decode()
    half = MOST_KEPT // 2
    return text if len(text) <= MOST_KEPT else f"{text[:half]} ...{len(text) - 2 * half:,} more... {text[-half:]}"


def _metadata_of(job: Job, from_store: int) -> Mapping[str, Any]:
    request = job.request
    return _metadata(request.simulation.name, request.workspace, min(from_store, job.replicates))


@lru_cache(maxsize=1024)
def _metadata(simulation: str, workspace: str | None, from_store: int) -> Mapping[str, Any]:
    """Return what an update says of its job."""
    return MappingProxyType({"simulation": simulation, "workspace": workspace, "from_store": from_store})
