"""An engine that a test steps, and what a test may look at in any engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bgsim.clock import Clock, ManualClock
from bgsim.engine import Engine

if TYPE_CHECKING:
    from pathlib import Path

    from bgsim.job import Job
    from bgsim.running.scheduler import Scheduler
    from bgsim.storage import Store


class SteppedEngine(Engine):
    """An engine without threads that runs nothing but in `Engine.step`, not even in `submit`.

    Parameters
    ----------
    store : path-like, Store or None
        As for `Engine`.
    clock : Clock, optional
        By default a `ManualClock`, which is the attribute `clock`.
    **settings
        As for `Engine`.

    Examples
    --------
    >>> from bgsim.testing import SteppedEngine, gated
    >>> engine = SteppedEngine()
    >>> job = engine.submit(gated, replicates=2)
    >>> job.state.value
    'queued'
    >>> while engine.step():
    ...     pass
    >>> job.state.value
    'completed'
    >>> engine.close()
    []
    """

    clock: ManualClock  # unless it was given another

    def __init__(self, store: str | Path | Store | None = None, *, clock: Clock | None = None, **settings: Any) -> None:
        super().__init__(store, clock=clock or ManualClock(), immediate=True, **settings)
        self._scheduler.stepper.drives = False

    def close(self, *, cancel: bool = False, timeout_s: float | None = None) -> list[Job]:
        """Do what is left, and close; see `Engine.close`."""
        self._scheduler.stepper.drives = True
        return super().close(cancel=cancel, timeout_s=timeout_s)


def run_all(engine: Engine) -> None:
    """Do all that is due in this thread; for an immediate engine, also a stepped one."""
    while engine.step():
        pass


def tick(engine: Engine) -> None:
    """Do what is due by the clock, in this thread: progress, time-outs, delays that are over."""
    parts(engine).tick()
    parts(engine).timers.run_periodic()


def clock_moved(engine: Engine) -> None:
    """Do what is due by a clock that has moved, as `ManualClock.advance` does for each engine that has the clock."""
    parts(engine).clock_moved()


def lock_is_free(engine: Engine) -> bool:
    """Tell whether no thread holds the engine's lock: so it is in a kernel, a callback and a store."""
    raw = parts(engine).lock.raw
    if not raw.acquire(blocking=False):
        return False
    raw.release()
    return True


def workers_on(job: Job) -> int:
    """Return how many workers compute or prepare a job's run; 0 once it has ended."""
    run = job.run
    return 0 if run is None else len(run.workers)


def expire(engine: Engine) -> None:
    """End the jobs that have waited in the queue for too long, as a worker or the timer thread would."""
    scheduler = parts(engine)
    with scheduler.lock:
        scheduler.lifecycle.expire(scheduler.state.now())


def queue_position(engine: Engine, job: Job) -> int | None:
    """Return how many runs are served before a job's; None unless it waits and is due.

    Raises
    ------
    RequestNotFoundError
        If the queue does not hold it.
    """
    scheduler = parts(engine)
    with scheduler.lock:
        scheduler.state.now()
        return scheduler.state.queue.position(job.id)


def parts(engine: Engine) -> Scheduler:
    """Return what is behind an engine, for tests of bgsim itself: it changes without notice."""
    return engine._scheduler  # noqa: SLF001 - the one place from which tests reach it
