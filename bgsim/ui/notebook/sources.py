"""What a card can show: a job, a batch or an engine. Each reads its state, and does what a button asks for.

A job or a batch is held until it has ended, as its engine holds it, and then no longer. An engine is never held.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

from bgsim.ui.notebook.engine_state import engine_state
from bgsim.ui.notebook.job_state import Results, job_state
from bgsim.ui.notebook.sweep_state import BatchReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgsim.engine import Engine
    from bgsim.job import Job
    from bgsim.jobs.batch import Batch


class Source(Protocol):
    """What one card shows; one thread at a time calls `state`, any thread the rest."""

    def state(self, now: float, note: str) -> dict[str, Any]:
        """Return what the card says now."""

    def is_over(self) -> bool:
        """Tell whether nothing will change any more."""

    def do(self, message: Mapping[str, Any]) -> None:
        """Do what the front end asks for."""


class JobSource:
    """A job."""

    def __init__(self, job: Job) -> None:
        self._job: Job | None = job
        self._results = Results()
        self._last: dict[str, Any] = {}

    def state(self, now: float, note: str) -> dict[str, Any]:
        """Return what the card says now."""
        job = self._job
        if job is None:
            return self._last
        state = job_state(job, note, self._results, now)
        if state["ended"]:
            self._last, self._job = state, None
        return state

    def is_over(self) -> bool:
        """Tell whether it has ended."""
        job = self._job
        return job is None or job.moved_to.is_terminal

    def do(self, message: Mapping[str, Any]) -> None:
        """Pause, resume or cancel it."""
        job = self._job
        if job is None:
            return
        match message.get("do"):
            case "pause":
                job.pause()
            case "resume":
                job.resume()
            case "cancel":
                job.cancel()


class BatchSource:
    """A batch, or a sweep."""

    def __init__(self, batch: Batch) -> None:
        self._batch: Batch | None = batch
        self._reader = BatchReader(batch)
        self._last: dict[str, Any] = {}

    def state(self, now: float, note: str) -> dict[str, Any]:
        """Return what the card says now."""
        batch = self._batch
        if batch is None:
            return self._last
        state = self._reader.state(batch, now, note)
        if state["ended"]:
            self._last, self._batch = state, None
        return state

    def is_over(self) -> bool:
        """Tell whether all its jobs have ended."""
        batch = self._batch
        return batch is None or batch.done()

    def do(self, message: Mapping[str, Any]) -> None:
        """Cancel it."""
        batch = self._batch
        if batch is not None and message.get("do") == "cancel":
            batch.cancel()


class EngineSource:
    """An engine, until it is closed or nobody else holds it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = weakref.ref(engine)
        self._last: dict[str, Any] = {}

    def state(self, now: float, note: str) -> dict[str, Any]:  # noqa: ARG002 - its jobs go on of themselves
        """Return what the card says now."""
        engine = self._engine()
        if engine is not None:
            self._last = engine_state(engine)
        if self.is_over():
            self._last = {**self._last, "word": "closed", "colour": "cancelled", "ended": True}
        return self._last

    def is_over(self) -> bool:
        """Tell whether it is gone, or closed and done."""
        engine = self._engine()
        return engine is None or (engine.closed and not engine.jobs())

    def do(self, message: Mapping[str, Any]) -> None:
        """Do nothing: its card has no buttons."""
